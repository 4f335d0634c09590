"""Files through a real browser: up, found, looked at, edited, down, deleted, whatever their names."""

import hashlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, expect

from artstore.tests.browser import Visit

pytestmark = pytest.mark.browser

Begin = Callable[..., Visit]

NAMES = [
    "Годовой отчёт (черновик).txt",
    "季度报告（最终版）.txt",
    "emoji 🗻🚀.txt",
    "quotes \"double\" 'single' `back`.txt",
    "percent %22 & ampersand; <b>.txt",
    "x" * 251 + ".txt",
    "ж" * 251 + ".txt",
]
CONTENT = "Содержимое файла 文件 🚀\n".encode()


def payload(name: str, content: bytes = CONTENT) -> FilePayload:
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def choose(person: Visit, *files: FilePayload) -> None:
    person.page.locator("#file").set_input_files(list(files))


def upload_with_script(person: Visit, *files: FilePayload) -> None:
    person.go("upload")
    choose(person, *files)
    person.page.get_by_role("button", name="Upload", exact=True).click()
    rows = person.page.locator(".queue-row")
    expect(rows).to_have_count(len(files))
    for row in rows.all():
        expect(row).to_have_attribute("data-state", "done", timeout=60_000)


def download(person: Visit) -> bytes:
    with person.page.expect_download() as found:
        person.page.get_by_role("link", name="Download", exact=True).click()
    return Path(found.value.path()).read_bytes()


def test_awkward_names_come_back_through_the_browser(admin: Visit) -> None:
    upload_with_script(admin, *[payload(name, CONTENT + name.encode()) for name in NAMES])
    links = admin.page.get_by_role("link", name="Open")
    for name, address in zip(
        NAMES, [link.get_attribute("href") for link in links.all()], strict=True
    ):
        admin.page.goto(address or "")
        expect(admin.page.get_by_role("heading", level=1)).to_have_text(name)
        with admin.page.expect_download() as found:
            admin.page.get_by_role("link", name="Download", exact=True).click()
        assert Path(found.value.path()).read_bytes() == CONTENT + name.encode()


def test_the_plain_form_stores_a_file_without_javascript(
    visit: Begin, admin_state: dict[str, Any]
) -> None:
    plain = visit(java_script_enabled=False, storage_state=admin_state)
    name = 'plain "form" отчёт.txt'
    plain.go("upload")
    plain.page.get_by_label("Tags").fill("alpha, бета")
    plain.page.get_by_label("Description").fill("Sent without scripts")
    choose(plain, payload(name))
    plain.page.get_by_role("button", name="Upload", exact=True).click()
    expect(plain.page.get_by_role("heading", level=1)).to_have_text(name)
    expect(plain.page.get_by_role("status").first).to_contain_text("is stored")
    expect(plain.page.get_by_text("бета")).to_be_visible()
    assert download(plain) == CONTENT
    plain.page.get_by_role("link", name="Edit", exact=True).click()
    plain.page.get_by_label("Description").fill("Edited without scripts")
    plain.page.get_by_role("button", name="Save").click()
    expect(plain.page.get_by_text("Edited without scripts")).to_be_visible()
    plain.page.get_by_role("link", name="Delete").click()
    plain.page.get_by_role("button", name="Delete").click()
    plain.page.wait_for_url("**/console/files")
    expect(plain.page.get_by_role("status").first).to_contain_text("is deleted")


def test_an_empty_file_is_a_file(admin: Visit) -> None:
    upload_with_script(admin, payload("nothing in it.bin", b""))
    admin.page.get_by_role("link", name="Open").click()
    expect(admin.page.locator("#checksum")).to_have_text(hashlib.sha256(b"").hexdigest())
    assert download(admin) == b""


def test_a_form_without_a_file_is_refused_in_words(
    visit: Begin, admin_state: dict[str, Any]
) -> None:
    plain = visit(java_script_enabled=False, storage_state=admin_state)
    plain.go("upload")
    plain.page.locator("#file").evaluate("input => input.required = false")
    plain.page.get_by_role("button", name="Upload", exact=True).click()
    expect(plain.page.get_by_role("alert")).to_contain_text("no name")


DROP = """longName => {
  const data = new DataTransfer();
  for (let number = 1; number <= 9; number += 1) {
    data.items.add(new File([`dropped ${number} `.repeat(9000)], `dropped ${number}.txt`));
  }
  data.items.add(new File(["refused"], longName));
  window.states = new Set();
  const queue = document.getElementById("queue");
  new MutationObserver((changes) => changes.forEach(({ target }) => {
    const row = target.closest("[data-state]");
    if (row) window.states.add(`${row.dataset.state} ${row.querySelector("[data-percent]").textContent}`);
  })).observe(queue, { subtree: true, attributes: true, childList: true });
  const zone = document.querySelector("[data-drop-zone]");
  zone.dispatchEvent(new DragEvent("dragenter", { dataTransfer: data, bubbles: true }));
  zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_ten_files_are_dropped_each_shows_its_progress_and_the_one_that_fails_says_why(
    admin: Visit,
) -> None:
    page = admin.page
    admin.go("upload")
    tag = f"dropped-{secrets.token_hex(4)}"
    page.get_by_label("Tags").fill(tag)
    page.evaluate(DROP, "n" * 260 + ".txt")
    rows = page.locator(".queue-row")
    expect(rows).to_have_count(10)
    expect(page.locator("#tally")).to_have_text("0 of 10 stored")
    page.get_by_role("button", name="Upload", exact=True).click()
    for row in rows.all()[:9]:
        expect(row).to_have_attribute("data-state", "done", timeout=60_000)
        expect(row.locator("progress")).to_have_attribute("aria-label", re.compile("dropped"))
        assert row.locator("progress").evaluate("bar => bar.value") == 100
    expect(rows.last).to_have_attribute("data-state", "failed")
    expect(rows.last).to_contain_text("255")
    expect(page.locator("#tally")).to_have_text("9 of 10 stored")
    states = {state.split()[0] for state in page.evaluate("[...window.states]")}
    assert {"sending", "storing", "done", "failed"} <= states
    expect(rows.last.get_by_role("button", name="Try again")).to_be_visible()
    admin.go(f"files?tags={tag}")
    expect(page.locator("#results-title")).to_have_text("9 files")


def test_a_file_is_found_by_a_word_of_its_description_looked_into_tagged_and_tells_its_story(
    admin: Visit,
) -> None:
    page = admin.page
    admin.go("upload")
    page.get_by_label("Description").fill("Протоколы испытаний кариатиды")
    page.get_by_label("Tags").fill("trial")
    choose(admin, payload("record 1871.txt", "Первая строка протокола\n".encode() * 3000))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator(".queue-row")).to_have_attribute("data-state", "done")
    admin.go("files")
    page.get_by_text("Words anywhere", exact=True).click()
    # Another form of the word than the one that was written.
    page.get_by_role("searchbox", name="Search files").fill("кариатида")
    page.locator("#results").get_by_role("link", name="record 1871.txt", exact=True).click()
    expect(page.locator(".preview-text")).to_contain_text("Первая строка протокола")
    expect(page.get_by_text("download the file to see the rest")).to_be_visible()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Tags").fill("trial, museum")
    page.get_by_role("button", name="Save").click()
    story = page.locator(".timeline-list li")
    expect(story.nth(0)).to_contain_text("Uploaded")
    expect(story.nth(1)).to_contain_text("Edited: tags")
    expect(story.nth(1)).to_contain_text("admin")
    expect(story.nth(2)).to_contain_text(re.compile("Last verified.*(Not yet|20\\d\\d)", re.DOTALL))
    expect(story.nth(3)).to_contain_text(re.compile("Expires.*in 30 days", re.DOTALL))


EVIL_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="90" height="60" onload="document.title='taken'">
<script>document.title = 'taken'</script><rect width="90" height="60" fill="teal"/></svg>"""


def test_a_hostile_picture_or_page_is_shown_and_runs_nothing(admin: Visit) -> None:
    page = admin.page
    files: list[FilePayload] = [
        {"name": "evil.svg", "mimeType": "image/svg+xml", "buffer": EVIL_SVG},
        {
            "name": "evil.html",
            "mimeType": "text/html",
            "buffer": b"<script>document.title='taken'</script>",
        },
        {"name": "no picture.png", "mimeType": "image/png", "buffer": b"<script>alert(1)</script>"},
    ]
    upload_with_script(admin, *files)
    svg, html, png = [
        link.get_attribute("href") for link in page.get_by_role("link", name="Open").all()
    ]
    page.goto(svg or "")
    assert page.locator(".preview-picture img").evaluate(
        "image => image.decode().then(() => image.width)"
    )
    page.goto(html or "")
    expect(page.locator(".preview-text")).to_have_text("<script>document.title='taken'</script>")
    page.goto(png or "")
    expect(page.get_by_text("The browser cannot show this picture.")).to_be_visible()
    assert admin.complaints == []
    for address in (svg, html):
        answer = page.goto(f"{address}/download?disposition=inline")
        assert answer is not None
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert page.title() != "taken"
    # Chromium says of each page that its script was not run: that is what was wanted.
    assert all("sandboxed" in complaint for complaint in admin.complaints)
    admin.complaints.clear()


def test_a_file_is_found_by_part_of_its_name_by_words_and_by_its_whole_name(admin: Visit) -> None:
    name = "survey_of-the-northern.stand-88.txt"
    admin.go("upload")
    admin.page.get_by_label("Description").fill("Замеры северного стенда")
    choose(admin, payload(name))
    admin.page.get_by_role("button", name="Upload", exact=True).click()
    expect(admin.page.locator(".queue-row")).to_have_attribute("data-state", "done")
    for query, mode in (
        ("the-northern", "Part of the name"),
        ("замер", "Words anywhere"),
        (name.upper(), "Whole name"),
    ):
        admin.go("files")
        admin.page.get_by_text(mode, exact=True).click()
        admin.page.get_by_role("searchbox", name="Search files").fill(query)
        expect(
            admin.page.locator("#results").get_by_role("link", name=name, exact=True)
        ).to_be_visible()
        expect(admin.page.locator("#results-title")).to_have_text("1 file")
        address = admin.page.url
        assert "query=" in address
        assert "cursor" not in address
        admin.page.goto(address)
        expect(
            admin.page.locator("#results").get_by_role("link", name=name, exact=True)
        ).to_be_visible()


def test_results_are_sorted_and_paged_and_the_address_says_how(admin: Visit) -> None:
    upload_with_script(
        admin, *[payload(f"paged {number:02}.txt", b"x" * number) for number in range(30)]
    )
    admin.go("files?query=paged")
    names = admin.page.locator("#results .file-name a")
    expect(names).to_have_count(25)
    admin.page.get_by_role("link", name="Name").click()
    expect(names.first).to_have_text("paged 00.txt")
    admin.page.wait_for_url("**sort_by=original_filename**")
    admin.page.get_by_role("link", name="Next").click()
    expect(names.first).to_have_text("paged 25.txt")
    expect(names).to_have_count(5)
    admin.page.wait_for_url("**offset=25**")
    admin.page.reload()
    expect(names.first).to_have_text("paged 25.txt")
    admin.page.go_back()
    expect(names.first).to_have_text("paged 00.txt")
    admin.page.get_by_role("link", name="Name").click()
    expect(names.first).to_have_text("paged 29.txt")


def test_filters_narrow_the_result_and_a_bad_value_is_told(admin: Visit) -> None:
    upload_with_script(admin, payload("filtered.txt", b"x" * 2000))
    admin.go("files?query=filtered")
    admin.page.get_by_text("Filters").click()
    admin.page.get_by_label("At least").fill("1 MiB")
    admin.page.get_by_role("button", name="Apply").click()
    expect(admin.page.get_by_role("heading", name="No file matches")).to_be_visible()
    admin.page.get_by_label("At least").fill("lots")
    admin.page.get_by_role("button", name="Apply").click()
    expect(admin.page.get_by_role("alert")).to_contain_text("Write a size such as 10 MiB.")


def test_deleting_asks_in_a_dialog_that_escape_closes_and_focus_returns(admin: Visit) -> None:
    upload_with_script(admin, payload("to be deleted.txt"))
    admin.page.get_by_role("link", name="Open").click()
    delete = admin.page.get_by_role("link", name="Delete")
    delete.click()
    dialog = admin.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete this file?")
    admin.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(delete).to_be_focused()
    delete.click()
    dialog.get_by_role("button", name="Delete").click()
    admin.page.wait_for_url("**/console/files")
    admin.go("files?query=to+be+deleted&status=deleted")
    expect(
        admin.page.locator("#results").get_by_role("link", name="to be deleted.txt")
    ).to_be_visible()


def test_the_checksum_and_the_curl_line_are_copied(
    visit: Begin, admin_state: dict[str, Any]
) -> None:
    person = visit(permissions=["clipboard-read", "clipboard-write"], storage_state=admin_state)
    upload_with_script(person, payload("copy'd name.txt"))
    person.page.get_by_role("link", name="Open").click()
    for source in ("checksum", "curl"):
        person.page.locator(f"[data-copy={source}]").click()
        expect(person.page.locator("#announcements")).to_have_text("Copied")
        copied = person.page.evaluate("navigator.clipboard.readText()")
        assert copied == person.page.locator(f"#{source}").inner_text()
    assert "'copy'\"'\"'d name.txt'" in person.page.locator("#curl").inner_text()


def test_an_edit_is_kept_and_a_wrong_one_is_told_at_its_field(admin: Visit) -> None:
    upload_with_script(admin, payload("to be edited.txt"))
    admin.page.get_by_role("link", name="Open").click()
    admin.page.get_by_role("link", name="Edit", exact=True).click()
    admin.page.get_by_label("Metadata").fill("[1]")
    admin.page.get_by_role("button", name="Save").click()
    expect(admin.page.locator("#id_metadata_error")).to_contain_text("Write a JSON object")
    admin.page.get_by_label("Metadata").fill('{"ключ": [1, 2]}')
    admin.page.get_by_label("Tags").fill("a, b, a")
    admin.page.get_by_role("button", name="Save").click()
    expect(admin.page.get_by_role("status").first).to_contain_text("The changes are stored.")
    expect(admin.page.locator("pre", has_text='"ключ"')).to_be_visible()
    expect(admin.page.locator("dd .badge-tag")).to_have_text(["a", "b"])
    expect(admin.page.get_by_text("Edited: metadata, tags")).to_be_visible()


def test_a_reader_may_look_and_download_and_nothing_else(admin: Visit, reader: Visit) -> None:
    upload_with_script(admin, payload("for readers.txt"))
    admin.page.get_by_role("link", name="Open").click()
    address = admin.page.url
    reader.page.goto(address)
    for word in ("Edit", "Delete"):
        expect(reader.page.get_by_role("link", name=word, exact=True)).to_have_count(0)
    assert download(reader) == CONTENT
    for path in ("/edit", "/delete"):
        answer = reader.page.goto(address + path)
        assert answer is not None
        assert answer.status == 403

"""Ways people take that no page leads along: back, by mouse alone, beside a running sync, odd names."""

import re
import secrets
from collections.abc import Callable

import pytest
import requests
from playwright.sync_api import FilePayload, Locator, expect

from artstore.tests.browser import Visit
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser

Stored = Callable[..., str]
A_MINUTE_MILLISECONDS = 60_000
# Whether the bar over the list says how many rows are ticked, and offers what can be done with them.
AGREES = """() => {
  const chosen = document.querySelectorAll("[data-row]:checked").length;
  const told = Number(document.querySelector("[data-selected-count]").textContent);
  const disabled = document.querySelector("[data-needs-selection]").disabled;
  return document.readyState === "complete" && told === chosen && disabled === (chosen === 0);
}"""


@pytest.fixture
def stored(live_web: LiveSystem) -> Stored:
    """`stored("a.txt", tags='["x"]')`: a new file's id."""
    session = live_web.session(live_web.service_token(("files:write",)))

    def put(filename: str, **fields: str) -> str:
        answer = session.put(
            f"{live_web.api}/files/upload",
            params={"filename": filename, **fields},
            data=filename.encode(),
            timeout=60,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["file_id"])

    return put


def test_the_way_back_from_a_form_leads_to_what_is_stored_and_sends_nothing_again(
    admin: Visit, stored: Stored
) -> None:
    page, file_id = admin.page, stored("back and forth.txt")
    admin.go(f"files/{file_id}")
    before = page.locator(".timeline-list li").count()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Metadata").fill("no JSON")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#id_metadata_error")).to_be_visible()
    page.get_by_label("Metadata").fill("")
    page.get_by_label("Description").fill("stored once")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("The changes are stored.")
    page.go_back()
    expect(page.get_by_label("Description")).to_have_value("stored once")
    page.go_forward()
    expect(page.locator(".timeline-list")).to_contain_text("Edited: description")
    expect(page.locator(".timeline-list li")).to_have_count(before + 1)
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/console/files")
    page.go_back()
    expect(page.locator(".page-subtitle")).to_contain_text("Deleted")
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)


def test_a_secret_is_not_rotated_twice_by_sending_the_form_again(
    admin: Visit, live_web: LiveSystem
) -> None:
    page, name = admin.page, f"twice-{secrets.token_hex(4)}"
    client_id, _secret = live_web.service_account(["files:read"], name=name)
    admin.go(f"service-accounts?q={name}")
    page.get_by_role("link", name=name).click()
    page.get_by_role("link", name="Rotate the secret").click()
    page.get_by_role("button", name="Make a new secret").click()
    expect(page.locator("#client-secret")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Make a new secret")).to_be_visible()
    expect(page.locator("#client-secret")).to_have_count(0)
    page.go_back()
    page.go_forward()
    admin.go(f"audit?action=service_account.rotate_secret&target={client_id}")
    expect(page.locator("#events tbody tr")).to_have_count(1)


def click_with_mouse(person: Visit, target: Locator) -> None:
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    person.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_files_are_chosen_tagged_and_deleted_with_the_mouse_alone(
    admin: Visit, stored: Stored
) -> None:
    page, tag = admin.page, f"mouse-{secrets.token_hex(4)}"
    for number in range(3):
        stored(f"{tag} {number}.txt", tags=f'["{tag}"]')
    admin.go(f"files?tags={tag}")
    tags = page.get_by_role("button", name="Edit tags")
    expect(tags).to_be_disabled()
    click_with_mouse(admin, page.locator("[data-all-rows]"))
    expect(page.locator("[data-selected-count]")).to_have_text("3")
    click_with_mouse(admin, page.locator("[data-row]").first)
    expect(page.locator("[data-selected-count]")).to_have_text("2")
    # Looked at one and back: what was chosen is chosen, and the buttons know.
    click_with_mouse(admin, page.locator("#results .file-name a").first)
    page.wait_for_url(re.compile("/files/[0-9a-f-]{36}$"))
    page.go_back()
    expect(page.locator("[data-row]")).to_have_count(3)
    page.wait_for_function(AGREES)
    for box in page.locator("[data-row]:not(:checked)").all():
        click_with_mouse(admin, box)
    click_with_mouse(admin, page.get_by_role("button", name="Delete", exact=True))
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 3 files?")
    # The page that asks was sent which files; loaded again it says what to do.
    page.reload()
    expect(page.get_by_role("status").first).to_contain_text("Choose at least one file.")
    admin.go(f"files?tags={tag}")
    click_with_mouse(admin, page.locator("[data-all-rows]"))
    click_with_mouse(admin, page.get_by_role("button", name="Delete", exact=True))
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 3 files?")
    click_with_mouse(admin, page.get_by_role("button", name="Delete", exact=True))
    expect(page.get_by_role("status").first).to_contain_text("3 files are done.")
    # Back in the search that they were chosen from.
    assert page.url.endswith(f"/console/files?tags={tag}")


def test_a_file_edited_while_its_element_is_synced_keeps_the_edit(
    admin: Visit, stored: Stored, live_web: LiveSystem
) -> None:
    page, file_id = admin.page, stored("beside a sync.txt")
    editor = admin.context.new_page()
    editor.goto(f"/console/files/{file_id}/edit")
    editor.get_by_label("Description").fill("of the person")
    admin.go("elements?q=node-edit")
    page.locator("#elements tbody a").first.click()
    page.get_by_role("button", name="Sync everything").click()
    page.wait_for_url(re.compile("/console/runs/"))
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_role("status").first).to_contain_text("The changes are stored.")
    expect(page.locator("#run-title")).to_have_text("Succeeded", timeout=A_MINUTE_MILLISECONDS)
    editor.reload()
    expect(editor.get_by_text("of the person")).to_be_visible()
    token = live_web.service_token(("files:read",))
    kept = requests.get(
        f"{live_web.api}/files/{file_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    ).json()
    assert kept["description"] == "of the person"


def test_a_name_that_would_turn_itself_round_is_written_out_wherever_it_is_shown(
    admin: Visit,
) -> None:
    page, shown = admin.page, "invoice[U+202E]gpj.exe"
    admin.go("upload")
    file: FilePayload = {"name": "invoice\u202egpj.exe", "mimeType": "text/plain", "buffer": b"x"}
    page.locator("#file").set_input_files([file])
    expect(page.locator(".queue-row [data-name]")).to_have_text(shown)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_role("link", name="Open").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(shown)
    assert page.title().startswith(shown)
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text(shown)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").first).to_have_text(
        re.compile(re.escape(f"{shown} is deleted."))
    )

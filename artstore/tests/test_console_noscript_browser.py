"""The console with JavaScript off: every plain flow, with nothing but links and forms."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import FilePayload, expect

from artstore.tests.browser import Visit
from artstore.tests.live import eventually

pytestmark = pytest.mark.browser


@pytest.fixture
def plain(visit: Callable[..., Visit], admin_state: dict[str, Any]) -> Visit:
    """An administrator whose browser runs no script."""
    return visit(storage_state=admin_state, java_script_enabled=False)


def upload(person: Visit, name: str, content: str, description: str) -> None:
    person.go("upload")
    person.page.get_by_label("Description").fill(description)
    file: FilePayload = {"name": name, "mimeType": "text/plain", "buffer": content.encode()}
    person.page.locator("#file").set_input_files([file])
    person.page.get_by_role("button", name="Upload", exact=True).click()
    expect(person.page.get_by_role("heading", level=1)).to_have_text(name)


def test_files_are_uploaded_searched_looked_into_tagged_and_deleted(plain: Visit) -> None:
    page = plain.page
    for number in (1, 2):
        upload(plain, f"plainly {number}.txt", f"line one of {number}\n", "Bricks of the old wall")
    page.get_by_role("link", name="Show how the file begins").click()
    expect(page.locator(".preview-text")).to_have_text("line one of 2")
    plain.go("files")
    page.get_by_text("Words anywhere").click()
    page.get_by_role("searchbox", name="Search files").fill("brick plainly")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#results-title")).to_have_text("2 files")
    page.locator("#results").get_by_role("link", name="Name", exact=True).click()
    expect(page.locator("#results .file-name a").first).to_have_text("plainly 1.txt")
    for box in page.locator("[data-row]").all():
        box.check()
    page.get_by_role("button", name="Edit tags").click()
    page.get_by_label("Add tags").fill("masonry, old")
    page.get_by_role("button", name="Change the tags").click()
    expect(page.get_by_role("status").first).to_contain_text("2 files are done.")
    plain.go("files?tags=masonry")
    expect(page.locator("#results-title")).to_have_text("2 files")
    with page.expect_download() as found:
        page.get_by_role("link", name="Export as CSV").click()
    text = found.value.path().read_text(encoding="utf-8-sig")
    assert "plainly 1.txt" in text
    assert len(text.splitlines()) == 3
    for box in page.locator("[data-row]").all():
        box.check()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 2 files?")
    page.get_by_role("button", name="Delete", exact=True).click()
    plain.go("files?tags=masonry")
    expect(page.get_by_role("heading", name="No file matches")).to_be_visible()


def test_pressing_a_bulk_button_with_nothing_chosen_says_what_to_do(plain: Visit) -> None:
    upload(plain, "left alone.txt", "x", "")
    plain.go("files?query=left+alone")
    plain.page.get_by_role("button", name="Delete", exact=True).click()
    expect(plain.page.get_by_role("status").first).to_contain_text("Choose at least one file.")


def test_what_an_element_refuses_is_told_file_by_file(plain: Visit) -> None:
    page = plain.page
    plain.go("upload")
    page.get_by_label("Permanently").check()
    page.locator("#file").set_input_files(
        [{"name": "kept for good.txt", "mimeType": "text/plain", "buffer": b"kept"}]
    )
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("kept for good.txt")
    plain.go("files?query=kept+for+good")
    page.locator("[data-row]").first.check()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not all files were changed")
    expect(page.locator("tbody tr")).to_contain_text("kept for good.txt")
    expect(page.locator("tbody tr td").last).not_to_be_empty()


def test_an_element_is_operated(plain: Visit) -> None:
    page = plain.page
    plain.go("elements?q=node-rw")
    page.locator("#elements tbody a").first.click()
    page.get_by_role("button", name="Probe").click()
    expect(page.get_by_role("status").first).to_contain_text("was asked how it is")
    page.get_by_role("button", name="Sync everything").click()
    eventually(lambda: page.reload() and ended(plain), "the sync ended")
    page.get_by_role("link", name="Browse the element's files").click()
    expect(page.locator("#results-title")).to_be_visible()
    page.go_back()
    page.locator(".breadcrumb a").last.click()
    page.get_by_role("link", name="Show the files of this element").click()
    expect(page.locator("#results-title")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Reconcile").click()
    expect(page.get_by_role("status").first).to_contain_text("has begun to reconcile")
    page.get_by_role("link", name="Ask the node what its last reconcile found").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Show what would go").click()
    expect(page.get_by_text("Files that would be freed")).to_be_visible()
    page.get_by_role("link", name="Back to the element").click()
    page.get_by_role("link", name="Change to ro").click()
    expect(page.get_by_role("button", name="Change to ro")).to_be_visible()


def ended(person: Visit) -> bool:
    return "Running" not in person.page.locator("#run-title").inner_text()


def test_programs_people_and_the_log_are_administered(plain: Visit) -> None:
    page, name = plain.page, f"plain-{secrets.token_hex(4)}"
    plain.go("service-accounts/create")
    page.get_by_label("Name").fill(name)
    page.get_by_role("checkbox", name="files:read").check()
    page.get_by_role("button", name="Create").click()
    secret = page.locator("#client-secret").inner_text()
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Rotate the secret").click()
    page.get_by_role("button", name="Make a new secret").click()
    assert page.locator("#client-secret").inner_text() != secret
    plain.go("users/create")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill("a long phrase 12")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    plain.go("audit")
    page.get_by_label("Target").fill(name)
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#events tbody tr")).to_have_count(1)
    expect(page.locator("#events tbody tr")).to_contain_text("user.create")

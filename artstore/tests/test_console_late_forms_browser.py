"""What a person typed is not lost: a session that ends meanwhile, another login, a second tab."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import FilePayload, Page, expect

from artstore.tests.browser import Visit, make_user
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser

Begin = Callable[..., Visit]
Person = tuple[str, str]


@pytest.fixture(scope="module")
def somebody(live_web: LiveSystem) -> Person:
    """An administrator whose sessions may end."""
    return make_user(live_web, "admin")


@pytest.fixture
def file_id(live_web: LiveSystem) -> str:
    answer = requests.put(
        f"{live_web.api}/files/upload",
        params={"filename": "typed about.txt", "description": "before"},
        data=b"x",
        headers={"Authorization": f"Bearer {live_web.service_token(('files:write',))}"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


def log_in_here(page: Page, person: Person) -> None:
    page.locator("#id_username").fill(person[0])
    page.locator("#id_password").fill(person[1])
    page.get_by_role("button", name="Log in", exact=True).click()


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
def test_a_session_that_ends_while_one_types_costs_a_login_and_no_text(
    script: bool, visit: Begin, somebody: Person, file_id: str
) -> None:
    person = visit(java_script_enabled=script)
    person.log_in(*somebody)
    page = person.page
    person.go(f"files/{file_id}/edit")
    page.get_by_label("Description").fill("typed for\nhalf an hour")
    page.get_by_label("Tags").fill('"Smith, John", north')
    person.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("What you typed is kept")
    log_in_here(page, somebody)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not sent yet")
    expect(page.locator("#unsent")).to_contain_text("half an hour")
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_text("half an hour")).to_be_visible()
    expect(page.locator("dd .badge-tag")).to_have_text(["Smith, John", "north"])


def test_a_form_opened_before_another_login_is_sent_after_it(
    visit: Begin, somebody: Person, file_id: str
) -> None:
    person = visit()
    person.log_in(*somebody)
    page = person.page
    person.go(f"files/{file_id}/edit")
    page.get_by_label("Description").fill("typed before")
    person.context.clear_cookies(name="sessionid")
    other = person.context.new_page()
    other.goto("/console/login")
    log_in_here(other, somebody)
    other.wait_for_url("**/console/")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_role("status").first).to_contain_text("The changes are stored.")
    expect(page.get_by_text("typed before")).to_be_visible()


def test_an_upload_refused_for_want_of_a_session_goes_on_after_a_login_in_another_tab(
    visit: Begin, somebody: Person
) -> None:
    person = visit()
    person.log_in(*somebody)
    page = person.page
    person.go("upload")
    page.get_by_label("Description").fill("kept on the page")
    file: FilePayload = {"name": "late.txt", "mimeType": "text/plain", "buffer": b"late"}
    page.locator("#file").set_input_files([file])
    person.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Upload", exact=True).click()
    row = page.locator(".queue-row")
    expect(row).to_contain_text("Log in in another tab")
    with person.context.expect_page() as opened:
        row.get_by_role("link", name="Log in").click()
    other = opened.value
    log_in_here(other, somebody)
    other.wait_for_url("**/console/")
    row.get_by_role("button", name="Try again").click()
    expect(row).to_have_attribute("data-state", "done")
    page.get_by_role("link", name="Open").click()
    expect(page.get_by_text("kept on the page")).to_be_visible()


def test_two_tabs_in_one_field_are_shown_each_others_words_and_the_second_decides(
    visit: Begin, admin_state: dict[str, Any], file_id: str
) -> None:
    first = visit(storage_state=admin_state)
    second = first.context.new_page()
    for page in (first.page, second):
        page.goto(f"/console/files/{file_id}/edit")
    first.page.get_by_label("Description").fill("of the first")
    first.page.get_by_role("button", name="Save").click()
    expect(first.page.get_by_role("status").first).to_contain_text("The changes are stored.")
    second.get_by_label("Description").fill("of the second")
    second.get_by_label("Tags").fill("second")
    second.get_by_role("button", name="Save").click()
    expect(second.locator("#clash")).to_contain_text("Somebody stored something else")
    expect(second.locator(".clash-table td")).to_have_text(["of the first", "of the second"])
    assert first.accessibility_problems() == []
    second.get_by_role("button", name="Save mine in its place").click()
    expect(second.get_by_role("status").first).to_contain_text("The changes are stored.")
    expect(second.get_by_text("of the second")).to_be_visible()
    expect(second.locator("dd .badge-tag")).to_have_text(["second"])

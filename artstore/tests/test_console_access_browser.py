"""Who may do what, as an administrator sees to it: programs and their secrets, people, keys, the log."""

import csv
import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from playwright.sync_api import Locator, expect

from artstore.tests.browser import Visit, make_user
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser


@pytest.fixture
def operator(visit: Callable[..., Visit], admin_state: dict[str, Any]) -> Visit:
    """An administrator whose browser lets pages copy."""
    return visit(storage_state=admin_state, permissions=["clipboard-read", "clipboard-write"])


def copied(person: Visit, source: str) -> str:
    """Press the copy button beside a text; what the clipboard holds then."""
    person.page.locator(f"[data-copy={source}]").click()
    expect(person.page.locator(f"[data-copy={source}]")).to_have_class(re.compile("is-copied"))
    return str(person.page.evaluate("navigator.clipboard.readText()"))


def token_by_curl(line: str, secret: str) -> dict[str, Any]:
    """Run the line as it was shown. curl asks for the secret; without a terminal it reads it."""
    ran = subprocess.run(
        ["/bin/sh", "-c", line],
        input=secret + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def create_account(person: Visit, name: str) -> None:
    page = person.page
    person.go("service-accounts")
    page.get_by_role("link", name="Create an account").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("checkbox", name="files:read").check()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("Copy the secret now")


def test_a_program_gets_an_account_and_its_copied_secret_works_with_the_curl_line_shown(
    operator: Visit, live_web: LiveSystem
) -> None:
    name = f"nightly build {secrets.token_hex(4)}"
    create_account(operator, name)
    secret, line = copied(operator, "client-secret"), copied(operator, "curl")
    assert secret not in line
    token = token_by_curl(line, secret)["access_token"]
    answer = live_web.session(token).get(f"{live_web.api}/files", timeout=30)
    assert answer.status_code == 200
    operator.page.get_by_role("link", name="I have copied it").click()
    expect(operator.page.get_by_role("heading", level=1)).to_have_text(name)
    assert secret not in operator.page.content()
    expect(operator.page.locator("dt", has_text="Last used")).to_be_visible()


def test_a_secret_is_rotated_with_overlap_and_both_work_until_the_old_one_ends(
    operator: Visit,
) -> None:
    create_account(operator, f"rotated build {secrets.token_hex(4)}")
    old, line = copied(operator, "client-secret"), copied(operator, "curl")
    page = operator.page
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Rotate the secret").click()
    page.get_by_label("The old secret ends").select_option("3600")
    page.get_by_role("button", name="Make a new secret").click()
    new = copied(operator, "client-secret")
    assert new != old
    for secret in (old, new):
        assert token_by_curl(line, secret)["access_token"]
    page.get_by_role("link", name="I have copied it").click()
    ends = page.locator("dt:has-text('The old secret ends') + dd")
    expect(ends).to_contain_text(re.compile(r"in (59|60) min|in 1 hr"))
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_role("status").first).to_contain_text("The account is suspended.")
    page.get_by_role("button", name="Let it act again").click()
    expect(page.get_by_role("status").first).to_contain_text("The account may act again.")


def test_a_locked_user_is_seen_unlocked_and_let_in_again(
    admin: Visit, visit: Callable[..., Visit], live_web: LiveSystem
) -> None:
    name, password = make_user(live_web, "readonly")
    for _attempt in range(5):
        body = {"username": name, "password": "wrong"}
        requests.post(f"{live_web.api}/admin-auth/login", json=body, timeout=30)
    person = visit()
    person.go("login")
    sign_in(person, name, password)
    expect(person.page.get_by_role("alert")).to_contain_text("Too many wrong passwords")
    page = admin.page
    admin.go("users")
    page.get_by_role("searchbox", name="Name or email").fill(name)
    row = page.locator("#users tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Locked")
    row.get_by_role("link").click()
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_role("status").first).to_contain_text("The lock is gone.")
    sign_in(person, name, password)
    expect(person.page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def sign_in(person: Visit, name: str, password: str) -> None:
    person.page.locator("#id_username").fill(name)
    person.page.locator("#id_password").fill(password)
    person.page.locator("form.card button").click()


def test_people_are_created_given_a_role_a_password_and_deactivated(
    admin: Visit, visit: Callable[..., Visit]
) -> None:
    page = admin.page
    name = f"мария-{time.monotonic_ns()}"
    admin.go("users")
    page.get_by_role("link", name="Create a user").click()
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill("a long phrase 12")
    # An impatient hand: the form is sent once, and nobody is told that the name is taken.
    page.get_by_role("button", name="Create").dblclick()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_label("Role").select_option("admin")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("The changes are stored.")
    page.get_by_role("link", name="Set a password").click()
    page.locator("#id_new_password").fill("quite another phrase 7")
    page.locator("main form button").click()
    expect(page.get_by_role("status").first).to_contain_text("is set")
    person = visit()
    person.go("login")
    sign_in(person, name, "quite another phrase 7")
    expect(person.page.locator(".sidebar-user-role")).to_have_text("Administrator")
    page.get_by_label("May log in").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".page-subtitle")).to_contain_text("Deactivated")
    person.go("files")
    assert "/console/login" in person.page.url


@pytest.fixture
def an_hour_later(live_web: LiveSystem) -> Callable[[], None]:
    """Lets the grace of the retiring keys end in three seconds, in this throw-away database."""

    def pass_it() -> None:
        with psycopg.connect(live_web.ready["database_url"]) as connection:
            connection.execute(
                "update artstore_admin_signingkey set leaves_at = now() + interval '3 seconds'"
                " where state = 'retiring'"
            )

    return pass_it


def state_of(key: str, page: Any) -> Locator:
    found: Locator = page.locator("#keys tbody tr", has_text=key).locator(".state")
    return found


def test_the_signing_key_is_rotated_and_its_grace_is_seen_to_run_out(
    admin: Visit, an_hour_later: Callable[[], None]
) -> None:
    page = admin.page
    admin.go("keys")
    active = page.locator("#keys tbody tr", has=page.get_by_text("Active", exact=True))
    old = active.locator("code").inner_text()
    announced = page.locator("#keys tbody tr", has=page.get_by_text("Announced", exact=True))
    next_key = announced.first.locator("code").inner_text()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("status").first).to_contain_text("signed with the new key")
    expect(state_of(old, page)).to_have_text("Retiring")
    expect(page.locator("#keys tbody tr", has_text=old)).to_contain_text(
        re.compile("in 1 hr|in 60 min|in 61 min")
    )
    active_now = page.locator("#keys tbody tr", has=page.get_by_text("Active", exact=True))
    expect(active_now).to_have_count(1)
    expect(active_now).not_to_contain_text(old)
    assert next_key
    an_hour_later()
    page.reload()
    # From here on nobody touches the page: it counts down and refreshes itself.
    expect(state_of(old, page)).to_have_text("Retired", timeout=30_000)


def test_a_range_of_the_audit_log_is_filtered_and_exported(
    admin: Visit, live_web: LiveSystem
) -> None:
    name, _password = make_user(live_web, "readonly")
    page = admin.page
    admin.go("audit")
    today = page.evaluate("new Date().toISOString().slice(0, 10)")
    page.get_by_label("From (UTC)").fill(today)
    page.get_by_label("Until (UTC)").fill(today)
    page.get_by_label("Action").fill("user.")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#events tbody tr").first).to_contain_text("user.")
    expect(page.locator("#events tbody")).to_contain_text(name)
    with page.expect_download() as found:
        page.get_by_role("link", name="Export as CSV").click()
    with Path(found.value.path()).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert name in [row["target"] for row in rows]
    assert all(row["at"].startswith(today) and row["action"].startswith("user.") for row in rows)
    page.get_by_label("From (UTC)").fill("2020-01-01")
    page.get_by_label("Until (UTC)").fill("2020-01-02")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("heading", name="No event matches")).to_be_visible()


def test_ones_own_password_language_and_theme_are_kept_and_other_sessions_end(
    visit: Callable[..., Visit], live_web: LiveSystem
) -> None:
    name, password = make_user(live_web, "readonly")
    here, elsewhere = visit(), visit()
    for person in (here, elsewhere):
        person.log_in(name, password)
    here.go("account")
    here.page.locator("#content").get_by_role("button", name="Dark").click()
    expect(here.page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    here.page.get_by_role("button", name="End all other sessions").click()
    expect(here.page.get_by_role("status").first).to_contain_text("other sessions ended")
    elsewhere.go("files")
    assert "/console/login" in elsewhere.page.url
    new = "another long phrase 7"
    here.page.locator("#id_current_password").fill(password)
    here.page.locator("#id_new_password").fill(new)
    here.page.locator("#id_repeated").fill(new)
    here.page.get_by_role("button", name="Change password").click()
    expect(here.page.get_by_role("status").first).to_contain_text("Your password is changed")
    elsewhere.go("login")
    sign_in(elsewhere, name, new)
    expect(elsewhere.page.get_by_role("heading", level=1)).to_have_text("Dashboard")

"""The console in a real browser: signing in, the shell, themes, languages, roles, the keyboard."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from artstore.tests.browser import Visit, make_user
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser

Begin = Callable[..., Visit]
EXACT_UTC = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC")


def test_a_wrong_password_is_refused_in_words_and_the_right_one_opens_the_dashboard(
    visit: Begin, live_web: LiveSystem
) -> None:
    name, password = make_user(live_web, "admin")
    person = visit()
    assert person.go("files?query=x") == 200
    assert "/console/login?next=" in person.page.url
    person.page.locator("#id_username").fill(name)
    person.page.locator("#id_password").fill("not it, surely")
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("alert")).to_contain_text("Nobody was signed in")
    person.page.locator("#id_password").fill(password)
    person.page.keyboard.press("Enter")
    person.page.wait_for_url("**/console/files?query=x")
    person.page.get_by_role("button", name="Log out").click()
    person.page.wait_for_url("**/console/login")
    assert person.go("files") == 200
    assert "/console/login" in person.page.url


@pytest.mark.parametrize(
    ("language", "said"), [("en", "Too many wrong passwords"), ("ru", "Слишком много")]
)
def test_too_many_wrong_passwords_lock_the_name_for_everybody(
    language: str, said: str, visit: Begin, live_web: LiveSystem
) -> None:
    name, password = make_user(live_web, "readonly")
    person = visit()
    person.use(language=language)
    person.go("login")
    for _attempt in range(5):
        person.page.locator("#id_username").fill(name)
        person.page.locator("#id_password").fill("wrong again")
        person.page.locator("form.card button").click()
        expect(person.page.get_by_role("alert")).to_be_visible()
    person.page.locator("#id_username").fill(name)
    person.page.locator("#id_password").fill(password)
    with person.page.expect_response("**/console/login") as answered:
        person.page.locator("form.card button").click()
    assert answered.value.status == 423
    expect(person.page.get_by_role("alert")).to_contain_text(said)
    assert person.accessibility_problems() == []


def test_the_site_root_leads_to_the_console(admin: Visit) -> None:
    admin.page.goto("/")
    assert admin.page.url.endswith("/console/")
    expect(admin.page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_the_theme_chosen_is_kept_and_the_systems_choice_is_followed(visit: Begin) -> None:
    dark_system = visit(color_scheme="dark")
    dark_system.go("login")
    root = dark_system.page.locator("html")
    expect(root).to_have_attribute("data-bs-theme", "dark")
    dark_system.page.get_by_role("button", name="Light").click()
    expect(root).to_have_attribute("data-bs-theme", "light")
    dark_system.page.reload()
    expect(root).to_have_attribute("data-bs-theme", "light")
    dark_system.page.get_by_role("button", name="Like the system").click()
    expect(root).to_have_attribute("data-bs-theme", "dark")


def test_the_language_chosen_is_kept(admin: Visit) -> None:
    admin.go("files")
    admin.page.get_by_role("button", name="Русский").click()
    expect(admin.page.get_by_role("heading", level=1)).to_have_text("Файлы")
    assert admin.page.url.endswith("/console/files")
    admin.page.reload()
    expect(admin.page.locator("html")).to_have_attribute("lang", "ru")


def test_times_are_in_the_browsers_zone_with_utc_on_hover(admin: Visit) -> None:
    admin.go("elements")
    admin.page.locator("tbody tr a").first.click()
    time = admin.page.locator("time").first
    expect(time).to_have_attribute("title", EXACT_UTC)
    shown = time.evaluate(
        "e => e.textContent === new Intl.DateTimeFormat(document.documentElement.lang,"
        " {dateStyle: 'medium', timeStyle: 'short', timeZone: 'Europe/Berlin'})"
        ".format(new Date(e.dateTime))"
    )
    assert shown


def test_slash_goes_to_the_search(admin: Visit) -> None:
    admin.go("")
    admin.page.keyboard.press("/")
    expect(admin.page.locator("#sidebar-search")).to_be_focused()
    admin.page.keyboard.type("nothing like this")
    admin.page.keyboard.press("Enter")
    admin.page.wait_for_url("**/console/files?query=nothing+like+this")
    expect(admin.page.get_by_role("heading", name="No file matches")).to_be_visible()


def test_on_a_narrow_screen_the_menu_opens_and_leads_on(
    visit: Begin, admin_state: dict[str, Any]
) -> None:
    phone = visit(viewport={"width": 360, "height": 740}, storage_state=admin_state)
    phone.go("")
    phone.page.get_by_role("button", name="Menu").click()
    phone.page.get_by_role("link", name="Storage elements").click()
    expect(phone.page.get_by_role("heading", level=1)).to_have_text("Storage elements")


def test_without_javascript_one_can_log_in_go_everywhere_and_log_out(
    visit: Begin, live_web: LiveSystem
) -> None:
    plain = visit(java_script_enabled=False, viewport={"width": 360, "height": 740})
    plain.log_in("admin", live_web.admin_password)
    for name in ("Files", "Upload", "Storage elements", "Sync runs", "Dashboard"):
        plain.page.get_by_role("navigation", name="Main menu").get_by_role(
            "link", name=name
        ).click()
        expect(plain.page.get_by_role("heading", level=1)).to_be_visible()
    plain.page.get_by_role("button", name="Dark").click()
    expect(plain.page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    plain.page.get_by_role("button", name="Log out").click()
    plain.page.wait_for_url("**/console/login")


def test_a_reader_is_offered_nothing_to_press_and_is_refused_and_audited_when_pressing_anyway(
    reader: Visit, reader_account: tuple[str, str], live_web: LiveSystem
) -> None:
    reader.go("")
    expect(reader.page.get_by_role("link", name="Upload")).to_have_count(0)
    reader.go("elements")
    expect(reader.page.get_by_role("link", name="Register")).to_have_count(0)
    reader.page.locator("tbody tr a").first.click()
    for word in ("Sync", "Probe", "Edit", "Remove", "Reconcile"):
        expect(reader.page.get_by_role("button", name=word)).to_have_count(0)
    assert reader.go("upload") == 403
    expect(reader.page.get_by_role("alert")).to_contain_text("Not allowed")
    events = requests.get(
        f"{live_web.api}/audit-events",
        params={"actor": reader_account[0]},
        headers={"Authorization": f"Bearer {live_web.admin_token()}"},
        timeout=30,
    ).json()["items"]
    assert [event for event in events if "refused" in event["action"]]


def test_the_api_pages_work_under_the_policy(visit: Begin) -> None:
    anybody = visit(viewport={"width": 1280, "height": 2000})
    anybody.page.goto("/api/docs")
    expect(anybody.page.get_by_role("heading", name="ArtStore")).to_be_visible()
    operation = anybody.page.locator(".opblock").first
    operation.locator("button").first.click()
    expect(operation.locator(".opblock-body")).to_be_visible()


def test_every_page_carries_a_strict_policy_and_safe_headers(live_web: LiveSystem) -> None:
    for path in ("/console/login", "/api/docs", "/console/nowhere"):
        answer = requests.get(live_web.base_url + path, timeout=30)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"

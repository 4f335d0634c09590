"""Every page, in both languages, for both roles, light and dark, wide and narrow, in a real browser.

One load of a page serves every check: its status, axe-core, its width on a phone, and in Russian that
no English sentence was left. An administrator's pages hold all that a reader's do, so axe-core looks at
those: light and wide in English, dark and narrow in Russian. What no page may ever do (script errors, other hosts,
breaches of the policy) fails when the visit closes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from artstore import catalogue
from artstore.tests import access_table
from artstore.tests.browser import Visit
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser

ARTIFACTS = Path(__file__).resolve().parents[2] / "test-artifacts" / "pages"
WIDE, NARROW = 1280, 360
LOOKS = {
    ("admin", "en"): ("light", WIDE),
    ("admin", "ru"): ("dark", NARROW),
    ("readonly", "en"): ("dark", WIDE),
    ("readonly", "ru"): ("light", NARROW),
}
STATUSES = {"nowhere": 404, "files?min_size=lots": 422}


@pytest.fixture(scope="module")
def file_id(live_web: LiveSystem) -> str:
    """A file that has everything a file page can show."""
    answer = requests.put(
        f"{live_web.api}/files/upload",
        params={
            "filename": "axe and отчёт.txt",
            "description": "Everything a page shows",
            "tags": '["one", "два"]',
            "metadata": '{"project": "north"}',
        },
        data="строка за строкой\n".encode() * 4000,
        headers={
            "Authorization": f"Bearer {live_web.service_token(('files:write',))}",
            "Content-Type": "text/plain",
        },
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["file_id"])


@pytest.fixture(scope="module")
def addresses(live_web: LiveSystem, file_id: str) -> list[str]:
    """Every page that can be asked for, with something on it, and the empty states."""
    session = live_web.session(live_web.admin_token())

    def first(path: str) -> dict[str, Any]:
        found: dict[str, Any] = session.get(f"{live_web.api}/{path}").json()["items"][0]
        return found

    # One that no other test takes away, moves or empties.
    element = first("storage-elements?q=node-rw")["id"]
    ids = {
        "<uuid:element_id>": element,
        "<uuid:run_id>": first(f"storage-elements/{element}/sync-runs")["id"],
        "<uuid:file_id>": file_id,
        "<uuid:user_id>": first("admin-users")["id"],
        "<uuid:account_id>": first("service-accounts")["id"],
    }
    # These answer with a file, a redirect, or nothing without a form.
    other = {"files/export", "audit/export", "files/<uuid:file_id>/download", "language", "login"}
    other |= {"files/bulk/delete", "files/bulk/tags"}
    pages = [
        route for route, who in access_table.PAGES.items() if "GET" in who and route not in other
    ]
    for name, value in ids.items():
        pages = [route.replace(name, value) for route in pages]
    pages[pages.index(f"elements/{element}/mode")] += "?target_mode=ro"
    pages += ["files?query=nothing+has+this+name&min_size=1", "files?min_size=lots"]
    return [*pages, "elements?q=nothing", "runs?status=abandoned", "audit?actor=nobody", "nowhere"]


def may_see(role: str, address: str, live_web: LiveSystem) -> bool:
    """Whether the table lets the role open that page."""
    path = address.partition("?")[0].split("/")
    for route, who in access_table.PAGES.items():
        parts = route.split("/")
        fits = len(parts) == len(path) and all(
            part == given or (part.startswith("<") and len(given) == 36)
            for part, given in zip(parts, path, strict=True)
        )
        if fits:
            return role in who["GET"]
    return True


def english_left(text: str) -> list[str]:
    """Sentences of ours that stand there in English though they have Russian words."""
    known = [message.id for message in catalogue.read("ru") if isinstance(message.id, str)]
    return [each for each in known if each.count(" ") > 1 and "%" not in each and each in text]


@pytest.mark.parametrize(("role", "language"), LOOKS)
def test_every_page_is_whole_in_every_look(
    role: str,
    language: str,
    visit: Callable[..., Visit],
    admin_state: dict[str, Any],
    reader_state: dict[str, Any],
    live_web: LiveSystem,
    addresses: list[str],
) -> None:
    state = admin_state if role == "admin" else reader_state
    theme, width = LOOKS[role, language]
    size = {"width": width, "height": 900}
    person = visit(storage_state=state, viewport=size, reduced_motion="reduce")
    person.use(theme=theme, language=language)
    problems = []
    for address in addresses:
        seen = may_see(role, address, live_web)
        status = person.go(address)
        if status != (STATUSES.get(address, 200) if seen else 403):
            problems.append(f"/{address}: {status}")
        if not seen:
            continue
        person.hold_still()
        found = look(person, address) if role == "admin" else []
        if not person.fits(NARROW):
            needed = person.page.evaluate("document.documentElement.scrollWidth")
            found.append(f"is {needed} px wide on a phone")
        person.page.set_viewport_size(size)
        if language == "ru":
            found += english_left(person.page.locator("body").inner_text())
        problems += [f"/{address}: {problem}" for problem in found]
    if problems:
        raise AssertionError("\n".join(problems))


def look(person: Visit, address: str) -> list[str]:
    """What axe-core finds on the page; a picture of it is kept beside the problems."""
    problems = person.accessibility_problems()
    if problems:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in address) or "dashboard"
        person.page.screenshot(path=str(ARTIFACTS / f"{name}.png"))
    return problems


@pytest.mark.parametrize(("theme", "language"), [("light", "ru"), ("dark", "en")])
def test_axe_finds_nothing_on_the_login_page_and_on_its_refusal(
    theme: str, language: str, visit: Callable[..., Visit]
) -> None:
    person = visit(viewport={"width": NARROW, "height": 900}, reduced_motion="reduce")
    person.use(theme=theme, language=language)
    person.go("login")
    assert person.accessibility_problems() == []
    person.page.locator("#id_username").fill("nobody-of-this-name")
    person.page.locator("#id_password").fill("wrong")
    person.page.locator("form.card button").click()
    person.page.get_by_role("alert").wait_for()
    assert person.accessibility_problems() == []


def test_axe_finds_nothing_in_the_dialog_and_on_the_pages_of_bulk_acts(
    admin: Visit, file_id: str
) -> None:
    admin.go(f"files/{file_id}")
    admin.page.locator("[hx-target='#dialog-body']").first.click()
    admin.page.get_by_role("dialog").wait_for()
    assert admin.accessibility_problems() == []
    for act in ("Edit tags", "Delete"):
        admin.go("files")
        admin.page.locator("[data-row]").first.check()
        admin.page.get_by_role("button", name=act, exact=True).click()
        admin.page.locator(".chosen-files").wait_for()
        assert admin.accessibility_problems() == []

"""axe-core finds nothing on any page, light and dark, wide and narrow, in both languages."""

from collections.abc import Callable

import pytest
import requests

from artstore.tests.browser import Visit
from artstore.tests.live import LiveSystem

pytestmark = pytest.mark.browser

LOOKS = [("light", "en", 1280), ("dark", "ru", 1280), ("light", "ru", 360), ("dark", "en", 360)]


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
        data=b"some bytes",
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
    """Every page, with something on it."""
    session = live_web.session(live_web.admin_token())
    element_id = session.get(f"{live_web.api}/storage-elements").json()["items"][-1]["id"]
    runs = session.get(f"{live_web.api}/storage-elements/{element_id}/sync-runs").json()["items"]
    user_id = session.get(f"{live_web.api}/admin-users").json()["items"][0]["id"]
    program_id = session.get(f"{live_web.api}/service-accounts").json()["items"][0]["id"]
    return [
        "",
        "files",
        "files?query=nothing+has+this+name&min_size=1",
        "files?min_size=lots",
        f"files/{file_id}",
        f"files/{file_id}/edit",
        f"files/{file_id}/delete",
        "upload",
        "elements",
        "elements?q=nothing",
        "elements/register",
        f"elements/{element_id}",
        f"elements/{element_id}/edit",
        f"elements/{element_id}/remove",
        f"elements/{element_id}/mode?target_mode=ro",
        f"elements/{element_id}/garbage",
        "runs",
        f"runs/{runs[0]['id']}",
        "users",
        "users/create",
        f"users/{user_id}",
        f"users/{user_id}/password",
        f"users/{user_id}/remove",
        "service-accounts",
        "service-accounts/create",
        f"service-accounts/{program_id}",
        f"service-accounts/{program_id}/rotate",
        f"service-accounts/{program_id}/remove",
        "keys",
        "keys/rotate",
        "audit",
        "audit?actor=nobody",
        "account",
        "nowhere",
    ]


@pytest.mark.parametrize(("theme", "language", "width"), LOOKS)
def test_axe_finds_nothing_on_any_page(
    theme: str, language: str, width: int, admin: Visit, addresses: list[str]
) -> None:
    admin.use(theme=theme, language=language)
    admin.page.set_viewport_size({"width": width, "height": 900})
    problems = []
    for address in addresses:
        admin.go(address)
        problems += [f"/{address}: {problem}" for problem in admin.accessibility_problems()]
    if problems:
        raise AssertionError("\n".join(problems))


@pytest.mark.parametrize(("theme", "language", "width"), LOOKS)
def test_axe_finds_nothing_on_the_login_page(
    theme: str, language: str, width: int, visit: Callable[..., Visit]
) -> None:
    person = visit(viewport={"width": width, "height": 900})
    person.use(theme=theme, language=language)
    person.go("login")
    assert person.accessibility_problems() == []
    person.page.locator("#id_username").fill("nobody-of-this-name")
    person.page.locator("#id_password").fill("wrong")
    person.page.locator("form.card button").click()
    person.page.get_by_role("alert").wait_for()
    assert person.accessibility_problems() == []


def test_axe_finds_nothing_in_the_dialog(admin: Visit, file_id: str) -> None:
    admin.go(f"files/{file_id}")
    admin.page.locator("[hx-target='#dialog-body']").first.click()
    admin.page.get_by_role("dialog").wait_for()
    assert admin.accessibility_problems() == []

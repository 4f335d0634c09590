"""Fixtures of the console's browser tests. Modules that use them touch no database of their own:
Playwright's event loop runs in the test's thread, and Django refuses queries beside one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from artstore.tests.browser import CHROMIUM, Visit, make_user, running_chromium, signed_in
from artstore.tests.live import LiveSystem


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", help="the folder test_console_screenshots.py writes to")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: install the package to run the browser tests")
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, live_web: LiveSystem) -> Iterator[Callable[..., Visit]]:
    """`visit(java_script_enabled=False)`: a fresh browser session; complaints fail the test."""
    visits: list[Visit] = []

    def begin(**context: Any) -> Visit:
        visits.append(Visit(chromium, live_web, **context))
        return visits[-1]

    yield begin
    for each in visits:
        each.close()


@pytest.fixture(scope="session")
def admin_state(live_web: LiveSystem) -> dict[str, Any]:
    """The first administrator's session. Whoever logs out or ends sessions uses one of their own."""
    return signed_in(live_web, "admin", live_web.admin_password)


@pytest.fixture
def admin(visit: Callable[..., Visit], admin_state: dict[str, Any]) -> Visit:
    """Signed in as the first administrator."""
    return visit(storage_state=admin_state)


@pytest.fixture(scope="session")
def reader_account(live_web: LiveSystem) -> tuple[str, str]:
    return make_user(live_web, "readonly")


@pytest.fixture(scope="session")
def reader_state(live_web: LiveSystem, reader_account: tuple[str, str]) -> dict[str, Any]:
    return signed_in(live_web, *reader_account)


@pytest.fixture
def reader(visit: Callable[..., Visit], reader_state: dict[str, Any]) -> Visit:
    """Signed in with the read-only role."""
    return visit(storage_state=reader_state)

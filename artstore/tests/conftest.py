"""Fixtures of the console's browser tests. Modules that use them touch no database of their own:
Playwright's event loop runs in the test's thread, and Django refuses queries beside one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from artstore.tests.browser import CHROMIUM, Visit, make_user, running_chromium
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


@pytest.fixture
def admin(visit: Callable[..., Visit], live_web: LiveSystem) -> Visit:
    """Signed in as the first administrator."""
    signed_in = visit()
    signed_in.log_in("admin", live_web.admin_password)
    return signed_in


@pytest.fixture(scope="module")
def reader_account(live_web: LiveSystem) -> tuple[str, str]:
    return make_user(live_web, "readonly")


@pytest.fixture
def reader(visit: Callable[..., Visit], reader_account: tuple[str, str]) -> Visit:
    """Signed in with the read-only role."""
    signed_in = visit()
    signed_in.log_in(*reader_account)
    return signed_in

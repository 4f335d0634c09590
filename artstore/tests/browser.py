"""A real Chromium looking at the console of a live system.

Every visit watches for what must never happen on any page: a script error, a refusal by the
Content-Security-Policy, a request to another host. `Visit.close` fails on the first of them.
"""

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from artstore.tests.live import LiveSystem

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for found in map(shutil.which, NAMES) if found), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE_SOURCE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
ZONE = "Europe/Berlin"
# Patience, not a measurement: the machine that runs the tests may be busy.
PATIENCE_MILLISECONDS = 20_000
FITTING_MILLISECONDS = 5_000
UNDER_WAY = ".htmx-request, .htmx-swapping, .htmx-settling, .htmx-added"
expect.set_options(timeout=PATIENCE_MILLISECONDS)


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One browser session at the console."""

    def __init__(self, browser: Browser, system: LiveSystem, **context: Any) -> None:
        settings = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"}
        self.system = system
        self.context = browser.new_context(
            base_url=system.base_url, timezone_id=ZONE, accept_downloads=True, **settings | context
        )
        self.context.set_default_timeout(PATIENCE_MILLISECONDS)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._note_request)

    def _note_console(self, message: ConsoleMessage) -> None:
        # Chromium logs every answer of 400 and more; those are what some tests ask for.
        if message.type in {"error", "warning"} and "the server responded with" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _note_request(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if host and host != urlsplit(self.system.base_url).netloc:
            self.complaints.append(f"request to another host: {request.url}")

    def close(self) -> None:
        self.context.close()
        if self.complaints:
            raise AssertionError("\n".join(self.complaints))

    # --- what a person does -----------------------------------------------------------------------

    def go(self, path: str) -> int:
        """Open a page; its status."""
        response = self.page.goto(f"/console/{path}")
        assert response is not None
        return response.status

    def log_in(self, username: str, password: str) -> None:
        self.go("login")
        self.page.locator("#id_username").fill(username)
        self.page.locator("#id_password").fill(password)
        self.page.locator("form.card button").click()
        self.page.wait_for_url("**/console/")

    def use(self, *, theme: str = "light", language: str = "en") -> None:
        """What the switches would remember, without pressing them."""
        chosen = {"artstore_theme": theme, "django_language": language}
        self.context.add_cookies(
            [
                {"name": name, "value": value, "url": self.system.base_url}
                for name, value in chosen.items()
            ]
        )

    def settle(self) -> None:
        """Wait until every part that the page fetches by itself is there."""
        expect(self.page.locator("[hx-trigger=load]")).to_have_count(0)

    def hold_still(self) -> None:
        """From here on no part of the page is fetched anew, so that nothing changes under a look at it."""
        self.settle()
        self.page.evaluate(
            "document.addEventListener('htmx:beforeRequest', (event) => event.preventDefault())"
        )
        # What was on its way by then is in its place.
        expect(self.page.locator(UNDER_WAY)).to_have_count(0)

    def fits(self, width: int) -> bool:
        """Whether the page needs no more room than that; a drawing takes a moment to follow the window."""
        height = (self.page.viewport_size or {"height": 900})["height"]
        self.page.set_viewport_size({"width": width, "height": height})
        script = "width => document.documentElement.scrollWidth <= width"
        try:
            self.page.wait_for_function(script, arg=width, timeout=FITTING_MILLISECONDS)
        except PlaywrightTimeout:
            return False
        return True

    def accessibility_problems(self) -> list[str]:
        """What axe-core finds on the page as it stands."""
        # Through the debugging protocol, which the page's own policy does not govern.
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SOURCE)
        found = self.page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        return [
            f"{violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in found
            for node in violation["nodes"]
        ]


def make_user(system: LiveSystem, role: str, name: str = "") -> tuple[str, str]:
    """A new person's name and password."""
    name, password = name or f"{role}-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    answer = requests.post(
        f"{system.api}/admin-users",
        json={"username": name, "password": password, "role": role},
        headers={"Authorization": f"Bearer {system.admin_token()}"},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return name, password


def signed_in(system: LiveSystem, username: str, password: str) -> dict[str, Any]:
    """What a browser keeps after signing in, for any number of visits: the login form is slow."""
    with requests.Session() as session:
        session.trust_env = False
        address = f"{system.base_url}/console/login"
        page = session.get(address, timeout=30).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "username": username, "password": password}
        answer = session.post(address, form, headers={"Referer": address}, timeout=30)
        assert answer.url.endswith("/console/"), answer.status_code
        kept = {"domain": "127.0.0.1", "path": "/", "expires": -1, "secure": False}
        return {
            "cookies": [
                {"name": name, "value": value, "httpOnly": True, "sameSite": "Lax", **kept}
                for name, value in session.cookies.get_dict().items()
            ],
            "origins": [],
        }

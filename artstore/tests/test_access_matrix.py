"""Every door against every kind of caller, from the table in `access_table.py`.

A caller the table admits may get any answer but 401 and 403; any other gets 401 without a good
token and 403 with one. A new door without a row fails here, and so does a row without a door.
"""

import uuid
from collections.abc import Callable, Iterator

import pytest
from django.core.management import get_commands, load_command_class
from django.test import Client
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from apps.admin import keys, service_accounts, sessions, tokens, users
from apps.admin.keyring import keyring
from apps.admin.models import SCOPES, AccountStatus, User
from artstore.embedded.plan import ROOT
from artstore.tests.access_table import API, COMMANDS, EVERYBODY, OPEN, PAGES

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PASSWORD = "a phrase of the matrix"
# Callers whose token is not good anywhere on this side: 401 wherever a token is asked for.
REFUSED_CALLERS = (
    "nobody",
    "suspended account",
    "inactive user",
    "expired token",
    "wrong audience",
    "element token",
    "refresh token",
    "logged out",
)
SCOPED_CALLERS = (*SCOPES, "every scope")
CALLERS = (*REFUSED_CALLERS, *SCOPED_CALLERS, "readonly", "admin")


def routes() -> Iterator[tuple[str, Callable]]:
    def walk(patterns: list, prefix: str) -> Iterator[tuple[str, Callable]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield route, pattern.callback
            else:
                yield from walk(pattern.url_patterns, route)

    seen = set()
    for route, callback in walk(get_resolver().url_patterns, ""):
        if route not in seen:
            seen.add(route)
            yield route, callback


def served_api() -> set[tuple[str, str]]:
    found = set()
    for route, callback in routes():
        if route.startswith("api/v1/"):
            view = callback.view_class
            served = [method for method in METHODS if hasattr(view, method.lower())]
            found |= {(method, route.removeprefix("api/v1/")) for method in served}
    return found


def address(route: str) -> str:
    """A concrete address, for things that do not exist."""
    while "<" in route:
        start, end = route.index("<"), route.index(">")
        route = route[:start] + str(uuid.uuid4()) + route[end + 1 :]
    return "/" + route


@pytest.fixture(autouse=True)
def some_keys(db: None) -> None:
    keyring.forget()
    keys.ensure_signing_keys(timezone.now())


# --- the table is complete ------------------------------------------------------------------------


def test_every_api_call_has_a_row_and_every_row_a_call() -> None:
    served = served_api()
    assert sorted(served - set(API)) == [], "without a row in access_table.API"
    assert sorted(set(API) - served) == [], "a row in access_table.API for nothing"


def test_every_page_has_a_row_and_every_row_a_page() -> None:
    prefix = "console/"
    served = {route.removeprefix(prefix) for route, _ in routes() if route.startswith(prefix)}
    assert sorted(served - set(PAGES)) == [], "without a row in access_table.PAGES"
    assert sorted(set(PAGES) - served) == [], "a row in access_table.PAGES for nothing"


def test_every_other_address_is_listed_with_its_reason() -> None:
    other = {route for route, _ in routes() if not route.startswith(("api/v1/", "console/"))}
    assert sorted(other ^ set(OPEN)) == []


def test_every_command_has_a_row() -> None:
    ours = {name for name, app in get_commands().items() if app.startswith(("apps.", "artstore"))}
    assert sorted(ours ^ set(COMMANDS)) == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_takes_a_secret_in_its_arguments(command: str) -> None:
    """`ps` shows argv to everybody on the machine."""
    made = load_command_class(get_commands()[command], command)
    for action in made.create_parser("manage.py", command)._actions:
        words = {action.dest, *action.option_strings}
        takes_a_value = action.nargs != 0
        hints = [word for word in words if "password" in word or "secret" in word]
        harmless = action.dest in ("secret_days",)
        assert not (hints and takes_a_value and not harmless), hints


def test_every_command_is_run_by_a_test() -> None:
    tests = [*ROOT.glob("apps/*/tests/test_*.py"), *ROOT.glob("artstore/tests/test_*.py")]
    texts = [path.read_text() for path in tests]
    untried = [name for name in COMMANDS if not any(f'"{name}"' in text for text in texts)]
    assert untried == []


# --- the doors keep to it ---------------------------------------------------------------------------


def make_caller(name: str) -> Client:
    """A client of that kind, with a real token of a real account."""
    now = timezone.now()
    if name == "nobody":
        return Client()
    if name in SCOPED_CALLERS:
        return bearer(service_token(list(SCOPES) if name == "every scope" else [name]))
    if name in ("admin", "readonly"):
        return bearer(login(name).access_token)
    if name == "suspended account":
        suspended = account(list(SCOPES))
        token = token_of(suspended)
        service_accounts.edit(suspended.id, {"status": AccountStatus.SUSPENDED}, None, now)
        return bearer(token)
    if name == "logged out":
        pair = login("admin")
        sessions.end_all(User.objects.get(), "logout", now)
        return bearer(pair.access_token)
    token = {
        "inactive user": lambda: login("admin", is_active=False).access_token,
        "expired token": stale_token,
        "wrong audience": foreign_token,
        "element token": lambda: tokens.element_token("rack-1", "ada", "test", SCOPES, now),
        "refresh token": lambda: login("admin").refresh_token,
    }[name]()
    return bearer(token)


def bearer(token: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {token}"})


def account(scopes: list[str]) -> "service_accounts.ServiceAccount":
    draft = service_accounts.NewAccount(f"matrix {uuid.uuid4().hex[:8]}", scopes)
    return service_accounts.create(draft, None, timezone.now()).account


def token_of(made: "service_accounts.ServiceAccount") -> str:
    return tokens.service_token(made, made.scopes, None, timezone.now()).token


def service_token(scopes: list[str]) -> str:
    return token_of(account(scopes))


def person(role: str) -> User:
    draft = users.NewUser(f"matrix-{uuid.uuid4().hex[:8]}", PASSWORD, role)
    return users.create(draft, None, timezone.now())


def login(role: str, *, is_active: bool = True) -> sessions.TokenPair:
    made = person(role)
    pair = sessions.log_in(sessions.SignIn(made.username, PASSWORD, "127.0.0.1"), timezone.now())
    User.objects.filter(pk=made.pk).update(is_active=is_active)
    return pair


def stale_token() -> str:
    long_ago = timezone.now() - timezone.timedelta(hours=2)
    made = account(list(SCOPES))
    return tokens.service_token(made, made.scopes, None, long_ago).token


def foreign_token() -> str:
    """Signed by us, right in everything but whom it is for."""
    now = int(timezone.now().timestamp())
    claims = {"sub": account(list(SCOPES)).client_id, "scopes": list(SCOPES), "jti": "1"}
    backend = tokens.KeyringBackend(tokens.ACCESS_TYPE, "somebody-else")
    return backend.encode(claims | {"iat": now, "nbf": now, "exp": now + 600})


def expected(caller: str, admitted: frozenset[str]) -> int | None:
    """401, 403, or `None` for anything else."""
    if admitted == EVERYBODY or caller in admitted:
        return None
    return 401 if caller in REFUSED_CALLERS else 403


@pytest.mark.parametrize("name", CALLERS)
def test_every_api_door_treats_the_caller_as_the_table_says(name: str) -> None:
    client, wrong = make_caller(name), []
    for (method, route), admitted in sorted(API.items()):
        path = address("api/v1/" + route)
        status = client.generic(method, path, b"{}", "application/json").status_code
        wanted = expected(name, admitted)
        fits = status not in (401, 403, 500) if wanted is None else status == wanted
        # Login, refresh and token say 401 themselves to an empty request from anybody.
        if not fits and not (admitted == EVERYBODY and status in (400, 401)):
            wrong.append(f"{method} {route}: {status}, expected {wanted or 'to be admitted'}")
    assert wrong == []


@pytest.mark.parametrize("route", sorted(OPEN))
def test_what_is_open_needs_no_token_and_minds_none(route: str) -> None:
    for client in (Client(), bearer("not.a.token")):
        assert client.get("/" + route).status_code in (200, 302, 503)


def signed_in(role: str, *, is_active: bool = True) -> Client:
    """A browser with a session of that role."""
    made = person(role)
    client = Client()
    client.force_login(made, backend="apps.admin.authentication.SessionBackend")
    User.objects.filter(pk=made.pk).update(is_active=is_active)
    return client


@pytest.mark.parametrize("route", sorted(PAGES))
def test_the_page_admits_whom_the_table_says(route: str) -> None:
    browsers = {
        "nobody": Client(),
        "inactive user": signed_in("admin", is_active=False),
        "every scope": bearer(service_token(list(SCOPES))),
        "readonly": signed_in("readonly"),
        "admin": signed_in("admin"),
    }
    wrong = []
    for method in ("GET", "POST"):
        for name, browser in browsers.items():
            response = browser.generic(method, address("console/" + route))
            outcome = page_outcome(response)
            wanted = page_expected(name, PAGES[route].get(method))
            if outcome not in wanted:
                wrong.append(f"{method} as {name}: {outcome}, expected {' or '.join(wanted)}")
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in CALLERS if name != "nobody"])
def test_no_token_of_any_kind_opens_a_page(name: str) -> None:
    """Pages know sessions alone: a token is as good as none, an administrator's too."""
    client, wrong = make_caller(name), []
    for route, methods in sorted(PAGES.items()):
        for method in ("GET", "POST"):
            outcome = page_outcome(client.generic(method, address("console/" + route)))
            if outcome not in page_expected("nobody", methods.get(method)):
                wrong.append(f"{method} {route}: {outcome}")
    assert wrong == []


@pytest.mark.parametrize("role", ["readonly", "admin"])
def test_no_session_opens_an_api_door(role: str) -> None:
    """The API knows tokens alone, so no other site's form can use somebody's cookie there."""
    browser, wrong = signed_in(role), []
    for (method, route), admitted in sorted(API.items()):
        if admitted != EVERYBODY:
            path = address("api/v1/" + route)
            status = browser.generic(method, path, b"{}", "application/json").status_code
            if status != 401:
                wrong.append(f"{method} {route}: {status}")
    assert wrong == []


def page_outcome(response: object) -> str:
    if response.status_code in (302, 303) and "/login" in response.headers["Location"]:
        return "to login"
    if response.status_code in (403, 405):
        return {403: "refused", 405: "no such method"}[response.status_code]
    return "admitted" if response.status_code < 500 else f"broken ({response.status_code})"


def page_expected(name: str, admitted: frozenset[str] | None) -> set[str]:
    if admitted == EVERYBODY:
        # Logging out ends at the login page, for everybody.
        return {"admitted", "to login"}
    if name not in ("readonly", "admin"):
        return {"to login"} if admitted is not None else {"to login", "no such method"}
    if admitted is None:
        return {"no such method", "refused"}
    return {"admitted"} if name in admitted else {"refused"}

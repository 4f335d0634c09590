"""Guard: every failure under /api is the one envelope, whatever was asked and however badly."""

import sys
import uuid
from types import ModuleType

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from apps.admin.models import User
from artstore.pages import bad_request, page_not_found
from artstore.urls import compose

pytestmark = pytest.mark.django_db

SAMPLE = {
    "file_id": uuid.UUID(int=1),
    "id": uuid.UUID(int=1),
    "element_id": uuid.UUID(int=1),
    "run_id": uuid.UUID(int=1),
    "user_id": uuid.UUID(int=1),
    "account_id": uuid.UUID(int=1),
}


def api_paths() -> list[str]:
    """A concrete address for every API pattern."""
    found = []

    def walk(patterns: list, prefix: str) -> None:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                found.append(route)
            else:
                walk(pattern.url_patterns, route)

    walk(get_resolver().url_patterns, "/")
    filled = [_fill(route) for route in found if route.startswith("/api/v1/")]
    assert len(filled) > 5
    return sorted(set(filled))


def _fill(route: str) -> str:
    while "<" in route:
        start, end = route.index("<"), route.index(">")
        name = route[start + 1 : end].rpartition(":")[2]
        route = route[:start] + str(SAMPLE.get(name, uuid.UUID(int=1))) + route[end + 1 :]
    return route


def assert_envelope(response: object, *, statuses: set[int]) -> None:
    assert response.status_code in statuses, response.content
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["X-Request-ID"]
    body = response.json()
    if "error" in body and isinstance(body["error"], dict):
        assert set(body) <= {"error", "request_id"}
        assert body["error"]["code"].isupper()
        assert body["error"]["message"]
        assert "<" not in body["error"]["message"]
        assert ("details" in body["error"]) == (body["error"]["code"] == "VALIDATION_ERROR")
    else:
        # The token endpoint answers in the words of RFC 6749.
        assert "error" in body, body


@pytest.mark.parametrize("path", api_paths())
def test_an_odd_method_is_answered_with_the_envelope(client: Client, path: str) -> None:
    response = client.generic("BREW", path)
    assert_envelope(response, statuses={401, 403, 405})


@pytest.mark.parametrize("path", api_paths())
def test_a_garbled_token_is_401_with_the_envelope(client: Client, path: str) -> None:
    for method in ("get", "post", "patch", "delete"):
        response = getattr(client, method)(path, headers={"Authorization": "Bearer x.y.z"})
        if response.status_code == 200 and path.endswith("jwks"):
            continue
        assert_envelope(response, statuses={400, 401, 403, 405, 415})


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1/", "/api/v1/nothing", "/api/v1/files/not-a-uuid", "/api/v2"]
)
def test_an_unknown_address_is_404_with_the_envelope(client: Client, path: str) -> None:
    assert_envelope(client.get(path), statuses={404})


def test_a_browser_without_a_token_is_told_so_in_json(client: Client) -> None:
    response = client.get("/api/v1/files", headers={"Accept": "text/html,application/xhtml+xml"})
    assert_envelope(response, statuses={401})


def test_a_foreign_host_is_refused_with_the_envelope(client: Client) -> None:
    response = client.get("/api/v1/files", headers={"Host": "evil.example"})
    assert_envelope(response, statuses={400})


@pytest.mark.parametrize("path", ["/", "/x", "/robots.txt", "/console/", "/api/v1/nothing"])
def test_a_process_without_the_console_answers_with_the_envelope_everywhere(
    client: Client, settings: object, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    bare = ModuleType("bare_urls")
    bare.urlpatterns = compose(("query",))
    bare.handler404, bare.handler400 = page_not_found, bad_request
    monkeypatch.setitem(sys.modules, bare.__name__, bare)
    settings.ROOT_URLCONF = bare.__name__
    settings.ARTSTORE_MODULES = ("query",)
    assert_envelope(client.get(path), statuses={404})
    assert_envelope(client.get(path, headers={"Host": "evil.example"}), statuses={400})


def test_a_broken_body_is_refused_with_the_envelope(client: Client) -> None:
    for body in (b"{", b"\xff\xfe", b"[1,2", b"null", b"[]", b'"x"', b"\x00", b"[" * 100_000):
        response = client.generic(
            "POST", "/api/v1/admin-auth/login", body, content_type="application/json"
        )
        assert_envelope(response, statuses={400})


def test_a_crash_is_500_with_the_envelope_and_no_trace(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False

    def crash(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(User.objects, "filter", crash)
    monkeypatch.setattr(User.objects, "get", crash)
    response = client.post(
        "/api/v1/admin-auth/login",
        {"username": "someone", "password": "wrong password"},
        content_type="application/json",
    )
    assert_envelope(response, statuses={500})
    assert b"secret detail" not in response.content


def test_a_sane_request_id_is_kept_and_another_replaced(client: Client) -> None:
    kept = client.get("/health/live", headers={"X-Request-ID": "abc-123"})
    assert kept.headers["X-Request-ID"] == "abc-123"
    replaced = client.get("/health/live", headers={"X-Request-ID": "a b\x7f"})
    assert uuid.UUID(replaced.headers["X-Request-ID"])

"""Who has no token gets health, metrics, keys, schema, docs and the ways to sign in; nothing else."""

import pytest
import requests

from artstore.tests.live import LiveSystem


@pytest.fixture(scope="module")
def token(live_web: LiveSystem) -> str:
    return live_web.service_token(("files:read", "files:write"))


METHODS = {"get", "post", "put", "patch", "delete", "head"}
OPEN_PATHS = {
    ("/api/v1/auth/token", "post"),
    ("/api/v1/auth/jwks", "get"),
    ("/.well-known/jwks.json", "get"),
    ("/api/v1/admin-auth/login", "post"),
    ("/api/v1/admin-auth/refresh", "post"),
}
SOME_ID = "00000000-0000-4000-8000-000000000000"


def guarded_calls(live_web: LiveSystem) -> list[tuple[str, str]]:
    """Every method and address of the schema that should want a token."""
    schema = requests.get(
        f"{live_web.base_url}/api/schema",
        headers={"Accept": "application/vnd.oai.openapi+json"},
        timeout=60,
    ).json()
    calls = [
        (method, path)
        for path, methods in schema["paths"].items()
        for method in methods
        if method in METHODS and (path, method) not in OPEN_PATHS
    ]
    assert len(calls) > 20
    return calls


def expect_unauthorized(live_web: LiveSystem, token: str | None) -> None:
    session = live_web.session(token)
    for method, path in guarded_calls(live_web):
        concrete = "/".join(SOME_ID if part.startswith("{") else part for part in path.split("/"))
        answer = session.request(method, live_web.base_url + concrete, json={}, timeout=30)
        assert answer.status_code == 401, f"{method} {path} answered {answer.status_code}"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["X-Request-ID"]
        if method != "head":
            assert answer.json()["error"]["code"] == "UNAUTHORIZED"


def test_nobody_without_a_token_gets_anything_from_the_api(live_web: LiveSystem) -> None:
    expect_unauthorized(live_web, None)


def test_a_wrong_token_is_nobody(live_web: LiveSystem, token: str) -> None:
    header, claims, signature = token.split(".")
    forged = signature[:-5] + ("AAAAA" if signature[-5:] != "AAAAA" else "BBBBB")
    expect_unauthorized(live_web, f"{header}.{claims}.{forged}")


def test_a_refresh_token_is_no_access_token(live_web: LiveSystem) -> None:
    expect_unauthorized(live_web, live_web.log_in()["refresh_token"])


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/api/docs"])
def test_what_is_open_answers_nobody(live_web: LiveSystem, path: str) -> None:
    assert requests.get(live_web.base_url + path, timeout=30).status_code == 200


def test_the_console_sends_nobody_to_its_login(live_web: LiveSystem) -> None:
    answer = requests.get(f"{live_web.base_url}/console/", timeout=30)
    assert "/login" in answer.url
    assert answer.history


def test_a_node_tells_nobody_more_than_its_short_info(live_web: LiveSystem) -> None:
    node = live_web.element("node-edit")["url"]
    calls = [
        ("GET", "/api/v1/files"),
        ("GET", "/api/v1/changes"),
        ("GET", f"/api/v1/files/{SOME_ID}"),
        ("PUT", f"/api/v1/files/{SOME_ID}"),
        ("PATCH", f"/api/v1/files/{SOME_ID}"),
        ("DELETE", f"/api/v1/files/{SOME_ID}"),
        ("POST", f"/api/v1/files/{SOME_ID}/abandon"),
        ("GET", f"/api/v1/files/{SOME_ID}/download"),
        ("POST", "/api/v1/files/upload"),
        ("POST", "/api/v1/mode/transition"),
        ("POST", "/api/v1/maintenance/reconcile"),
        ("POST", "/api/v1/maintenance/collect-garbage"),
    ]
    for method, path in calls:
        answer = requests.request(method, node + path, verify=live_web.ca_file, timeout=30)
        assert answer.status_code == 401, f"{method} {path}"
        assert answer.json()["error"]["code"] == "UNAUTHORIZED"
    short = requests.get(f"{node}/api/v1/info", verify=live_web.ca_file, timeout=30).json()
    assert set(short) == {
        *("storage_id", "instance_id", "service", "version", "contract", "mode", "status")
    }

"""Nothing but an RS256 element token for this very element, valid now, with the scope of the call, is let in."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from storage_node.tests.conftest import MakeNode, error_of
from storage_node.tests.node_process import Issuer, JwksServer, NodeProcess, NodeSession

FILE = "/api/v1/files/00000000-0000-4000-8000-000000000001"
GUARDED = [
    ("PUT", FILE, "files:write"),
    ("GET", FILE, "files:read"),
    ("PATCH", FILE, "files:write"),
    ("DELETE", FILE, "files:write"),
    ("POST", f"{FILE}/abandon", "files:write"),
    ("GET", f"{FILE}/download", "files:read"),
    ("HEAD", f"{FILE}/download", "files:read"),
    ("POST", "/api/v1/files/upload", "files:write"),
    ("GET", "/api/v1/files", "files:read"),
    ("GET", "/api/v1/changes", "files:read"),
    ("POST", "/api/v1/mode/transition", "storage:write"),
    ("POST", "/api/v1/maintenance/reconcile", "storage:write"),
    ("GET", "/api/v1/maintenance/reconcile", "storage:read"),
    ("POST", "/api/v1/maintenance/collect-garbage", "storage:write"),
]
SCOPES = ("files:read", "files:write", "storage:read", "storage:write", "admin:read", "admin:write")


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_token(node: NodeProcess, token: str | None) -> tuple[int, str]:
    answer = NodeSession(node, token).get("/api/v1/files")
    if answer.status_code == 200:
        return 200, ""
    assert answer.status_code != 401 or answer.headers["WWW-Authenticate"].startswith("Bearer")
    # What may not read may not write either, and leaves nothing: not a file, not a part.
    files = sorted((node.data_dir / "files").rglob("*"))
    assert error_of(NodeSession(node, token).put_file(b"x")) == error_of(answer)
    assert sorted((node.data_dir / "files").rglob("*")) == files
    assert list((node.data_dir / "incoming").iterdir()) == []
    return error_of(answer)


REFUSED = (401, "UNAUTHORIZED")


@pytest.mark.parametrize(("method", "path", "_scope"), GUARDED)
def test_nobody_gets_in_without_a_token(
    method: str, path: str, _scope: str, node: NodeProcess
) -> None:
    answer = NodeSession(node, None).request(method, path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
def test_every_scope_but_the_one_needed_is_forbidden(
    method: str, path: str, scope: str, node: NodeProcess
) -> None:
    token = node.token(*[other for other in SCOPES if other != scope])
    answer = NodeSession(node, token).request(method, path)
    assert answer.status_code == 403


def test_a_good_token_is_let_in(node: NodeProcess) -> None:
    assert with_token(node, node.token()) == (200, "")


def test_open_addresses_need_no_token(node: NodeProcess) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/api/v1/info"):
        assert NodeSession(node, None).get(path).status_code == 200, path


def test_info_shows_room_and_counts_only_to_storage_read(node: NodeProcess) -> None:
    short = {"storage_id", "instance_id", "service", "version", "contract", "mode", "status"}
    assert NodeSession(node, None).get("/api/v1/info").json().keys() == short
    assert node.session("files:read").get("/api/v1/info").json().keys() == short
    assert node.session("storage:read").get("/api/v1/info").json().keys() > short
    assert error_of(NodeSession(node, "not.a.token").get("/api/v1/info")) == REFUSED


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "urn:artstore:element:another"},
        {"aud": "artstore-api"},
        {"aud": ["urn:artstore:element:se-example", "urn:artstore:element:another"]},
        {"aud": None},
        {"iss": "someone-else"},
        {"iss": None},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": int(time.time()) + 600},
        {"nbf": None},
        {"iat": int(time.time()) + 600},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "line\nbreak"},
        {"sub": "x" * 256},
        {"scopes": "files:read"},
        {"scopes": None},
        {"scopes": [1]},
    ],
    ids="-".join,
)
def test_a_token_with_a_wrong_claim_is_refused(
    changed: dict[str, Any], node: NodeProcess, issuer: Issuer
) -> None:
    claims = issuer.claims("se-example") | changed
    token = issuer.sign({name: value for name, value in claims.items() if value is not None})
    assert with_token(node, token) == REFUSED


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "refresh+jwt", "", None])
def test_a_token_of_another_type_is_refused(
    typ: str | None, node: NodeProcess, issuer: Issuer
) -> None:
    assert with_token(node, issuer.sign(issuer.claims("se-example"), typ=typ)) == REFUSED


def test_an_unsigned_token_is_refused(node: NodeProcess, issuer: Issuer) -> None:
    for alg in ("none", "None", "NONE"):
        head = b64(json.dumps({"alg": alg, "typ": "element+jwt", "kid": issuer.active}).encode())
        assert (
            with_token(node, f"{head}.{b64(json.dumps(issuer.claims('se-example')).encode())}.")
            == REFUSED
        )


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    node: NodeProcess, issuer: Issuer
) -> None:
    public = issuer.keys[issuer.active].public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = b64(json.dumps({"alg": "HS256", "typ": "element+jwt", "kid": issuer.active}).encode())
    signed = f"{head}.{b64(json.dumps(issuer.claims('se-example')).encode())}"
    token = f"{signed}.{b64(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"
    assert with_token(node, token) == REFUSED


def test_a_token_of_another_key_under_a_known_kid_is_refused(
    node: NodeProcess, issuer: Issuer
) -> None:
    stranger = Issuer.make()
    headers = {"kid": issuer.active, "typ": "element+jwt"}
    token = jwt.encode(
        issuer.claims("se-example"), stranger.keys[stranger.active], "RS256", headers
    )
    assert with_token(node, token) == REFUSED


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256"])
def test_another_algorithm_of_the_same_key_is_refused(
    alg: str, node: NodeProcess, issuer: Issuer
) -> None:
    headers = {"kid": issuer.active, "typ": "element+jwt"}
    assert (
        with_token(
            node, jwt.encode(issuer.claims("se-example"), issuer.keys[issuer.active], alg, headers)
        )
        == REFUSED
    )


@pytest.mark.parametrize(
    "extra", [{"crit": ["exp"]}, {"kid": None}, {"kid": 5}, {"kid": ""}], ids=str
)
def test_a_header_that_demands_or_names_what_is_unknown_is_refused(
    extra: dict[str, Any], node: NodeProcess, issuer: Issuer
) -> None:
    headers = {"kid": issuer.active, "typ": "element+jwt", "alg": "RS256"} | extra
    signing = f"{b64(json.dumps(headers).encode())}.{b64(json.dumps(issuer.claims('se-example')).encode())}"
    signature = jwt.get_algorithm_by_name("RS256").sign(
        signing.encode(), issuer.keys[issuer.active]
    )
    assert with_token(node, f"{signing}.{b64(signature)}") == REFUSED


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Token x",
        "Bearer a b",
        "Bearer " + "x" * 9000,
        "Bearer ééé",
    ],
)
def test_a_header_that_is_no_bearer_token_is_refused(header: str, node: NodeProcess) -> None:
    answer = NodeSession(node, None).get(
        "/api/v1/files", headers={"Authorization": header.encode()}
    )
    assert error_of(answer) == REFUSED


def test_a_token_in_the_address_counts_for_nothing(node: NodeProcess) -> None:
    answer = NodeSession(node, None).get("/api/v1/files", params={"access_token": node.token()})
    assert error_of(answer) == REFUSED


def test_a_token_stops_working_when_it_expires_though_it_was_seen_before(
    make_node: MakeNode,
) -> None:
    node = make_node()
    now = int(time.time())
    # 30 s of leeway are allowed: two of them are left.
    token = node.token(exp=now - 28, iat=now - 100, nbf=now - 100)
    session = NodeSession(node, token)
    assert session.get("/api/v1/files").status_code == 200
    while (answer := session.get("/api/v1/files")).status_code == 200:
        assert time.time() < now + 10, "the token outlived its expiry"
    assert error_of(answer) == REFUSED


def test_a_fresh_key_works_at_once(make_node: MakeNode) -> None:
    issuer = Issuer.make()
    with_keys = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=with_keys.url)
    node.issuer = issuer
    assert with_token(node, node.token()) == (200, "")
    issuer.rotate()
    with_keys.show(issuer.jwks())
    assert with_token(node, node.token()) == (200, "")
    with_keys.close()


def test_a_key_dropped_from_the_set_stops_at_the_next_fetch(make_node: MakeNode) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    old = node.token()
    assert with_token(node, old) == (200, "")
    fresh = issuer.rotate()
    jwks.show(issuer.jwks([fresh]))
    assert with_token(node, node.token()) == (200, "")
    assert with_token(node, old) == REFUSED
    jwks.close()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{}", b'{"keys": []}', b"<html>", b'{"keys": [{"kty": "oct", "k": "AA", "kid": "x"}]}'],
)
def test_an_empty_or_garbled_key_set_takes_no_key_away(garbage: bytes, make_node: MakeNode) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    good = node.token()
    assert with_token(node, good) == (200, "")
    jwks.answer = garbage
    before = jwks.fetches
    stranger = Issuer.make()
    assert with_token(node, stranger.token("se-example")) == REFUSED
    assert jwks.fetches == before + 1
    assert with_token(node, good) == (200, "")
    jwks.close()


def test_unknown_keys_do_not_become_a_flood_of_fetches(make_node: MakeNode) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    assert with_token(node, node.token()) == (200, "")
    before = jwks.fetches
    stranger = Issuer.make()
    claims = stranger.claims("se-example")
    for number in range(60):
        stranger.keys[f"made-up-{number}"] = stranger.keys[stranger.active]
        assert with_token(node, stranger.sign(claims, kid=f"made-up-{number}")) == REFUSED
    assert jwks.fetches - before <= 3
    jwks.close()


def test_tokens_work_while_the_admin_module_is_away_and_across_a_restart(
    make_node: MakeNode,
) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    assert with_token(node, node.token()) == (200, "")
    jwks.close()
    assert with_token(node, node.token()) == (200, "")
    node.kill()
    node.start()
    assert with_token(node, node.token()) == (200, "")
    assert with_token(node, Issuer.make().token("se-example")) == REFUSED
    assert node.session().put_file(b"written offline").status_code == 201


def test_keys_older_than_the_limit_are_not_used_and_readiness_says_so(make_node: MakeNode) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    assert with_token(node, node.token()) == (200, "")
    jwks.close()
    node.stop()
    node.environment["SE_JWKS_MAX_AGE"] = "1ms"
    node.wait_for_ready = False
    node.start()
    assert with_token(node, node.token()) == REFUSED
    ready = NodeSession(node, None).get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["keys"]["status"] == "fail"


def test_a_node_that_never_got_keys_lets_nobody_in(make_node: MakeNode) -> None:
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    jwks.close()
    node = make_node(start=False, SE_JWKS_URL=jwks.url)
    node.issuer, node.wait_for_ready = issuer, False
    node.start()
    assert with_token(node, node.token()) == REFUSED
    assert NodeSession(node, None).get("/health/ready").json()["checks"]["keys"]["status"] == "fail"

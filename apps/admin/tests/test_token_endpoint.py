"""The OAuth 2.0 token endpoint, as RFC 6749 has it."""

import base64
import datetime as dt
from typing import Any

import jwt
import pytest
from django.test import Client
from django.utils import timezone

from apps.admin import service_accounts
from apps.admin.keyring import keyring
from apps.admin.models import AccountStatus, AuditEvent, ServiceAccount
from apps.admin.service_accounts import IssuedSecret
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
PATH = "/api/v1/auth/token"
ALL_SCOPES = "files:read files:write storage:read storage:write admin:read admin:write"


def form(account: IssuedSecret, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": account.account.client_id,
        "client_secret": account.client_secret,
    } | more


def ask(body: dict[str, Any] | str, basic: str = "") -> Any:
    headers = {"Authorization": "Basic " + base64.b64encode(basic.encode()).decode()}
    if isinstance(body, dict):
        body = "&".join(f"{name}={value}" for name, value in body.items())
    return Client().generic(
        "POST", PATH, body, "application/x-www-form-urlencoded", headers=headers if basic else {}
    )


def assert_refused(answer: Any, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_form_with_the_client_in_its_body_gets_a_token() -> None:
    answer = ask(form(make.account()))
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
    assert body["scope"] == ALL_SCOPES


def test_the_token_has_every_claim_of_the_contract() -> None:
    account = make.account(["files:read"])
    token = ask(form(account)).json()["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, keyring.public_key(kid), ["RS256"], audience="artstore-api")
    assert set(claims) == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "scopes"}
    assert (claims["iss"], claims["sub"]) == ("artstore", account.account.client_id)
    assert claims["scopes"] == ["files:read"]


def test_json_and_http_basic_are_as_good() -> None:
    account = make.account()
    json = Client().post(PATH, form(account), content_type="application/json")
    assert json.status_code == 200
    credentials = f"{account.account.client_id}:{account.client_secret}"
    assert ask("grant_type=client_credentials", credentials).status_code == 200
    with_id = f"grant_type=client_credentials&client_id={account.account.client_id}"
    assert ask(with_id, credentials).status_code == 200


def test_scope_narrows_and_cannot_widen() -> None:
    account = make.account(["files:read", "files:write"])
    narrow = ask(form(account, scope="files:read"))
    assert narrow.json()["scope"] == "files:read"
    assert_refused(ask(form(account, scope="files:read admin:write")), "invalid_scope")
    assert_refused(ask(form(account, scope="nonsense")), "invalid_scope")
    assert_refused(ask(form(account, scope="files:read%20%20files:write")), "invalid_scope")
    assert ask(form(account, scope="")).json()["scope"] == "files:read files:write"


def test_a_token_of_narrow_scope_does_no_more_than_that() -> None:
    account = make.account(["admin:read", "admin:write"])
    token = ask(form(account, scope="admin:read")).json()["access_token"]
    client = make.bearer(token)
    assert client.get("/api/v1/admin-users").status_code == 200
    assert make.post(client, "/admin-users", username="eve").status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"client_secret": "wrong"},
        {"client_secret": ""},
        {"client_id": "sa_nobody_000000"},
        {"client_id": ""},
        {"client_id": "%00"},
        {"client_id": "%ff"},
        {"client_id": "x" * 5000},
    ],
)
def test_a_client_that_does_not_prove_itself_is_invalid_client(change: dict[str, str]) -> None:
    answer = ask(form(make.account()) | change)
    assert_refused(answer, "invalid_client", 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("basic", ["no colon", "a:b", ":", "%zz:%zz"])
def test_a_wrong_basic_header_is_invalid_client(basic: str) -> None:
    assert_refused(ask("grant_type=client_credentials", basic), "invalid_client", 401)


def test_suspended_and_expired_accounts_are_invalid_clients() -> None:
    account = make.account()
    ServiceAccount.objects.update(status=AccountStatus.SUSPENDED)
    assert_refused(ask(form(account)), "invalid_client", 401)
    past = timezone.now() - dt.timedelta(seconds=1)
    ServiceAccount.objects.update(status=AccountStatus.ACTIVE, secret_expires_at=past)
    assert_refused(ask(form(account)), "invalid_client", 401)


def test_malformed_requests_are_invalid_request() -> None:
    account = make.account()
    body = form(account)
    del body["grant_type"]
    assert_refused(ask(body), "invalid_request")
    assert_refused(ask("grant_type=client_credentials&scope=a&scope=b"), "invalid_request")
    basic = f"{account.account.client_id}:{account.client_secret}"
    assert_refused(ask(form(account), basic), "invalid_request")
    assert_refused(ask("grant_type=client_credentials&client_id=another", basic), "invalid_request")
    for text in ("{", "[]", "null", '"x"', "\xff", '{"grant_type": 5}', '{"grant_type": ["a"]}'):
        answer = Client().generic("POST", PATH, text, "application/json")
        assert_refused(answer, "invalid_request")
    assert_refused(Client().generic("POST", PATH, "x", "text/plain"), "invalid_request")
    assert_refused(Client().generic("POST", PATH, "", "application/json"), "invalid_request")


@pytest.mark.parametrize("body", ["a=" + "x" * 1_100_000, "&".join(["a=1"] * 1100)])
def test_a_form_too_large_to_read_is_refused_in_the_rfcs_words(body: str) -> None:
    assert_refused(ask(body), "invalid_request")


def test_other_grants_are_unsupported() -> None:
    for grant in ("password", "authorization_code", "refresh_token", "Client_Credentials"):
        answer = ask(form(make.account(), grant_type=grant))
        assert_refused(answer, "unsupported_grant_type")


def test_unknown_parameters_are_ignored_as_the_rfc_asks() -> None:
    assert ask(form(make.account(), audience="x", foo="bar")).status_code == 200


def test_a_token_never_outlives_the_secret_it_was_asked_with() -> None:
    account = make.account()
    soon = timezone.now() + dt.timedelta(seconds=100)
    ServiceAccount.objects.update(secret_expires_at=soon)
    assert 90 <= ask(form(account)).json()["expires_in"] <= 100


def test_an_overlap_keeps_the_old_secret_alive_for_its_time() -> None:
    old = make.account()
    now = timezone.now()
    new = service_accounts.rotate_secret(old.account.id, 600, None, now)
    assert ask(form(new)).json()["expires_in"] == 3600
    assert 590 <= ask(form(old)).json()["expires_in"] <= 600
    later = now + dt.timedelta(seconds=601)
    client_id = old.account.client_id
    assert service_accounts.authenticate(client_id, old.client_secret, later) is None
    assert service_accounts.authenticate(client_id, new.client_secret, later)


def test_without_overlap_the_old_secret_dies_at_once() -> None:
    old = make.account()
    service_accounts.rotate_secret(old.account.id, 0, None, timezone.now())
    assert_refused(ask(form(old)), "invalid_client", 401)


def test_an_overlap_never_lengthens_the_old_secret() -> None:
    old = make.account()
    now = timezone.now()
    soon = now + dt.timedelta(seconds=10)
    ServiceAccount.objects.update(secret_expires_at=soon)
    service_accounts.rotate_secret(old.account.id, 600, None, now)
    assert ServiceAccount.objects.get().previous_secret_expires_at == soon


def test_use_is_noted() -> None:
    account = make.account()
    ask(form(account))
    assert ServiceAccount.objects.get().last_used_at is not None


def test_an_element_is_refused_without_the_flag_and_that_is_audited() -> None:
    account = make.account(["files:read"])
    answer = ask(form(account, resource="urn:artstore:element:rack-1"))
    assert_refused(answer, "unauthorized_client")
    event = AuditEvent.objects.get(action="access.refused")
    assert event.actor == account.account.client_id


@pytest.mark.parametrize(
    "resource",
    ["urn:artstore:element:nowhere", "artstore-api", "urn:artstore:element:", "https://x"],
)
def test_an_unknown_element_is_an_invalid_target(resource: str) -> None:
    account = make.account(["files:read"], element_tokens=True)
    assert_refused(ask(form(account, resource=resource)), "invalid_target")

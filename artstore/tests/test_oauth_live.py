"""Stock OAuth libraries, used as their manuals say, against the running system and its nodes."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import jwt
import psycopg
import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidClientError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from artstore.tests.live import LiveSystem, eventually

CONTENT = b"stored by a stock client"
HERE, ELSEWHERE = "node-edit", "node-rw"

Credentials = tuple[str, str]
Flow = Callable[..., requests.Session]


@pytest.fixture(autouse=True)
def plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run` has no TLS in front of the API; the libraries insist on it."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture
def account(live_web: LiveSystem) -> Credentials:
    return live_web.service_account(["files:read", "files:write"], element_tokens=True)


def requests_oauthlib_basic(system: LiveSystem, account: Credentials, **more: str) -> Any:
    oauth = OAuth2Session(client=BackendApplicationClient(client_id=account[0]))
    oauth.fetch_token(f"{system.api}/auth/token", auth=HTTPBasicAuth(*account), **more)
    return oauth


def requests_oauthlib_form(system: LiveSystem, account: Credentials, **more: str) -> Any:
    oauth = OAuth2Session(client=BackendApplicationClient(client_id=account[0]))
    oauth.fetch_token(
        f"{system.api}/auth/token",
        client_id=account[0],
        client_secret=account[1],
        include_client_id=True,
        **more,
    )
    return oauth


def authlib_with(method: str) -> Flow:
    def flow(system: LiveSystem, account: Credentials, **more: str) -> Any:
        oauth = AuthlibSession(*account, token_endpoint_auth_method=method)
        oauth.fetch_token(f"{system.api}/auth/token", grant_type="client_credentials", **more)
        return oauth

    return flow


FLOWS = {
    "requests-oauthlib, Basic": requests_oauthlib_basic,
    "requests-oauthlib, form": requests_oauthlib_form,
    "Authlib, Basic": authlib_with("client_secret_basic"),
    "Authlib, form": authlib_with("client_secret_post"),
}
every_flow = pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())


def files_at(system: LiveSystem, storage_id: str, client: requests.Session) -> int:
    """What that node's own door says to the client's token."""
    url = system.element(storage_id)["url"]
    return client.get(f"{url}/api/v1/files", verify=system.ca_file, timeout=30).status_code


@every_flow
def test_the_token_opens_the_doors_of_ingest_and_query(
    live_web: LiveSystem, account: Credentials, flow: Flow
) -> None:
    client = flow(live_web, account)
    headers = {"Content-Type": "text/plain"}
    stored = client.post(
        f"{live_web.api}/files/upload?filename=stock.txt", data=CONTENT, headers=headers
    )
    assert stored.status_code == 201, stored.text
    assert stored.json()["uploaded_by"] == account[0]
    found = client.post(f"{live_web.api}/search", json={"uploaded_by": account[0]})
    assert [item["file_id"] for item in found.json()["items"]] == [stored.json()["file_id"]]
    fetched = client.get(f"{live_web.api}/files/{stored.json()['file_id']}/download")
    assert fetched.content == CONTENT
    assert files_at(live_web, HERE, client) == 401


@every_flow
def test_a_token_asked_with_resource_opens_that_nodes_door_and_no_other(
    live_web: LiveSystem, account: Credentials, flow: Flow
) -> None:
    client = flow(live_web, account, resource=f"urn:artstore:element:{HERE}")
    assert files_at(live_web, HERE, client) == 200
    assert files_at(live_web, ELSEWHERE, client) == 401
    assert client.get(f"{live_web.api}/files").status_code == 401
    assert client.post(f"{live_web.api}/search", json={}).status_code == 401


@every_flow
def test_both_stop_when_the_account_is_suspended(
    live_web: LiveSystem, account: Credentials, flow: Flow
) -> None:
    """At the API with the next request; at a node when the token runs out, which is said to be soon."""
    client = flow(live_web, account)
    at_node = flow(live_web, account, resource=f"urn:artstore:element:{HERE}")
    assert client.get(f"{live_web.api}/files").status_code == 200
    suspend(live_web, account)
    assert client.get(f"{live_web.api}/files").status_code == 401
    claims = jwt.decode(at_node.token["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] <= 15 * 60
    for more in ({}, {"resource": f"urn:artstore:element:{HERE}"}):
        with pytest.raises((InvalidClientError, OAuthError)):
            flow(live_web, account, **more)


def suspend(system: LiveSystem, account: Credentials) -> None:
    admin = system.session(system.admin_token())
    found = admin.get(f"{system.api}/service-accounts?limit=1000", timeout=30).json()["items"]
    (own_id,) = [item["id"] for item in found if item["client_id"] == account[0]]
    change = {"status": "suspended"}
    answer = admin.patch(f"{system.api}/service-accounts/{own_id}", json=change, timeout=30)
    assert answer.status_code == 200, answer.text


def is_refused(system: LiveSystem, account: Credentials) -> bool:
    try:
        requests_oauthlib_basic(system, account)
    except InvalidClientError:
        return True
    return False


def end_secret(system: LiveSystem, account: Credentials, after: dt.timedelta) -> dt.datetime:
    """Let the secret run out soon: no door gives one that lives for seconds."""
    with psycopg.connect(system.ready["database_url"]) as connection:
        row = connection.execute(
            "update artstore_admin_serviceaccount set secret_expires_at = now() + %s"
            " where client_id = %s returning secret_expires_at",
            [after, account[0]],
        ).fetchone()
    assert row is not None
    ends: dt.datetime = row[0]
    return ends


def test_both_stop_when_the_secret_expires(live_web: LiveSystem, account: Credentials) -> None:
    ends = end_secret(live_web, account, dt.timedelta(seconds=4))
    client = requests_oauthlib_basic(live_web, account)
    at_node = requests_oauthlib_basic(live_web, account, resource=f"urn:artstore:element:{HERE}")
    for each in (client, at_node):
        claims = jwt.decode(each.token["access_token"], options={"verify_signature": False})
        assert claims["exp"] <= ends.timestamp()
    # The library itself refuses to send what has expired, so the token is sent without it.
    bare = live_web.session(client.token["access_token"])
    stopped = eventually(
        lambda: bare.get(f"{live_web.api}/files", timeout=30).status_code == 401, "the API stops"
    )
    assert stopped
    # A token ends with the last whole second of its secret.
    assert eventually(lambda: is_refused(live_web, account), "no new token is given")


@pytest.mark.drill
def test_the_node_stops_too_thirty_seconds_after_the_secret_expired(
    live_web: LiveSystem, account: Credentials
) -> None:
    """It allows clocks to differ by that much."""
    end_secret(live_web, account, dt.timedelta(seconds=4))
    granted = requests_oauthlib_basic(live_web, account, resource=f"urn:artstore:element:{HERE}")
    bare = live_web.session(granted.token["access_token"])
    assert files_at(live_web, HERE, bare) == 200
    assert eventually(lambda: files_at(live_web, HERE, bare) == 401, "the node stops", 60)

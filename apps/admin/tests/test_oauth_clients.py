"""Stock OAuth libraries, used as their manuals say, over real HTTP."""

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidScopeError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from apps.admin.models import AccountStatus, ServiceAccount
from apps.admin.service_accounts import IssuedSecret
from apps.admin.tests import make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> IssuedSecret:
    # The test server has no TLS; the library insists on it.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return make.account(["files:read", "admin:read"], name="stock client")


def session(account: IssuedSecret, **options: object) -> OAuth2Session:
    client = BackendApplicationClient(client_id=account.account.client_id, **options)
    return OAuth2Session(client=client)


def token_url(live_server: object) -> str:
    return f"{live_server.url}/api/v1/auth/token"


def test_requests_oauthlib_with_http_basic(live_server: object, account: IssuedSecret) -> None:
    oauth = session(account)
    credentials = HTTPBasicAuth(account.account.client_id, account.client_secret)
    token = oauth.fetch_token(token_url(live_server), auth=credentials)
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 3600
    answer = oauth.get(f"{live_server.url}/api/v1/service-accounts")
    assert answer.status_code == 200


def test_requests_oauthlib_with_the_secret_in_the_form(
    live_server: object, account: IssuedSecret
) -> None:
    oauth = session(account)
    oauth.fetch_token(
        token_url(live_server),
        client_id=account.account.client_id,
        client_secret=account.client_secret,
        include_client_id=True,
    )
    assert oauth.get(f"{live_server.url}/api/v1/files").status_code == 200


def test_requests_oauthlib_narrows_the_scope(live_server: object, account: IssuedSecret) -> None:
    oauth = session(account, scope=["files:read"])
    token = oauth.fetch_token(token_url(live_server), client_secret=account.client_secret)
    assert token["scope"] == ["files:read"]
    assert oauth.get(f"{live_server.url}/api/v1/service-accounts").status_code == 403


def test_requests_oauthlib_understands_our_refusals(
    live_server: object, account: IssuedSecret
) -> None:
    with pytest.raises(InvalidClientError):
        session(account).fetch_token(token_url(live_server), client_secret="wrong")
    too_much = session(account, scope=["files:write"])
    with pytest.raises(InvalidScopeError):
        too_much.fetch_token(token_url(live_server), client_secret=account.client_secret)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_in_both_of_its_ways(
    live_server: object, account: IssuedSecret, method: str
) -> None:
    oauth = AuthlibSession(
        account.account.client_id,
        account.client_secret,
        token_endpoint_auth_method=method,
        scope="admin:read",
    )
    token = oauth.fetch_token(token_url(live_server), grant_type="client_credentials")
    assert token["scope"] == "admin:read"
    assert oauth.get(f"{live_server.url}/api/v1/audit-events").status_code == 200


def test_a_suspended_accounts_token_stops_and_no_new_one_is_given(
    live_server: object, account: IssuedSecret
) -> None:
    oauth = session(account)
    oauth.fetch_token(token_url(live_server), client_secret=account.client_secret)
    ServiceAccount.objects.update(status=AccountStatus.SUSPENDED)
    assert oauth.get(f"{live_server.url}/api/v1/files").status_code == 401
    with pytest.raises(InvalidClientError):
        oauth.fetch_token(token_url(live_server), client_secret=account.client_secret)


def test_a_stock_jwks_client_verifies_our_token(live_server: object, account: IssuedSecret) -> None:
    token = session(account).fetch_token(
        token_url(live_server), client_secret=account.client_secret
    )["access_token"]
    keys = jwt.PyJWKClient(f"{live_server.url}/.well-known/jwks.json")
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, audience="artstore-api", issuer="artstore")
    assert claims["sub"] == account.account.client_id

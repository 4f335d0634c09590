"""Storage elements that lie: whatever they are sent opens nothing else.

Real nodes and a recording HTTPS server; the tokens are those the system really makes.
"""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from django.test import Client
from django.utils import timezone

from apps.admin import service_accounts, tokens
from apps.admin.keyring import keyring
from apps.admin.models import SCOPES, AccountStatus
from apps.admin.service_accounts import IssuedSecret, NewAccount
from apps.registry import credentials, elements
from apps.registry.elements import ElementEdit, Registration
from apps.registry.models import StorageElement
from artstore.errors import ArtStoreError
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess

pytestmark = pytest.mark.django_db


class Recorder:
    """An HTTPS server that says it is some storage element and notes what it is told."""

    def __init__(self, certificates: Certificates, storage_id: str) -> None:
        self.ca = certificates.ca.read_text()
        self.tokens: list[str] = []
        self.calls: list[str] = []
        identity = {
            "X-ArtStore-Storage-Id": storage_id,
            "X-ArtStore-Instance-Id": "11111111-1111-4111-8111-111111111111",
            "X-ArtStore-Epoch": "22222222-2222-4222-8222-222222222222",
        }
        body = {
            "storage_id": storage_id,
            "instance_id": identity["X-ArtStore-Instance-Id"],
            "service": "storage-element",
            "version": "1",
            "contract": 1,
            "mode": "edit",
            "status": "ok",
        }
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), self._handler(identity, json.dumps(body).encode())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.cert, certificates.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self, identity: dict[str, str], body: bytes) -> type:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                outer.calls.append(f"{self.command} {self.path}")
                sent = self.headers.get("Authorization")
                if sent:
                    outer.tokens.append(sent.removeprefix("Bearer "))
                self.send_response(200)
                for name, value in identity.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def node_named(signing_keys: None, tmp_path: Path) -> Iterator[Any]:
    """`node_named("rack-1")`: a real node that believes this test's signing keys."""
    started: list[NodeProcess] = []

    def start(storage_id: str) -> NodeProcess:
        folder = tmp_path / storage_id
        folder.mkdir()
        (folder / "keys.json").write_text(json.dumps({"keys": keyring.jwks()}))
        node = NodeProcess(
            folder,
            Certificates.make(folder / "tls"),
            Issuer(),
            storage_id=storage_id,
            environment={"SE_JWKS_FILE": str(folder / "keys.json")},
        )
        started.append(node.start())
        return node

    yield start
    for node in started:
        node.kill()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Any]:
    made: list[Recorder] = []

    def make(storage_id: str) -> Recorder:
        made.append(Recorder(Certificates.make(tmp_path / f"recorder-{len(made)}"), storage_id))
        return made[-1]

    yield make
    for server in made:
        server.close()


def register(node: NodeProcess) -> StorageElement:
    registration = Registration(node.storage_id, node.base_url, node.certificates.ca.read_text())
    return elements.register(registration, None, timezone.now()).element


def status_at_node(node: NodeProcess, token: str) -> int:
    return requests.get(
        f"{node.base_url}/api/v1/files",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(node.certificates.ca),
        timeout=30,
    ).status_code


def status_at_api(token: str) -> set[int]:
    client = Client(headers={"Authorization": f"Bearer {token}"})
    paths = ("files", "storage-elements", "admin-users", "jwt-keys/status", "admin-auth/me")
    return {client.get(f"/api/v1/{path}").status_code for path in paths}


def account(**options: Any) -> IssuedSecret:
    draft = NewAccount("hostile test", list(SCOPES), **options)
    return service_accounts.create(draft, None, timezone.now())


def ask(issued: IssuedSecret, **more: str) -> Any:
    body = {
        "grant_type": "client_credentials",
        "client_id": issued.account.client_id,
        "client_secret": issued.client_secret,
    }
    return Client().post("/api/v1/auth/token", body | more, content_type="application/json")


def test_what_a_recording_element_is_sent_opens_nothing_else(
    node_named: Any, recorder: Any
) -> None:
    honest = node_named("rack-1")
    register(honest)
    spy = recorder("recorder")
    registration = Registration("recorder", spy.url, spy.ca)
    element = elements.register(registration, None, timezone.now()).element
    client = credentials.client(element, credentials.for_system("files:read", "files:write"))
    with pytest.raises(ArtStoreError):
        client.get_file(element.id)
    assert spy.tokens
    for token in spy.tokens:
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == "urn:artstore:element:recorder"
        assert claims["exp"] - claims["iat"] <= 15 * 60
        assert status_at_api(token) == {401}
        assert status_at_node(honest, token) == 401


def test_discovery_sends_no_token_to_a_url_nobody_knows(signing_keys: None, recorder: Any) -> None:
    spy = recorder("stranger")
    found = elements.discover(spy.url, spy.ca)
    assert found.storage_id == "stranger"
    assert spy.calls
    assert spy.tokens == []


def test_an_element_that_claims_anothers_storage_id_is_sent_no_token(
    node_named: Any, recorder: Any
) -> None:
    element = register(node_named("rack-1"))
    spy = recorder("rack-1")
    with pytest.raises(ArtStoreError):
        elements.register(Registration("mine", spy.url, spy.ca), None, timezone.now())
    with pytest.raises(ArtStoreError):
        elements.edit(element.pk, ElementEdit(url=spy.url), None, timezone.now())
    with pytest.raises(ArtStoreError):
        elements.edit(element.pk, ElementEdit(url=spy.url, ca_pem=spy.ca), None, timezone.now())
    # Somebody takes over the address itself: the certificate still is not the pinned one.
    StorageElement.objects.filter(pk=element.pk).update(url=spy.url)
    moved = StorageElement.objects.get(pk=element.pk)
    client = credentials.client(moved, credentials.for_system("files:read"))
    with pytest.raises(ArtStoreError):
        client.get_file(element.id)
    assert spy.tokens == []


def test_a_registered_address_that_answers_as_another_element_is_sent_no_token(
    node_named: Any, recorder: Any
) -> None:
    spy = recorder("impostor")
    element = register(node_named("rack-1"))
    StorageElement.objects.filter(pk=element.pk).update(url=spy.url, ca_pem=spy.ca)
    moved = StorageElement.objects.get(pk=element.pk)
    client = credentials.client(moved, credentials.for_system("files:read"))
    with pytest.raises(ArtStoreError):
        client.get_file(element.id)
    assert spy.calls
    assert spy.tokens == []


def test_an_element_named_like_the_apis_audience_gains_nothing(node_named: Any) -> None:
    node = node_named("artstore-api")
    register(node)
    theirs = tokens.element_token("artstore-api", "ada", "query", ["files:read"], timezone.now())
    assert status_at_node(node, theirs) == 200
    assert status_at_api(theirs) == {401}
    ours = ask(account()).json()["access_token"]
    assert status_at_node(node, ours) == 401


def test_a_token_asked_for_with_resource_works_at_that_door_and_no_other(node_named: Any) -> None:
    first, second = node_named("rack-1"), node_named("rack-2")
    register(first)
    register(second)
    issued = account(element_tokens=True)
    granted = ask(issued, resource="urn:artstore:element:rack-1").json()
    assert granted["expires_in"] <= 15 * 60
    assert granted["scope"] == "files:read files:write"
    token = granted["access_token"]
    assert status_at_node(first, token) == 200
    assert status_at_node(second, token) == 401
    assert status_at_api(token) == {401}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["sub"] == issued.account.client_id
    mode = requests.post(
        f"{first.base_url}/api/v1/mode/transition",
        json={"target_mode": "ro"},
        headers={"Authorization": f"Bearer {token}"},
        verify=str(first.certificates.ca),
        timeout=30,
    )
    assert mode.status_code == 403
    refused = ask(issued, resource="urn:artstore:element:rack-1", scope="storage:write")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


def test_suspending_an_account_ends_its_element_tokens_at_the_source(node_named: Any) -> None:
    register(node_named("rack-1"))
    issued = account(element_tokens=True)
    service_accounts.edit(
        issued.account.id, {"status": AccountStatus.SUSPENDED}, None, timezone.now()
    )
    assert ask(issued, resource="urn:artstore:element:rack-1").status_code == 401

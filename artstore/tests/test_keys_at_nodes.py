"""Signing keys as a real node sees them: new ones come by themselves, old ones leave, at once if need be.

The node reads its keys from a loopback address that shows what the Admin module publishes.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from apps.admin import keys, tokens
from apps.admin.keyring import keyring
from apps.admin.models import SigningKey
from apps.registry import elements, probing
from apps.registry.elements import Registration
from apps.registry.models import ElementStatus
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    JwksServer,
    NodeProcess,
    NodeSession,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("signing_keys")]


@pytest.fixture
def published(signing_keys: None) -> Iterator[JwksServer]:
    server = JwksServer({"keys": keyring.jwks()})
    yield server
    server.close()


@pytest.fixture
def listening_node(published: JwksServer, tmp_path: Path) -> Iterator[NodeProcess]:
    certificates = Certificates.make(tmp_path / "tls")
    environment = {"SE_JWKS_URL": published.url}
    with NodeProcess(tmp_path / "node", certificates, Issuer(), environment=environment) as node:
        yield node


def fresh_token(node: NodeProcess, module: str = "query") -> str:
    """Signed now, with the key that signs now."""
    keyring.forget()
    now = timezone.now()
    claims = {"sub": "ada", "act": {"sub": module}, "scopes": ["files:read"], "jti": module}
    times = {"iat": int(now.timestamp()), "nbf": int(now.timestamp())}
    backend = tokens.KeyringBackend(
        tokens.ELEMENT_TYPE, tokens.ELEMENT_AUDIENCE_PREFIX + node.storage_id
    )
    return backend.encode(claims | times | {"exp": times["iat"] + 600})


def status(node: NodeProcess, token: str) -> int:
    return NodeSession(node, token).get("/api/v1/files").status_code


def rotate(server: JwksServer, *, emergency: bool = False) -> keys.Rotation:
    rotation = keys.rotate(None, timezone.now(), emergency=emergency)
    server.show({"keys": keyring.jwks()})
    return rotation


def test_a_node_follows_every_rotation_without_a_restart(
    listening_node: NodeProcess, published: JwksServer
) -> None:
    for _ in range(5):
        rotate(published)
        assert status(listening_node, fresh_token(listening_node)) == 200
    assert published.fetches <= 4


def test_the_old_key_leaves_the_node_after_its_grace(
    listening_node: NodeProcess, published: JwksServer
) -> None:
    old = fresh_token(listening_node)
    rotation = rotate(published)
    assert status(listening_node, old) == 200
    past = timezone.now() - dt.timedelta(seconds=1)
    SigningKey.objects.filter(kid=rotation.previous_key_id).update(leaves_at=past)
    # The next key it does not know makes the node look; else it looks every five minutes.
    for _ in range(keys.ANNOUNCED_AHEAD):
        rotate(published)
    assert status(listening_node, fresh_token(listening_node)) == 200
    assert status(listening_node, old) == 401


def test_emergency_reaches_a_node_with_the_first_call_that_follows(
    listening_node: NodeProcess, published: JwksServer
) -> None:
    old = fresh_token(listening_node)
    assert status(listening_node, old) == 200
    rotate(published, emergency=True)
    assert status(listening_node, fresh_token(listening_node)) == 200
    assert status(listening_node, old) == 401


def test_emergency_reaches_a_node_that_nobody_uses_with_the_next_probe(
    listening_node: NodeProcess, published: JwksServer
) -> None:
    old = fresh_token(listening_node)
    pinned = listening_node.certificates.ca.read_text()
    registration = Registration(listening_node.storage_id, listening_node.base_url, pinned)
    element = elements.register(registration, None, timezone.now()).element
    rotate(published, emergency=True)
    probed = probing.probe(element, timezone.now())
    assert probed.status == ElementStatus.ONLINE, probed.status_reason
    assert status(listening_node, old) == 401


def test_a_node_that_cannot_ask_for_keys_accepts_through_two_rotations(
    listening_node: NodeProcess, published: JwksServer
) -> None:
    old = fresh_token(listening_node)
    published.status = 503
    for _ in range(keys.ANNOUNCED_AHEAD):
        rotate(published)
        assert status(listening_node, fresh_token(listening_node)) == 200
    assert status(listening_node, old) == 200
    rotate(published)
    assert status(listening_node, fresh_token(listening_node)) == 401

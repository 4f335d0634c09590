"""Fixtures of the node's tests: a test CA, signing keys, real node processes over TLS, and an element without one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_node.tests.node_process import Certificates, Issuer, NodeProcess, NodeSession
from storage_node.tests.small_element import SmallElement

MakeNode = Callable[..., NodeProcess]


@pytest.fixture
def element(tmp_path: Path) -> Iterator[SmallElement]:
    """An element in the test's own process, as its engine opens it."""
    with SmallElement(tmp_path / "se").open() as opened:
        yield opened


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer.make()


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates, issuer: Issuer
) -> Iterator[NodeProcess]:
    """One node in mode edit that the tests of a module share; they use file ids of their own."""
    with NodeProcess(
        tmp_path_factory.mktemp("node"), certificates, issuer, "se-example"
    ) as running:
        yield running


@pytest.fixture
def api(node: NodeProcess) -> NodeSession:
    """The shared node, with a token of all scopes."""
    return node.session()


@pytest.fixture
def make_node(tmp_path: Path, certificates: Certificates, issuer: Issuer) -> Iterator[MakeNode]:
    """Starts nodes of one's own: `make_node(SE_MODE="rw")`; all are killed afterwards."""
    made: list[NodeProcess] = []

    def make(
        *, start: bool = True, storage_id: str = "se-example", **environment: str
    ) -> NodeProcess:
        directory = tmp_path / f"node-{len(made)}"
        node = NodeProcess(directory, certificates, issuer, storage_id, dict(environment))
        made.append(node)
        return node.start() if start else node

    yield make
    for node in made:
        node.__exit__()


def eventually(holds: Callable[[], Any], within_seconds: float = 20.0) -> Any:
    """What `holds` gives as soon as it is true; for what a node does after its answer has gone out."""
    deadline = time.monotonic() + within_seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it never came to hold"
    return found


def line_of(node: NodeProcess, request_id: str) -> dict[str, Any]:
    """The log line of a request, once it is there."""
    lines = eventually(
        lambda: [line for line in node.log_lines() if line.get("request_id") == request_id]
    )
    assert len(lines) == 1
    return dict(lines[0])


def error_of(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal, after checking that it has the envelope's shape."""
    error = answer.json()["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    return answer.status_code, error["code"]

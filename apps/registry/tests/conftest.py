"""Real nodes for the registry's tests. Our modules are imported inside: the settings need a database
that exists only once pytest has read this file."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_node.tests.node_process import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One CA and one certificate for loopback."""
    return Certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def keys(transactional_db: None) -> None:
    """Signing keys in this test's database, and nothing remembered from another's."""
    from apps.registry import credentials
    from apps.registry.tests import make

    make.signing_keys()
    credentials.forget_proofs()


@pytest.fixture(scope="session")
def shared_nodes(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Any]:
    """The nodes without settings of their own, started when first asked for."""
    from apps.registry.tests.shared_nodes import SharedNodes

    nodes = SharedNodes(tmp_path_factory.mktemp("shared-nodes"), certificates)
    yield nodes
    nodes.stop()


@pytest.fixture
def start_site(
    keys: None, certificates: Certificates, shared_nodes: Any, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """`start_site("se-two")`: one more real, empty node with its element.

    With settings (`SE_MODE="rw"`) or `files` it is a new one; without, one that earlier tests had.
    """
    from apps.registry.tests.site import Site

    started: list[Site] = []

    def start(storage_id: str = "se-test", files: int = 0, **environment: str) -> Site:
        if not environment and not files:
            taken: Site = shared_nodes.take(storage_id)
            return taken
        site = Site.start(tmp_path / storage_id, certificates, storage_id, files, **environment)
        started.append(site)
        return site

    yield start
    for site in started:
        site.stop()


@pytest.fixture
def site(start_site: Callable[..., Any]) -> Any:
    """A real node whose element is registered and synced once (it is empty)."""
    return start_site().synced()

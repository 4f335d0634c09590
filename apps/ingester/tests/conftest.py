"""Elements on real nodes, a real gunicorn, and somebody who uploads.

Our own modules are imported inside: pytest reads this file before the settings have a database.
"""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from storage_node.tests.node_process import NodeProcess


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """Nothing remembered from another test's elements."""
    from apps.ingester.placement import board
    from apps.registry import credentials

    board.forget()
    credentials.forget_proofs()


@pytest.fixture
def element(transactional_db: None, node: NodeProcess) -> Any:
    """A registered element in mode edit."""
    from apps.ingester.tests.web_process import element_on

    return element_on(node)


@pytest.fixture
def uploader() -> Any:
    """A principal that may upload."""
    from apps.admin.principals import Principal

    scopes = frozenset({"files:write"})
    return Principal("service_account", "sa_test_1", uuid.uuid4(), scopes=scopes)


@pytest.fixture
def web(element: Any, tmp_path: Path) -> Iterator[Any]:
    """A gunicorn that serves the API over this test's database and element."""
    from apps.ingester.tests.web_process import WebProcess

    with WebProcess(tmp_path / "web.log") as running:
        yield running


@pytest.fixture
def token(transactional_db: None, service_token: Callable[..., str]) -> str:
    """The token of an account that may read and write files."""
    return service_token("files:read", "files:write")


@pytest.fixture
def caller(token: str) -> Iterator[requests.Session]:
    """HTTP with that token."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        yield session

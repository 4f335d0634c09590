"""A site for a whole module: keys, a real node, its element, and (when asked for) a gunicorn.

What the site needs is committed once, before any test's own transaction; tests read what other
processes committed and roll back what they wrote. Our own modules are imported inside, because
pytest reads this file before the settings have a database.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pytest_django import DjangoDbBlocker


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """Nothing remembered from another test's elements."""
    from apps.ingester.placement import board
    from apps.registry import credentials

    board.forget()
    credentials.forget_proofs()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Any]:
    """Signing keys and one `edit` element on a real node, committed for this module."""
    from apps.ingester.tests.site import Site

    with django_db_blocker.unblock():
        made = Site.build(tmp_path_factory.mktemp("site"))
        try:
            yield made
        finally:
            made.remove()


@pytest.fixture
def element(site: Any, db: None) -> Any:
    """The site's element, fresh from the database."""
    return site.element_row()


@pytest.fixture
def uploader() -> Any:
    """A principal that may upload."""
    from apps.admin.principals import Principal

    scopes = frozenset({"files:write"})
    return Principal("service_account", "sa_test_1", uuid.uuid4(), scopes=scopes)


@pytest.fixture(scope="module")
def web(site: Any) -> Any:
    """A gunicorn that serves the API over the site."""
    return site.web()


@pytest.fixture(scope="module")
def token(site: Any) -> str:
    """The token of an account that may read and write files."""
    return str(site.token("files:read", "files:write"))


@pytest.fixture
def caller(token: str) -> Iterator[requests.Session]:
    """HTTP with that token."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        yield session


@pytest.fixture
def nothing_stored(site: Any, db: None) -> Iterator[None]:
    """The test must leave no record behind, in whatever status."""
    from apps.registry.models import FileRecord

    before = FileRecord.objects.count()
    yield
    assert FileRecord.objects.count() == before


@pytest.fixture(scope="module")
def reader_token(site: Any) -> str:
    """The token of an account that may only read files."""
    return str(site.token("files:read"))

"""Every identity test that uses the database finds signing keys in it."""

import pytest


@pytest.fixture(autouse=True)
def signing_keys(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("django_db")
    if marker is None:
        return
    request.getfixturevalue("transactional_db" if marker.kwargs.get("transaction") else "db")
    # Models can be imported only after pytest has configured Django, which is after this file.
    from apps.admin.tests import make

    make.signing_keys()

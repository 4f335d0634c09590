"""The ground every Django test stands on: a real PostgreSQL of this run's own.

pytest-django reads the settings as soon as it knows their name, and they need a database, so the
name is given here, after the server is up. The node's tests have their own conftest and no Django.
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import pytest
from django.utils import timezone

from artstore.embedded import postgres
from artstore.tests.live import LiveSystem
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess

_server = pytest.StashKey[tuple[postgres.Cluster, subprocess.Popen[bytes], Path]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.help or config.option.version or _only_hands_out_tests(config):
        return
    folder = Path(tempfile.mkdtemp(prefix="artstore-test-"))
    folder.chmod(0o711)  # the server is somebody else when the tests run as root
    # Tests that commit are cleaned up by TRUNCATE, which the audit table refuses elsewhere.
    settings = postgres.VOLATILE | {"artstore.audit_truncation": "on"}
    cluster = postgres.prepare(
        folder / "postgres", secrets.token_hex(16), folder / "postgres.log", settings
    )
    config.stash[_server] = (cluster, postgres.start(cluster), folder)
    os.environ.update(
        {
            "DATABASE_URL": cluster.url(),
            "ARTSTORE_SECRET_KEY": secrets.token_urlsafe(32),
            "ARTSTORE_DIGEST_KEY": secrets.token_urlsafe(32),
            "ARTSTORE_KEY_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "ARTSTORE_LOG_FORMAT": "text",
            "ARTSTORE_ALLOW_LOOPBACK_ELEMENTS": "true",
            "DJANGO_SETTINGS_MODULE": "artstore.settings",
        }
    )
    django.setup()  # pytest-django leaves alone what is not configured when its turn comes


def pytest_unconfigure(config: pytest.Config) -> None:
    if _server not in config.stash:
        return
    cluster, process, folder = config.stash[_server]
    postgres.stop(process)
    postgres.discard_socket_folder(cluster)
    shutil.rmtree(folder, ignore_errors=True)


def _only_hands_out_tests(config: pytest.Config) -> bool:
    """True in the process that starts pytest-xdist's workers; each worker has a server of its own."""
    return bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module stays in one worker for its fixtures' sake, and so does all that meets the one live system."""
    for item in items:
        meets_live_system = "live_web" in getattr(item, "fixturenames", ())
        group = "live_web" if meets_live_system else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> None:
    """The test database with signing keys in it: making three RSA keys for each test is dear."""
    from apps.admin import keys

    with django_db_blocker.unblock():
        keys.ensure_signing_keys(timezone.now())


@pytest.fixture(scope="session")
def live_web() -> Iterator[LiveSystem]:
    """The whole system as `make up` starts it, one for the run: gunicorn, nodes, worker, beat."""
    system = LiveSystem()
    try:
        system.up()
        yield system
    finally:
        system.remove()


@pytest.fixture
def signing_keys(db: None) -> None:
    """Keys to sign with, in this test's database."""
    from apps.admin import keys

    keys.keyring.forget()
    keys.ensure_signing_keys(timezone.now())
    keys.keyring.forget()


@pytest.fixture
def service_token(signing_keys: None) -> Callable[..., str]:
    """`service_token("files:read", ...)`: a token of a new service account in this test's database."""
    from apps.admin import service_accounts, tokens

    def make(*scopes: str) -> str:
        now = timezone.now()
        draft = service_accounts.NewAccount(f"test-{secrets.token_hex(6)}", scopes)
        account = service_accounts.create(draft, None, now).account
        return tokens.service_token(account, sorted(scopes), None, now).token

    return make


@pytest.fixture
def admin_token(signing_keys: None) -> str:
    """The token of a signed-in admin in this test's database."""
    from apps.admin import sessions, users
    from apps.admin.models import Role

    now = timezone.now()
    name, password = f"admin-{secrets.token_hex(6)}", secrets.token_urlsafe(16)
    users.create(users.NewUser(name, password, Role.ADMIN.value), None, now)
    pair = sessions.log_in(sessions.SignIn(name, password, "127.0.0.1"), now)
    return pair.access_token


@pytest.fixture
def node(signing_keys: None, tmp_path: Path) -> Iterator[NodeProcess]:
    """A real node over TLS that believes tokens signed with this test's keys."""
    from apps.admin import keys

    issuer = Issuer()
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys.keyring.jwks()}))
    environment = {"SE_JWKS_FILE": str(tmp_path / "keys.json")}
    certificates = Certificates.make(tmp_path / "tls")
    with NodeProcess(tmp_path / "node", certificates, issuer, environment=environment) as running:
        yield running

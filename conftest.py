"""The ground every Django test stands on: a real PostgreSQL of this run's own.

pytest-django reads the settings as soon as it knows their name, and they need a database, so the
name is given here, after the server is up. The node's tests have their own conftest and no Django.
"""

import base64
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import django
import pytest

from artstore.embedded import postgres

_server = pytest.StashKey[tuple[postgres.Cluster, subprocess.Popen[bytes], Path]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.help or config.option.version:
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

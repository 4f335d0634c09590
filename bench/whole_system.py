"""The whole system on loopback for measurements through Django: `make up` in a directory of its own.

Starts and stops it and gives tokens; says nothing about what is measured. Directories lie under
BENCH_DIR where that is set.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artstore.tests.live import LiveSystem

SCOPES = ("files:read", "files:write")


@contextlib.contextmanager
def running(**settings: str) -> Iterator[tuple[LiveSystem, Path]]:
    """The system and a directory for what the measurement writes; both gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="artstore-bench-", dir=os.environ.get("BENCH_DIR")))
    directory.chmod(0o711)
    home = directory / "home"
    home.mkdir()
    system = LiveSystem(home, **settings)
    try:
        system.up()
        yield system, directory
    finally:
        system.remove()
        shutil.rmtree(directory, ignore_errors=True)


def account(system: LiveSystem) -> tuple[str, str]:
    """A service account that may use an element's own door, too."""
    return system.service_account(SCOPES, element_tokens=True)


def element_token(system: LiveSystem, credentials: tuple[str, str], storage_id: str) -> str:
    """A token for the storage element itself."""
    return _token(system, credentials, resource=f"urn:artstore:element:{storage_id}")


def api_token(system: LiveSystem, credentials: tuple[str, str]) -> str:
    return _token(system, credentials)


def _token(system: LiveSystem, credentials: tuple[str, str], **asked: str) -> str:
    form: dict[str, Any] = {"grant_type": "client_credentials", **asked}
    with system.session(None) as session:
        answer = session.post(f"{system.api}/auth/token", data=form, auth=credentials, timeout=30)
    if answer.status_code != 200:
        raise RuntimeError(answer.text)
    return str(answer.json()["access_token"])


def cpu_seconds(pid: int) -> float:
    """CPU the process and its children have used so far, user and system."""
    total = 0.0
    for each in [pid, *_descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _descendants(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(child) for child in text.split()]
    return children + [deeper for child in children for deeper in _descendants(child)]

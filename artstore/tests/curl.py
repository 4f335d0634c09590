"""Uploads with curl, as a person at a shell would, and what came of them."""

import contextlib
import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artstore.tests.live import LiveSystem


@dataclass(frozen=True)
class Sent:
    """What curl said of one upload."""

    path: Path
    key: str
    status: int
    answer: dict[str, Any]


def write_headers(path: Path, token: str) -> Path:
    """curl reads the token from a file: an argument would show it to everybody."""
    path.write_text(f"Authorization: Bearer {token}\n")
    return path


def curl(header_file: Path, *arguments: str) -> tuple[int, bytes]:
    """Status and body; 0 when there was no answer."""
    done = subprocess.run(
        ["curl", "-sS", "-H", f"@{header_file}", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        check=False,
    )
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def upload(system: LiveSystem, header_file: Path, path: Path, key: str, *fields: str) -> Sent:
    arguments = [part for field in fields for part in ("-F", field)]
    status, body = curl(
        header_file,
        *("-H", f"Idempotency-Key: {key}"),
        *arguments,
        *("-F", f"file=@{path}"),
        f"{system.api}/files/upload",
    )
    with contextlib.suppress(ValueError):
        return Sent(path, key, status, json.loads(body))
    return Sent(path, key, status, {})


def downloaded_sha256(system: LiveSystem, token: str, file_id: str) -> str:
    digest = hashlib.sha256()
    address = f"{system.api}/files/{file_id}/download"
    with system.session(token).get(address, stream=True, timeout=60) as answer:
        assert answer.status_code == 200, answer.text
        for block in answer.iter_content(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

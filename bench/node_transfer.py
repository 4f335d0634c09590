"""Large transfers of a node against nginx: 1 GiB raw, as a form, and down, plain and over TLS.

    .venv-node/bin/python -m bench.node_transfer [--size-mib 1024] [--rounds 5] [--plain-only]

The reference has equal guarantees: nginx WebDAV PUT, then fsync, then sha256 of the file. curl is the client of both.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from bench.reference import Nginx
from bench.rounds import ROUNDS, Row, alternate, report
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    NodeProcess,
    attributes_header,
    free_port,
)

MIB = 1 << 20


def curl(*arguments: str) -> dict[str, float]:
    """Run curl; its own idea of status and time."""
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            '{"status": %{http_code}, "seconds": %{time_total}}',
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, float] = json.loads(done.stdout)
    if told["status"] not in (200, 201, 204):
        raise RuntimeError(f"{arguments}: {told}")
    return told


class Bench:
    """One node, one nginx, one file."""

    def __init__(self, directory: Path, node: NodeProcess, nginx: Nginx, size_mib: int) -> None:
        self.node, self.nginx, self.size_mib = node, nginx, size_mib
        self.source = directory / "source.bin"
        with self.source.open("wb") as file:
            for _ in range(size_mib):
                file.write(os.urandom(MIB))
        self.ca = str(node.certificates.ca)
        self.token = node.token(exp=int(time.time()) + 86400)
        self.tls = node.base_url.startswith("https")
        scheme, port = ("https", nginx.tls_port) if self.tls else ("http", nginx.port)
        self.reference_url = f"{scheme}://127.0.0.1:{port}"
        self.standing = [
            *(["--cacert", self.ca] if self.tls else []),
            "-H",
            f"Authorization: Bearer {self.token}",
        ]
        self.kept = self._put_kept()

    def _put_kept(self) -> str:
        file_id = str(uuid.uuid4())
        self._put(file_id)
        curl(*self.standing, "-T", str(self.source), f"{self.reference_url}/kept")
        return file_id

    def _put(self, file_id: str) -> float:
        header = attributes_header(
            {"original_filename": "source.bin", "retention_policy": "permanent"}
        )
        url = f"{self.node.base_url}/api/v1/files/{file_id}"
        told = curl(
            *self.standing, "-H", f"X-ArtStore-Attributes: {header}", "-T", str(self.source), url
        )
        return told["seconds"]

    def _forget(self, file_id: str) -> None:
        """Free the bytes again: the disk is not to fill up, and both sides pay for it outside the clock."""
        session = self.node.session()
        session.delete(f"/api/v1/files/{file_id}")
        session.post("/api/v1/maintenance/collect-garbage")

    def raw(self) -> float:
        file_id = str(uuid.uuid4())
        seconds = self._put(file_id)
        self._forget(file_id)
        return self.size_mib * MIB / 1e6 / seconds

    def form(self) -> float:
        began = time.perf_counter()
        done = subprocess.run(
            [
                "curl",
                "-sS",
                *self.standing,
                "-F",
                "retention_policy=permanent",
                "-F",
                f"file=@{self.source}",
                f"{self.node.base_url}/api/v1/files/upload",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - began
        self._forget(json.loads(done.stdout)["file_id"])
        return self.size_mib * MIB / 1e6 / seconds

    def down(self) -> float:
        told = curl(*self.standing, f"{self.node.base_url}/api/v1/files/{self.kept}/download")
        return self.size_mib * MIB / 1e6 / told["seconds"]

    def reference_up(self) -> float:
        name = uuid.uuid4().hex
        began = time.perf_counter()
        curl(*self.standing, "-T", str(self.source), f"{self.reference_url}/{name}")
        path = self.nginx.files / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
            hashlib.file_digest(file, "sha256")
        seconds = time.perf_counter() - began
        path.unlink()
        return self.size_mib * MIB / 1e6 / seconds

    def reference_down(self) -> float:
        told = curl(*self.standing, f"{self.reference_url}/kept")
        return self.size_mib * MIB / 1e6 / told["seconds"]


def measure(bench: Bench, rounds: int) -> list[Row]:
    """The three rows of one scheme."""
    over, bars = (
        (" over TLS", (">= 0.6", ">= 0.8 of raw", ">= 0.75"))
        if bench.tls
        else ("", (">= 0.85 (1.2)", ">= 0.8 of raw (0.95)", ">= 1.0"))
    )
    size = f"{bench.size_mib} MiB"
    values = alternate(
        rounds,
        {
            "nginx up": bench.reference_up,
            "raw": bench.raw,
            "form": bench.form,
            "nginx down": bench.reference_down,
            "down": bench.down,
        },
    )
    return [
        Row(f"{size} raw upload{over}", "MB/s", bars[0], values["raw"], values["nginx up"]),
        Row(f"{size} multipart upload{over}", "MB/s", bars[1], values["form"], values["raw"]),
        Row(f"{size} download{over}", "MB/s", bars[2], values["down"], values["nginx down"]),
    ]


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plain-only", action="store_true")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="artstore-bench-", dir=os.environ.get("BENCH_DIR")))
    rows: list[Row] = []
    try:
        certificates, issuer = Certificates.make(directory / "certs"), Issuer.make()
        with Nginx(
            directory / "nginx", certificates.cert, certificates.key, free_port(), free_port()
        ) as nginx:
            for scheme in ["plain"] if arguments.plain_only else ["plain", "tls"]:
                environment = {"SE_INSECURE_LOOPBACK": "1"} if scheme == "plain" else {}
                environment |= {
                    "SE_MAX_FILE_SIZE": "8GiB",
                    "SE_EXPIRED_GRACE": "0",
                    "SE_LOG_LEVEL": "warning",
                }
                with NodeProcess(
                    directory / scheme, certificates, issuer, "bench", environment
                ) as node:
                    rows += measure(
                        Bench(directory, node, nginx, arguments.size_mib), arguments.rounds
                    )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    report("node-transfer", rows, ["nginx reference upload: PUT, fsync, sha256 of the file"])


if __name__ == "__main__":
    main()

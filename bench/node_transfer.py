"""Large transfers of a node against nginx: 1 GiB raw, as a form, and down, plain and over TLS; and the node's memory.

    python -m bench.node_transfer [--size-mib 1024] [--rounds 3] [--plain-only]

The reference of an upload has equal guarantees: nginx WebDAV PUT, then fsync, then sha256 of the file. curl is the client
of both. Memory is what eight transfers at once, four in and four out, add to the node's resident set.
"""

import argparse
import hashlib
import json
import os
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.reference import Nginx
from bench.rounds import Row, alternate, report, scratch
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    NodeProcess,
    attributes_header,
    free_port,
)

MIB = 1 << 20
ROUNDS = 3
TRANSFERS = 8
SAMPLE_SECONDS = 0.02


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


def resident_mib(process_id: int) -> float:
    """What a process has in memory."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("a process without VmRSS")


def memory_of_transfers(bench: Bench) -> float:
    """MiB that eight transfers at once add at most, over what the node had after transfers one by one."""
    assert bench.node.process is not None
    process_id, ended, most = bench.node.process.pid, threading.Event(), 0.0
    before = resident_mib(process_id)

    def watch() -> None:
        nonlocal most
        while not ended.wait(SAMPLE_SECONDS):
            most = max(most, resident_mib(process_id))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            works = [bench.raw, bench.down] * (TRANSFERS // 2)
            for done in [pool.submit(work) for work in works]:
                done.result()
    finally:
        ended.set()
        watcher.join()
    return most - before


def measure(bench: Bench, rounds: int) -> list[Row]:
    """The rows of one scheme."""
    over, bars = (
        (" over TLS", (">= 0.6", ">= 0.8", ">= 0.75"))
        if bench.tls
        else ("", (">= 0.85 (1.2)", ">= 0.8 (0.95)", ">= 1.0"))
    )
    size = "1 GiB" if bench.size_mib == 1024 else f"{bench.size_mib} MiB"
    values = alternate(
        rounds,
        {
            "nginx up": bench.reference_up,
            "raw": bench.raw,
            "form": bench.form,
            "nginx down": bench.reference_down,
            "down": bench.down,
        },
        rehearse=False,
    )
    upload, form, download = f"{size} raw upload", f"{size} multipart upload", f"{size} download"
    rows = [
        Row(f"node, {upload}{over}", "MB/s", bars[0], values["raw"], values["nginx up"]),
        Row(f"node, {form}{over}", "MB/s", bars[1], values["form"], values["raw"]),
        Row(f"node, {download}{over}", "MB/s", bars[2], values["down"], values["nginx down"]),
    ]
    rows[1].note = "reference: the node's own raw upload"
    added = memory_of_transfers(bench)
    work = f"node, memory added by {TRANSFERS} transfers of {size} at once{over}"
    rows.append(Row(work, "MiB", "< 64", [added], note="one run"))
    return rows


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plain-only", action="store_true")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with scratch("node-transfer") as directory:
        certificates, issuer = Certificates.make(directory / "certs"), Issuer.make()
        with Nginx(
            directory / "nginx", certificates.cert, certificates.key, free_port(), free_port()
        ) as nginx:
            for scheme in ["plain"] if arguments.plain_only else ["plain", "tls"]:
                environment = {"SE_INSECURE_LOOPBACK": "1"} if scheme == "plain" else {}
                environment |= {
                    "SE_MAX_FILE_SIZE": "8GiB",
                    "SE_MAX_CAPACITY": "40GiB",
                    "SE_EXPIRED_GRACE": "0",
                }
                node_directory = directory / scheme
                with NodeProcess(
                    node_directory, certificates, issuer, "bench", environment
                ) as node:
                    bench = Bench(directory, node, nginx, arguments.size_mib)
                    rows += measure(bench, arguments.rounds)
    remark = "reference of an upload: nginx WebDAV PUT, then fsync, then sha256 of the file; of a download: nginx with sendfile"
    report("node-transfer", rows, [remark])


if __name__ == "__main__":
    main()

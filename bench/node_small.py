"""Small files of a node against nginx: 4 KiB durable uploads with attributes, and 4 KiB downloads.

    python -m bench.node_small [--seconds 6] [--rounds 5] [--fresh]

wrk with one thread is the client of both, so that a core is left to the server; requests are made ready before the clock
starts, and an upload differs from the next in its id only. Both write into directories that are there: an element in
use has all 65 536 of its own (`--fresh` measures a new one, which makes one for nearly every upload at first). The reference's uploads are neither durable nor have they
attributes. Nothing is removed between the runs, for neither side: see `rounds.scratch`.
"""

import argparse
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.reference import Nginx
from bench.rounds import ROUNDS, Row, alternate, report, scratch
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    NodeProcess,
    attributes_header,
    free_port,
)
from storage_node.wal_format import PAGE_BYTES, SegmentHeader

SIZE_BYTES = 4096
KEPT = 2000
GET_CLIENTS = 32
PUT_CLIENTS = (8, 32)
LOOK_SECONDS = 0.1
# A quarter of the default, so that a run of some seconds holds three checkpoints and more.
LOG_SIZE = "16MiB"
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")

# Ids are version 4 in form: 32 random bits, 16 of a count, and a random rest per run.
PUT_SCRIPT = """
local head, tail, rest, count
function init(args)
    math.randomseed({seed})
    local whole = wrk.format("PUT", "/@ID@", {{["Authorization"] = "Bearer {token}",
        ["X-ArtStore-Attributes"] = "{attributes}"}}, string.rep("x", {size}))
    local at = string.find(whole, "/@ID@", 1, true)
    head, tail = string.sub(whole, 1, at - 1) .. "{prefix}", string.sub(whole, at + 5)
    rest = string.format("%04x-%06x%06x", 0x8000 + math.random(0, 0x3fff), math.random(0, 2^24 - 1), math.random(0, 2^24 - 1))
    count = 0
end
function request()
    count = count + 1
    return head .. string.format("%04x%04x-%04x-4%03x-", math.random(0, 0xffff), math.random(0, 0xffff),
        count % 65536, math.floor(count / 65536)) .. rest .. tail
end
"""
GET_SCRIPT = """
local requests, place = {{}}, 0
function init(args)
    for line in io.lines("{paths}") do
        requests[#requests + 1] = wrk.format("GET", line, {{["Authorization"] = "Bearer {token}"}})
    end
end
function request()
    place = place % #requests + 1
    return requests[place]
end
"""


def wrk(url: str, script: Path, clients: int, seconds: int) -> float:
    """Requests per second; refuses a run with answers other than 2xx."""
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", f"{seconds}s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate = _RATE.search(done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return float(rate[1])


@contextmanager
def counted_checkpoints(wal: Path) -> Iterator[set[int]]:
    """The checkpoints of a log meanwhile and the one before, by what the header of its newest segment says."""
    seen, over = {checkpoint_lsn(wal)}, threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.add(checkpoint_lsn(wal))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def checkpoint_lsn(wal: Path) -> int:
    """Where the last checkpoint stood."""
    newest = max(wal.glob("*.seg"))
    with newest.open("rb") as file:
        header = SegmentHeader.unpack(file.read(PAGE_BYTES))
    if header is None:
        raise RuntimeError(f"{newest} has no header")
    return header.checkpoint_lsn


class Bench:
    """One node, one nginx."""

    def __init__(self, directory: Path, node: NodeProcess, nginx: Nginx, seconds: int) -> None:
        self.directory, self.node, self.nginx, self.seconds = directory, node, nginx, seconds
        self.token = node.token(exp=int(time.time()) + 86400)
        self.reference_url = f"http://127.0.0.1:{nginx.port}"
        self.runs = 0
        self.checkpoints: list[int] = []
        self.kept = self._keep()

    def _keep(self) -> tuple[Path, Path]:
        """The same number of files of the same size on both sides, to be downloaded in turn."""
        ours, theirs = self.directory / "ours.txt", self.directory / "theirs.txt"
        session = self.node.session()
        ids = [
            session.put_file(os.urandom(SIZE_BYTES), retention_policy="permanent").json()["file_id"]
            for _ in range(KEPT)
        ]
        ours.write_text("".join(f"/api/v1/files/{file_id}/download\n" for file_id in ids))
        for number in range(KEPT):
            (self.nginx.files / f"kept-{number}").write_bytes(os.urandom(SIZE_BYTES))
        theirs.write_text("".join(f"/kept-{number}\n" for number in range(KEPT)))
        return ours, theirs

    def _put(self, url: str, prefix: str, clients: int) -> float:
        self.runs += 1
        attributes = attributes_header(
            {
                "original_filename": "measurement.bin",
                "retention_policy": "permanent",
                "tags": ["a", "b"],
            }
        )
        script = self.directory / "put.lua"
        script.write_text(
            PUT_SCRIPT.format(
                size=SIZE_BYTES,
                seed=self.runs * 100_003 + os.getpid(),
                prefix=prefix,
                token=self.token,
                attributes=attributes,
            )
        )
        return wrk(url, script, clients, self.seconds)

    def put(self, clients: int) -> float:
        """The node's uploads per second."""
        with counted_checkpoints(self.node.data_dir / "wal") as seen:
            rate = self._put(self.node.base_url, "/api/v1/files/", clients)
        self.checkpoints.append(len(seen) - 1)
        return rate

    def reference_put(self, clients: int) -> float:
        """nginx's, each run into a directory of its own."""
        return self._put(self.reference_url, f"/put-{self.runs}/", clients)

    def _get(self, url: str, paths: Path) -> float:
        script = self.directory / "get.lua"
        script.write_text(GET_SCRIPT.format(paths=paths, token=self.token))
        return wrk(url, script, GET_CLIENTS, self.seconds)

    def get(self) -> float:
        """The node's downloads per second."""
        return self._get(self.node.base_url, self.kept[0])

    def reference_get(self) -> float:
        """nginx's."""
        return self._get(self.reference_url, self.kept[1])


def make_leaves(node: NodeProcess) -> None:
    """An element with all of its directories, as one has that was in use for a while."""
    done = node.run("init")
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    for outer in range(256):
        for inner in range(256):
            (node.data_dir / f"files/{outer:02x}/{inner:02x}").mkdir(parents=True)


def measure(bench: Bench, rounds: int) -> list[Row]:
    """The rows of small files."""
    values = alternate(
        rounds,
        {
            "nginx put 8": lambda: bench.reference_put(8),
            "put 8": lambda: bench.put(8),
            "nginx put 32": lambda: bench.reference_put(32),
            "put 32": lambda: bench.put(32),
            "nginx get": bench.reference_get,
            "get": bench.get,
        },
    )
    rows = [
        Row(
            f"node, 4 KiB durable uploads with attributes, {clients} clients",
            "/s",
            ">= 0.45 (0.65)",
            values[f"put {clients}"],
            values[f"nginx put {clients}"],
        )
        for clients in PUT_CLIENTS
    ]
    work = f"node, 4 KiB downloads, {GET_CLIENTS} clients"
    rows.append(Row(work, "/s", ">= 0.4 (0.6)", values["get"], values["nginx get"]))
    return rows


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    with scratch("node-small") as directory:
        certificates, issuer = Certificates.make(directory / "certs"), Issuer.make()
        environment = {
            "SE_INSECURE_LOOPBACK": "1",
            "SE_MAX_CAPACITY": "50GiB",
            "SE_LOG_SIZE": LOG_SIZE,
        }
        node = NodeProcess(directory / "node", certificates, issuer, "bench", environment)
        if not arguments.fresh:
            make_leaves(node)
        with (
            Nginx(
                directory / "nginx", certificates.cert, certificates.key, free_port(), free_port()
            ) as nginx,
            node,
        ):
            bench = Bench(directory, node, nginx, arguments.seconds)
            rows = measure(bench, arguments.rounds)
    where = "a new element" if arguments.fresh else "an element whose directories are there"
    remarks = [
        f"the node: {where}; both on one filesystem",
        "nginx: one worker, WebDAV PUT neither durable nor with attributes, its access log on; the node logs each request as JSON",
        f"the node's log: SE_LOG_SIZE={LOG_SIZE}; checkpoints during the uploads: {sum(bench.checkpoints)} in all, {min(bench.checkpoints)} to {max(bench.checkpoints)} per run",
    ]
    report("node-small", rows, remarks)


if __name__ == "__main__":
    main()

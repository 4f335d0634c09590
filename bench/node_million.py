"""A node with very many files: how fast it starts, lists and rebuilds its index, and what memory that takes.

    python -m bench.node_million [--files 1000000] [--rebuild-files 100000] [--sizes 10000,100000]

Starts and listings are measured on an index of that many files made by script (the files themselves play no part in
either); the rebuild on real files, fewer by default because making and removing a million takes minutes.
`--rebuild-files 1000000` does that too. Start is from the launch of the process to the first "ready"; the work of Python's own
start is in it. How cost grows is told by the same measurements at the smaller sizes.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import node_directory
from bench.node_directory import Content
from bench.node_transfer import resident_mib
from bench.rounds import Row, report, scratch
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess, free_port

STARTS = 5
PAGE = 1000
ENDS = 50
LISTINGS = 3
_TO_BE_FILLED = {"SE_INSECURE_LOOPBACK": "1", "SE_MAX_CAPACITY": "50GiB", "SE_LOG_LEVEL": "warning"}


@dataclass
class Ground:
    """Where nodes are made, and their certificates and keys."""

    directory: Path
    certificates: Certificates
    issuer: Issuer

    def node(self, name: str) -> NodeProcess:
        """A node, not started."""
        return NodeProcess(
            self.directory / name, self.certificates, self.issuer, "bench", _TO_BE_FILLED
        )


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def starts(node: NodeProcess, end: Callable[[], object]) -> list[float]:
    """Seconds to ready, each after the node was ended in this way with a few changes to replay."""
    seconds = []
    for _ in range(STARTS):
        session = node.session()
        for _ in range(20):
            session.put_file(b"x" * 4096, retention_policy="permanent").raise_for_status()
        end()
        seconds.append(timed(node.start))
    return seconds


@dataclass
class Listing:
    """One pass over everything: how many files, how long, and each page's seconds."""

    files: int
    seconds: float
    pages: list[float]

    @property
    def last_to_first(self) -> float:
        """The last full pages against the first ones."""
        full = self.pages[:-1]
        return statistics.median(full[-ENDS:]) / statistics.median(full[:ENDS])


def list_all(node: NodeProcess) -> Listing:
    """Pages of a thousand over one connection. The client only counts and looks for the cursor: parsing is not the node's cost."""
    pages, files, cursor = [], 0, ""
    connection = node.session()
    began = time.perf_counter()
    while True:
        page_began = time.perf_counter()
        raw = connection.get(f"/api/v1/files?limit={PAGE}{cursor}").content
        pages.append(time.perf_counter() - page_began)
        files += raw.count(b'"checksum": "')
        found = re.search(rb'"next_cursor": "([^"]+)"', raw[-200:])
        if found is None:
            return Listing(files, time.perf_counter() - began, pages)
        cursor = f"&cursor={found[1].decode()}"


def listing_rows(node: NodeProcess, count: int) -> list[Row]:
    """Rate of a whole listing, its last pages against its first, and the memory it takes."""
    assert node.process is not None
    before = resident_mib(node.process.pid)
    listings = [list_all(node) for _ in range(LISTINGS)]
    after = resident_mib(node.process.pid)
    assert all(listing.files >= count for listing in listings)
    return [
        Row(
            f"node, listing all of {count:,} files",
            "files/s",
            ">= 100000",
            [listing.files / listing.seconds for listing in listings],
        ),
        Row(
            f"node, the last pages of {count:,} files against the first",
            "x",
            "<= 1.2",
            [listing.last_to_first for listing in listings],
            note=f"medians of {ENDS} pages of {PAGE}",
        ),
        Row(
            f"node, memory added by listing {count:,} files {LISTINGS} times",
            "MiB",
            "< 64",
            [after - before],
        ),
    ]


def indexed_rows(ground: Ground, count: int) -> list[Row]:
    """Start and listing at one size."""
    node = ground.node(f"indexed-{count}")
    node.port = free_port()
    node.directory.mkdir(parents=True)
    node_directory.index_only(node.settings, Content("bench", count))
    try:
        node.start()
        assert node.process is not None
        resident = resident_mib(node.process.pid)
        sized = f"{count:,} files"
        rows = [
            Row(f"node, start with {sized}, clean", "s", "< 2", starts(node, node.stop)),
            Row(f"node, start with {sized}, after kill -9", "s", "< 2", starts(node, node.kill)),
            Row(f"node, memory after a start with {sized}", "MiB", "-", [resident]),
        ]
        return rows + listing_rows(node, count)
    finally:
        node.kill()


def rebuild_row(ground: Ground, count: int) -> Row:
    """Files per second that a rebuild of the index from attribute files takes up, the process's start included."""
    node = ground.node(f"filled-{count}")
    node.port = free_port()
    node.start()
    node.stop()
    node_directory.fill(node.data_dir, Content("bench", count))
    rates = []
    for _ in range(3):
        seconds = timed(lambda: _rebuild(node))
        rates.append(count / seconds)
    return Row(f"node, rebuild of the index from {count:,} files", "files/s", ">= 15000", rates)


def _rebuild(node: NodeProcess) -> None:
    if node.launch("rebuild-index").wait():
        raise RuntimeError(node.log()[-3000:])


def memory_row(rows: list[Row]) -> Row:
    """What the largest size has in memory more than the smallest."""
    resident = [row.values[0] for row in rows if "memory after a start" in row.work]
    work = "node, memory of the largest number of files over the smallest"
    return Row(work, "MiB", "< 64", [resident[0] - resident[-1]])


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rebuild-files", type=int, default=100_000)
    parser.add_argument("--sizes", default="100000,10000")
    arguments = parser.parse_args()
    sizes = [arguments.files, *(int(size) for size in arguments.sizes.split(",") if size)]
    with scratch("node-million") as directory:
        ground = Ground(directory, Certificates.make(directory / "certs"), Issuer.make())
        rows: list[Row] = []
        for count in sizes:
            sys.stderr.write(f"  {count:,} files\n")
            rows += indexed_rows(ground, count)
        rows.append(memory_row(rows))
        sys.stderr.write(f"  rebuild of {arguments.rebuild_files:,} files\n")
        rows.append(rebuild_row(ground, arguments.rebuild_files))
    remark = "start: from launching the process to the first ready answer, 20 uploads to replay after a kill"
    report("node-million", rows, [remark])


if __name__ == "__main__":
    main()

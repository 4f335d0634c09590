"""Builds the directory of a storage node with any number of files in it, faster than uploading them would.

`fill` writes real files (bytes and attributes), of which the node then makes its index: what a start, a rebuild or a
download is measured on. `index_only` has the engine's own rebuild read the same attributes from here instead of from
disk: all that a listing needs, in a fraction of the time. A file's content depends on its element and number only.
Needs no Django.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from storage_node import config, directory
from storage_node.attributes import DELETED, FileAttributes, UploadDraft
from storage_node.disk import Disk, Leaf
from storage_node.medium import Medium
from storage_node.names import attributes_path, content_path
from storage_node.store import Store

LEAVES = 65_536
_PROCESSES = 2
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_NAMES = (
    "annual_report-{0}.pdf",
    "Приказ №{0} «о сроках».docx",
    "model-weights-{0}.safetensors",
    "measurement {0}.csv",
    "сборка-{0}.tar.gz",
)
_TAGS = ("release", "отчёт", "nightly", "customer", "signed", "draft")


@dataclass(frozen=True)
class Content:
    """Which files to make: `count` of them, with ids that depend on `storage_id`."""

    storage_id: str
    count: int


def file_at(content: Content, number: int) -> tuple[FileAttributes, bytes]:
    """One file: attributes of the usual variety, and its few bytes."""
    body = f"{content.storage_id} {number}\n".encode()
    at = _BEGAN + timedelta(seconds=number)
    temporary = number % 4 == 0
    draft = UploadDraft(
        file_id=_file_id(content, number),
        uploaded_by=f"sa_pipeline_{number % 40}",
        original_filename=_NAMES[number % len(_NAMES)].format(number),
        content_type=("application/pdf", "text/csv", "application/octet-stream")[number % 3],
        description=f"Made by job {number} for customer {number % 977}" if number % 3 else None,
        tags=tuple(_TAGS[(number + step) % len(_TAGS)] for step in range(number % 4)),
        metadata={"job": number, "site": f"s{number % 17}", "ok": True} if number % 2 else {},
        retention_policy="temporary" if temporary else "permanent",
        ttl_days=3650 if temporary else None,
    )
    made = FileAttributes.of_upload(draft, len(body), hashlib.sha256(body).hexdigest(), at)
    # One in fifty was deleted and not collected yet: listings hold those too.
    return (replace(made.deleted(at), status=DELETED) if number % 50 == 49 else made), body


def _file_id(content: Content, number: int) -> UUID:
    """Spread evenly over the leaves, in their order: a leaf is filled once and left."""
    leaf = number * LEAVES // content.count
    rest = hashlib.sha256(f"{content.storage_id}/{number}".encode()).digest()[:14]
    return UUID(bytes=leaf.to_bytes(2, "big") + rest, version=4)


def fill(data_dir: Path, content: Content) -> None:
    """Write the files below an initialised data directory. Not synced: a bench has no power cut."""
    share = -(-content.count // _PROCESSES)
    starts = range(0, content.count, share)
    with ProcessPoolExecutor(_PROCESSES) as pool:
        parts = [
            pool.submit(
                _fill_part, data_dir, content, range(start, min(start + share, content.count))
            )
            for start in starts
        ]
        for part in parts:
            part.result()


def _fill_part(data_dir: Path, content: Content, numbers: range) -> None:
    made = ""
    for attributes, body in _files(content, numbers):
        path = content_path(attributes.file_id, attributes.stored_name)
        leaf = path.rpartition("/")[0]
        if leaf != made:
            (data_dir / leaf).mkdir(parents=True, exist_ok=True)
            made = leaf
        _write(data_dir / path, body)
        _write(
            data_dir / attributes_path(attributes.file_id, attributes.stored_name),
            attributes.file_bytes,
        )


def _files(content: Content, numbers: range) -> Iterator[tuple[FileAttributes, bytes]]:
    for number in numbers:
        yield file_at(content, number)


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    os.write(fd, data)
    os.close(fd)


class _Generated(Disk):
    """Tells the engine's rebuild of files that were never written."""

    def __init__(self, medium: Medium, content: Content) -> None:
        super().__init__(medium)
        self._content = content
        self._file: FileAttributes | None = None

    def leaf_paths(self) -> Iterator[str]:
        yield from map(str, range(self._content.count))

    def leaf(self, path: str) -> Leaf:
        self._file = file_at(self._content, int(path))[0]
        return Leaf(path, frozenset(("content",)), frozenset(("content",)), frozenset())

    def glance_at(self, _path: str) -> None:
        """There is no file to look at."""

    def read_attributes(self, path: str) -> FileAttributes:
        assert self._file is not None, path
        return self._file


def index_only(environment: Mapping[str, str], content: Content) -> None:
    """Give the node of this SE_* environment, which is not running, an index of files that are not there."""
    settings = config.read_for_shell(environment)
    # No other process could tell of files that are made up here.
    options = replace(config.store_options(settings), init=True, index_readers=0)
    claimed = directory.claim(options, datetime.now(UTC))
    claimed.disk = _Generated(claimed.disk.medium, content)
    Store.open(claimed, datetime.now(UTC), rebuild=True).close()


def main() -> None:
    """`python -m bench.node_directory DATA_DIR STORAGE_ID COUNT` fills an initialised directory."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("storage_id")
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    began = time.monotonic()
    fill(given.data_dir, Content(given.storage_id, given.count))
    seconds = time.monotonic() - began
    sys.stdout.write(f"{given.count} files in {seconds:.0f} s\n")


if __name__ == "__main__":
    main()

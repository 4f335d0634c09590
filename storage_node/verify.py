"""Checking every file of a directory against its attributes without changing anything; needs no lock and no settings.

What `docs/verify_directory.py` does without the package, plus a look at the log: changes in it may not be in the files yet.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from storage_node.attributes import ACTIVE, AttributesCorrupt
from storage_node.directory import Identity
from storage_node.disk import NODE_FILE, Disk, Leaf
from storage_node.errors import RefusedToStart
from storage_node.medium import Medium
from storage_node.names import ATTRIBUTES_SUFFIX
from storage_node.wal_scan import scan

_PIECE_BYTES = 2**20


def verify(directory: Path, say: Callable[[str], object]) -> int:
    """Says what is wrong, one line each, then a summary; returns how many findings. `RefusedToStart` for no such directory."""
    try:
        medium = Medium(directory)
    except OSError as error:
        raise RefusedToStart(f"{directory} can not be opened: {error.strerror}.") from error
    try:
        say(_about_log(medium))
        disk = Disk(medium)
        files = findings = 0
        for path in disk.leaf_paths():
            leaf = disk.leaf(path)
            files += len(leaf.attributes)
            for finding in _findings(disk, leaf):
                findings += 1
                say(finding + "\n")
        say(f"{files} files checked, {findings} findings\n")
        return findings
    except OSError as error:
        raise RefusedToStart(f"{directory} can not be read: {error}.") from error
    finally:
        medium.close()


def _about_log(medium: Medium) -> str:
    if not medium.exists(NODE_FILE):
        return "no node.json: this is a copy or not a node's directory\n"
    identity = Identity.from_json(medium.read(NODE_FILE))
    try:
        found = scan(medium, identity.log_id)
    except RefusedToStart as refusal:
        return f"log: {refusal.message}\n"
    waiting = found.last_lsn - found.checkpoint_lsn
    return (
        f"log not replayed: {waiting} records may not be in the files yet\n"
        if waiting
        else "log: nothing to replay\n"
    )


def _findings(disk: Disk, leaf: Leaf) -> Iterator[str]:
    for name in sorted(leaf.contents - leaf.attributes):
        yield f"orphaned_file {leaf.path}/{name}"
    for name in sorted(leaf.attributes):
        path = f"{leaf.path}/{name}"
        try:
            file = disk.read_attributes(path + ATTRIBUTES_SUFFIX)
        except AttributesCorrupt as corrupt:
            yield f"corrupt_attributes {path}{ATTRIBUTES_SUFFIX}: {corrupt}"
            continue
        if name not in leaf.contents:
            if file.status == ACTIVE:
                yield f"missing_file {path}"
        elif disk.content_size(file) != file.size:
            yield f"size_mismatch {path}"
        elif _checksum(disk, path) != file.checksum:
            yield f"checksum_mismatch {path}"


def _checksum(disk: Disk, path: str) -> str:
    fd = disk.medium.open_read(path)
    try:
        sum_ = hashlib.sha256()
        while piece := os.read(fd, _PIECE_BYTES):
            sum_.update(piece)
        return sum_.hexdigest()
    finally:
        os.close(fd)

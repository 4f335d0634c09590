"""Reading bytes back and hashing them: the least recently verified first, a share per run, so that all of it comes up once
per scrub period."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from storage_node.attributes import stamp
from storage_node.findings import Findings
from storage_node.index_schema import Row
from storage_node.names import content_path
from storage_node.records import Kind
from storage_node.store import Store
from storage_node.upkeep import Finding, MarkDamage, Note

_PIECE_BYTES = 2**20
_NOTED_AT_ONCE = 500
_ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class Scrub:
    """One share of scrubbing. `pace(files, bytes)` waits as the rate limit wants and says whether to go on."""

    store: Store
    findings: Findings
    now: datetime
    pace: Callable[[int, int], bool]

    def run(self) -> None:
        """Hashes files until this run's share is done; their dates are noted in the index."""
        share_bytes = self._share_bytes()
        verified: list[str] = []
        hashed_bytes = 0
        # What this run has noted lies at or after its beginning, so every question brings new rows.
        began_seconds = int(self.now.timestamp())
        going = True
        while going and hashed_bytes <= share_bytes:
            rows = self.store.element.reading.least_verified(began_seconds, _ROWS_AT_ONCE)
            for row in rows:
                going = self._verify(row, verified)
                hashed_bytes += row.size
                if not going or hashed_bytes > share_bytes:
                    break
            self._note(verified)
            if not rows or not self._moved_on(rows):
                break

    def _moved_on(self, rows: list[Row]) -> bool:
        """Whether the first row is no longer first: a file that can not be noted must not be hashed for ever."""
        again = self.store.element.reading.least_verified(int(self.now.timestamp()), 1)
        return not again or again[0].seq != rows[0].seq

    def _share_bytes(self) -> int:
        options = self.store.element.options
        active_bytes = self.store.totals()["active"]["bytes"]
        return int(
            active_bytes
            * min(1.0, options.reconcile_interval_seconds / options.scrub_period_seconds)
        )

    def _verify(self, row: Row, verified: list[str]) -> bool:
        """Hashes one file; false when the run was told to stop."""
        outcome = hash_of(self.store, row, self.pace)
        if outcome is None:
            return False
        self.findings.hashed(outcome.size_bytes)
        if outcome.is_gone or outcome.checksum == _wanted(row):
            verified.append(str(row.file_id))
            return True
        mark_mismatch(self.store, row, self.findings, self.now)
        return True

    def _note(self, verified: list[str]) -> None:
        for start in range(0, len(verified), _NOTED_AT_ONCE):
            facts = {"at": stamp(self.now), "file_ids": verified[start : start + _NOTED_AT_ONCE]}
            self.store.submit(Note(Kind.VERIFIED, facts, self.now)).result()
        verified.clear()


@dataclass(frozen=True, slots=True)
class Hashed:
    """What hashing a file gave; `is_gone` when it went away meanwhile."""

    checksum: str
    size_bytes: int
    is_gone: bool = False


def hash_of(store: Store, row: Row, pace: Callable[[int, int], bool]) -> Hashed | None:
    """Reads a file without filling the page cache with it; None when told to stop."""
    try:
        fd = store.element.disk.open_content(row.file_id, row.stored_name or "")
    except FileNotFoundError:
        return Hashed("", 0, is_gone=True)
    sum_, offset = hashlib.sha256(), 0
    try:
        while piece := _read(fd, offset):
            sum_.update(piece)
            offset += len(piece)
            if not pace(0, len(piece)):
                return None
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return Hashed(sum_.hexdigest(), offset)


def _read(fd: int, offset: int) -> bytes:
    try:
        return os.pread(fd, _PIECE_BYTES, offset)
    except OSError:
        # Unreadable bytes are wrong bytes: the hash of what came so far will not agree.
        return b""


def _wanted(row: Row) -> str:
    file = row.file
    return file.checksum if file is not None else ""


def mark_mismatch(store: Store, row: Row, findings: Findings, now: datetime) -> None:
    """The bytes are not the ones stored: said, and kept from readers."""
    finding = Finding(
        "checksum_mismatch",
        row.file_id,
        content_path(row.file_id, row.stored_name or ""),
        "other bytes than stored",
    )
    store.submit(MarkDamage(row.file_id, finding.name, now, row.revision)).result()
    findings.add(finding, "marked damaged")


def look_again(store: Store, row: Row, findings: Findings, now: datetime) -> None:
    """A damaged file whose bytes have the right length: if their hash is right too, it is whole again."""
    outcome = hash_of(store, row, lambda _files, _bytes: True)
    if outcome is None or outcome.is_gone:
        return
    findings.hashed(outcome.size_bytes)
    if outcome.checksum == _wanted(row):
        store.submit(MarkDamage(row.file_id, None, now, row.revision)).result()
    else:
        mark_mismatch(store, row, findings, now)

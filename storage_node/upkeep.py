"""The changes the element makes by itself: expire, purge, quarantine, findings, verification dates, tombstones, reports.

Asked for by garbage collection, reconcile and replay. Each checks again, in the committer's thread, that what was seen
earlier still holds; if not, it does nothing and answers so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from storage_node.attributes import ACTIVE, AttributesCorrupt, FileAttributes, encode_json, stamp
from storage_node.change import Change
from storage_node.changes import SetAttributes
from storage_node.errors import FileGone, NotFound
from storage_node.index_schema import Row
from storage_node.modes import FREES_BYTES
from storage_node.names import content_path
from storage_node.records import Kind, Record
from storage_node.redo import damage_mark, quarantine_moves


class ExpireFile(SetAttributes):
    """An active file past its time is marked expired."""

    attempted = "Expiry"
    may_use_headroom = True

    def __init__(self, file_id: UUID, now: datetime) -> None:
        super().__init__(now, file_id)
        self._id = file_id

    def decide(self) -> Record | FileAttributes:
        row = self.element.index.find(self._id)
        file = row.file if row is not None else None
        if row is None or file is None:
            raise NotFound(
                f"Expiry was refused: there is no file {self._id} with readable attributes."
            )
        if row.status != ACTIVE or file.expires_at is None or file.expires_at > self.now:
            raise FileGone(f"Expiry was refused: {self._id} is not overdue any more.", row.status)
        return Record(Kind.SET, file.expired(self.now))


class PurgeFile(Change[int | None]):
    """A file that is over gives its bytes back and leaves a tombstone. Answers the bytes really freed, None if it stays."""

    attempted = "Purge"
    may_use_headroom = True

    def __init__(self, row: Row, grace_over: datetime, now: datetime) -> None:
        super().__init__(now, row.file_id)
        self._seen = row
        self._grace_over = stamp(grace_over)
        self._freed_bytes = 0

    def decide(self) -> Record | int | None:
        row = self.element.index.find(self._seen.file_id)
        if (
            row is None
            or row.revision != self._seen.revision
            or not self._may_go(row)
            or self.element.mode.mode not in FREES_BYTES
        ):
            return None
        facts = {
            "file_id": str(row.file_id),
            "stored_name": row.stored_name,
            "status": row.status,
            "at": stamp(self.now),
        }
        return Record(Kind.PURGE, facts=facts)

    def _may_go(self, row: Row) -> bool:
        is_past_grace = row.expires_at is None or row.expires_at <= self._grace_over
        return row.status == "deleted" or (row.status == "expired" and is_past_grace)

    def apply(self) -> None:
        disk, stored_name = self.element.disk, self.record.facts["stored_name"]
        self._freed_bytes += disk.medium.size(content_path(self._seen.file_id, stored_name)) or 0
        disk.remove_file(self._seen.file_id, stored_name)

    def answer(self) -> int:
        return self._freed_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something reconcile found: its name, and the file it is about where that is known."""

    name: str
    file_id: UUID | None
    path: str | None = None
    detail: str = ""


class QuarantineFiles(Change[bool]):
    """Files that could not be explained move away with a note. Answers whether they did."""

    attempted = "Quarantine"

    def __init__(self, finding: Finding, paths: Sequence[str], place: str, now: datetime) -> None:
        super().__init__(now, finding.file_id)
        self._finding, self._paths, self._place = finding, list(paths), place
        self._bytes = 0

    def decide(self) -> Record | bool:
        medium = self.element.disk.medium
        self._paths = [path for path in self._paths if medium.exists(path)]
        if not self._paths or self._is_explained():
            return False
        finding = self._finding
        note = {
            "finding": finding.name,
            "file_id": str(finding.file_id) if finding.file_id else None,
            "at": stamp(self.now),
            "from": self._paths,
            "detail": finding.detail,
        }
        moves = [[path, f"{self._place}/{path.rsplit('/', 1)[-1]}"] for path in self._paths]
        facts = {
            # An orphan's name may claim an id that belongs to another, healthy file: the record must not speak of it.
            "file_id": note["file_id"] if finding.name != "orphaned_file" else None,
            "finding": finding.name,
            "at": note["at"],
            "place": self._place,
            "note": encode_json(note) + "\n",
            "moves": moves,
        }
        return Record(Kind.QUARANTINE, facts=facts)

    def _is_explained(self) -> bool:
        """Whether an upload gave the orphan its attributes since it was seen."""
        if self._finding.name != "orphaned_file" or self._finding.file_id is None:
            return False
        row = self.element.index.find(self._finding.file_id)
        named = row is not None and row.stored_name is not None
        return (
            named
            and content_path(self._finding.file_id, str(row.stored_name if row else ""))
            in self._paths
        )

    def prepare(self) -> None:
        self.element.disk.medium.make_directory(self._place)
        self._bytes = sum(self.element.disk.medium.size(path) or 0 for path in self._paths)

    def apply(self) -> None:
        quarantine_moves(self.element.disk, self.record)

    def answer(self) -> bool:
        self.element.capacity.add_quarantine(self._bytes)
        return True


class MarkDamage(Change[bool]):
    """A file becomes known damaged (or whole again, with finding None). Answers whether anything changed."""

    attempted = "Marking damage"
    may_use_headroom = True

    def __init__(
        self, file_id: UUID, finding: str | None, now: datetime, revision: int | None = None
    ) -> None:
        super().__init__(now, file_id)
        self._id, self._finding, self._revision = file_id, finding, revision

    def decide(self) -> Record | bool:
        row = self.element.index.find(self._id)
        if row is None or row.damage == self._finding or row.recorded_status != ACTIVE:
            return False
        if self._revision is not None and row.revision != self._revision:
            return False
        facts = {"file_id": str(self._id), "finding": self._finding, "at": stamp(self.now)}
        return Record(Kind.DAMAGE, facts=facts)

    def apply(self) -> None:
        damage_mark(self.element.disk, self.record)

    def answer(self) -> bool:
        return True


class MendRow(Change[bool]):
    """The index is made to agree with an attributes file. Answers whether it had to be."""

    attempted = "Mending the index"

    def __init__(self, path: str, file_id: UUID, now: datetime) -> None:
        super().__init__(now, file_id)
        self._path, self._id = path, file_id

    def decide(self) -> Record | bool:
        if not self.element.disk.medium.exists(self._path):
            return False
        try:
            file = self.element.disk.read_attributes(self._path)
        except AttributesCorrupt:
            return False
        row = self.element.index.find(self._id)
        if row is not None and row.file == file:
            return False
        return Record(Kind.MEND, file)

    def answer(self) -> bool:
        return True


@dataclass
class GarbageTally:
    """What garbage collection has done since the node was started; one run at a time adds to it."""

    runs: dict[str, int] = field(default_factory=lambda: {"finished": 0, "postponed": 0})
    freed_files: int = 0
    freed_bytes: int = 0

    def add(self, postponed: bool, freed_files: int, freed_bytes: int) -> None:
        """One run that was not only a look."""
        self.runs["postponed" if postponed else "finished"] += 1
        self.freed_files += freed_files
        self.freed_bytes += freed_bytes


class Note(Change[None]):
    """A record for the index alone, as it stands: verification dates, forgotten tombstones, a report."""

    attempted = "A note"
    may_use_headroom = True

    def __init__(self, kind: Kind, facts: dict[str, Any], now: datetime) -> None:
        super().__init__(now)
        self._record = Record(kind, facts=facts)

    def decide(self) -> Record | None:
        return self._record

    def answer(self) -> None:
        return None

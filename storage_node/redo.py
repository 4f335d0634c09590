"""Replay: folding the log to one final state per file and bringing the files to it. Running it again changes nothing.

Files and mode only; the index takes its own tail of the log in `store.py`. Runs before anything is served.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from storage_node.attributes import FileAttributes, encode_json
from storage_node.disk import MODE_FILE, Disk
from storage_node.modes import ModeState
from storage_node.names import attributes_path, content_path
from storage_node.records import Kind, Record
from storage_node.wal_scan import LogScan, replayed


@dataclass
class _Final:
    """LSNs of the records that decide what is left of each file, and of the mode."""

    content: dict[UUID, int] = field(default_factory=dict)
    attributes: dict[UUID, int] = field(default_factory=dict)
    names: dict[UUID, str] = field(default_factory=dict)
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Redone:
    """What a replay found: how many records, and files whose bytes are nowhere."""

    records: int
    missing: list[UUID]


def redo(disk: Disk, found: LogScan) -> Redone:
    """Brings files and mode to what the log says from the checkpoint on. `OSError` when the disk does not let it."""
    from_lsn = found.checkpoint_lsn + 1
    final = _fold(replayed(disk.medium, found, from_lsn))
    records = 0
    missing: list[UUID] = []
    for lsn, record in replayed(disk.medium, found, from_lsn):
        records += 1
        step = _STEPS.get(record.kind)
        if step is not None and not step(disk, record, lsn, final):
            missing += [record.file_id] if record.file_id else []
        if record.kind in _WRITING and record.file_id is not None:
            # Whatever it was, the files that a record stands for are in their places now.
            disk.drop_unfinished(record.file_id)
    return Redone(records, missing)


def _fold(records: Iterator[tuple[int, Record]]) -> _Final:
    """Later records about a file make earlier ones moot; only positions are kept, so a long log needs little memory."""
    final = _Final()
    for lsn, record in records:
        file_id = record.file_id
        if record.kind is Kind.MODE:
            final.mode = lsn
        if file_id is None:
            continue
        if record.kind is Kind.PUT and record.file is not None:
            final.content[file_id] = final.attributes[file_id] = lsn
            final.names[file_id] = record.file.stored_name
        elif record.kind is Kind.SET:
            final.attributes[file_id] = lsn
        elif record.kind in (Kind.PURGE, Kind.QUARANTINE):
            final.content.pop(file_id, None)
            final.attributes.pop(file_id, None)
            final.names.pop(file_id, None)
    return final


def _redo_put(disk: Disk, record: Record, lsn: int, final: _Final) -> bool:
    file = record.file
    if file is None:
        return True
    is_here = True
    if final.content.get(file.file_id) == lsn:
        disk.make_room_for_name(file.file_id)
        is_here = (
            _redo_part(disk, record.part, file)
            if record.part
            else _redo_body(disk, record.body, file)
        )
    _redo_set(disk, record, lsn, final)
    return is_here


def _redo_body(disk: Disk, body: bytes, file: FileAttributes) -> bool:
    # Compared, not trusted by its size: after a power cut a file may have its length and not yet its bytes.
    if not disk.holds(content_path(file.file_id, file.stored_name), body):
        disk.place_content(disk.write_part(body), file)
    return True


def _redo_part(disk: Disk, part: str, file: FileAttributes) -> bool:
    """Its bytes were synced before the record, so the right size means the right bytes."""
    if disk.content_size(file) == file.size:
        return True
    if disk.part_size(part) == file.size:
        disk.settle_directory(file.file_id)
        disk.place_content(part, file)
        return True
    return False


def _redo_set(disk: Disk, record: Record, lsn: int, final: _Final) -> bool:
    file = record.file
    if file is not None and final.attributes.get(file.file_id) == lsn:
        disk.make_room_for_name(file.file_id)
        if not disk.holds(attributes_path(file.file_id, file.stored_name), file.file_bytes):
            disk.put_attributes(file)
    return True


def _redo_purge(disk: Disk, record: Record, _lsn: int, final: _Final) -> bool:
    file_id, stored_name = UUID(record.facts["file_id"]), record.facts["stored_name"]
    # The id may have been given again under the same name: an earlier replay has brought those bytes here already.
    if final.names.get(file_id) != stored_name:
        disk.remove_file(file_id, stored_name)
    return True


def _redo_quarantine(disk: Disk, record: Record, _lsn: int, _final: _Final) -> bool:
    quarantine_moves(disk, record)
    return True


def _redo_damage(disk: Disk, record: Record, _lsn: int, _final: _Final) -> bool:
    damage_mark(disk, record)
    return True


def damage_mark(disk: Disk, record: Record) -> None:
    """What a damage record does beside the index; the same when it happens and when it is replayed."""
    is_whole = record.facts["finding"] is None
    disk.mark_damaged(
        UUID(record.facts["file_id"]),
        None if is_whole else (encode_json(record.facts) + "\n").encode(),
    )


def _redo_mode(disk: Disk, record: Record, lsn: int, final: _Final) -> bool:
    if final.mode == lsn:
        state = ModeState(**{**record.facts, "history": tuple(record.facts["history"])})
        if not disk.holds(MODE_FILE, state.to_json()):
            disk.write_whole(MODE_FILE, state.to_json())
    return True


def quarantine_moves(disk: Disk, record: Record) -> None:
    """What a quarantine record does to files; the same when it happens and when it is replayed."""
    moves = [(source, target) for source, target in record.facts["moves"]]
    disk.move_to_quarantine(record.facts["place"], moves, record.facts["note"].encode())


_WRITING = (Kind.PUT, Kind.SET, Kind.PURGE)
_STEPS: dict[Kind, Callable[[Disk, Record, int, _Final], bool]] = {
    Kind.PUT: _redo_put,
    Kind.SET: _redo_set,
    Kind.PURGE: _redo_purge,
    Kind.QUARANTINE: _redo_quarantine,
    Kind.DAMAGE: _redo_damage,
    Kind.MODE: _redo_mode,
}

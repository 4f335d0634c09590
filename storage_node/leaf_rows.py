"""The index's rows of the files of some leaves, made from their attributes files: all that a rebuild does per file but storing.

Reads only and changes nothing, so it may run in any process, which is what it is apart for: `leaf_readers.py`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from storage_node.attributes import FileAttributes, stamp
from storage_node.disk import FILES, Disk, Leaf
from storage_node.index_schema import Row, row_of, row_of_unreadable
from storage_node.names import ATTRIBUTES_SUFFIX, id_in_name

# As `Row.values` without `seq` and `change`, which only who numbers all rows knows. Plain, to be sent between processes.
FoundRow = tuple[Any, ...]
# Rows in order of leaf and name; the newest change seen; paths of what was being written when the directory was copied.
Harvest = tuple[list[FoundRow], str, list[str]]
_NO_NAMES = ("", ".", "..")


def found_row(row: Row) -> FoundRow:
    """A row that is still to be numbered."""
    values = row.values()
    return values[1], *values[3:]


def numbered(found: FoundRow, number: int) -> Row:
    """The row it becomes."""
    return Row.of((number, found[0], number, *found[1:]))


def harvest(disk: Disk, paths: Iterable[str]) -> Harvest:
    """What the leaves at `paths` hold. `OSError` where one can not be read."""
    rows: list[FoundRow] = []
    unfinished: list[str] = []
    newest_at = ""
    for path in paths:
        leaf = disk.leaf(path)
        unfinished += [f"{path}/{name}" for name in leaf.unfinished]
        for name in sorted(leaf.attributes):
            row, updated_at = _at_a_glance(disk, leaf, name) or _read(disk, leaf, name)
            if row is not None:
                rows.append(row)
            newest_at = max(newest_at, updated_at)
    return rows, newest_at, unfinished


def _at_a_glance(disk: Disk, leaf: Leaf, name: str) -> tuple[FoundRow, str] | None:
    """The everyday file: it has its bytes, and attributes as this program writes them. None for any other."""
    if name not in leaf.contents:
        return None
    path = f"{leaf.path}/{name}{ATTRIBUTES_SUFFIX}"
    seen = disk.glance_at(path)
    if seen is None:
        return None
    digits, status, size = seen.id_text.replace("-", ""), seen.status, seen.size
    if (
        seen.stored_name != name
        or leaf.path != f"{FILES}/{digits[:2]}/{digits[2:4]}"
        or name in _NO_NAMES
    ):
        return None
    described = (status, status, size, size, seen.revision, seen.expires_at)
    return (bytes.fromhex(digits), *described, 0, None, name, seen.wire_json), seen.updated_at


def _read(disk: Disk, leaf: Leaf, name: str) -> tuple[FoundRow | None, str]:
    """Any file: its row, if it can be told whose it is, and when it was changed, if that can be read."""
    try:
        file = disk.read_attributes(f"{leaf.path}/{name}{ATTRIBUTES_SUFFIX}")
        row = _row(file, name in leaf.contents)
        # JSON can say what nobody can be answered with: numbers that are none, halves of surrogate pairs.
        row.body.encode()
    except ValueError:
        # `AttributesCorrupt` among them.
        unreadable = _unreadable(name)
        return (None if unreadable is None else found_row(unreadable)), ""
    return found_row(row), stamp(file.updated_at)


def _row(file: FileAttributes, is_here: bool) -> Row:
    if is_here:
        return row_of(file, 0, 0)
    # Deleted or expired without bytes is an unfinished purge, which garbage collection ends.
    row = row_of(file, 0, 0, "missing_file" if file.status == "active" else None)
    return replace(row, held=0)


def _unreadable(name: str) -> Row | None:
    claimed = id_in_name(name)
    return row_of_unreadable(claimed, 0, 0, "corrupt_attributes", name) if claimed else None

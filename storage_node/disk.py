"""Where files lie in the data directory, and the steps that put them there, read them and take them away.

Steps only: in which order they run, and what is durable when, is decided in `store.py`, `changes.py` and `redo.py`. The
raw operations are `medium.py`; the log has its own paths in `wal.py`.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from storage_node.attributes import AttributesCorrupt, FileAttributes
from storage_node.attributes_text import Glance, glance
from storage_node.medium import Medium
from storage_node.names import (
    ATTRIBUTES_SUFFIX,
    attributes_path,
    content_path,
    id_in_name,
    is_unfinished,
    unfinished_path,
)

FILES, INCOMING, QUARANTINE = "files", "incoming", "quarantine"
NODE_FILE, MODE_FILE, KEYS_FILE = "node.json", "mode.json", "jwks.json"
NOTE = "note.json"
_MARK_SUFFIX = ".note.json"
_HEX = frozenset("0123456789abcdef")
# Attributes are larger only with escapes or keys of a later format.
_LOOK_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one `files/ab/cd` holds: names of contents, of attributes without their suffix, and of what is being written."""

    path: str
    contents: frozenset[str]
    attributes: frozenset[str]
    unfinished: frozenset[str]


class Disk:
    """The files of one storage element."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        # One bit per ab/cd: asking the kernel for each upload whether its directory is there costs more than the rename.
        self._made = bytearray(65536)
        self._made_outer = bytearray(256)
        self._free_bytes: int | None = None
        self._settled = bytearray(65536)

    # Room

    def look_again(self) -> None:
        """What was found free is not to be relied on any more: something may have been written since."""
        self._free_bytes = None

    def free_bytes(self) -> int:
        """What is free, asked once until `look_again`."""
        if self._free_bytes is None:
            self._free_bytes = self.medium.free_bytes()
        return self._free_bytes

    # Parts: what is not a file yet

    def new_part(self) -> tuple[str, int]:
        """(name, descriptor) of an empty part."""
        name = secrets.token_hex(16)
        return name, self.medium.open_new(f"{INCOMING}/{name}")

    def write_part(self, data: bytes) -> str:
        """A part with `data`, unsynced; nothing stays on failure."""
        name = secrets.token_hex(16)
        self.medium.create(f"{INCOMING}/{name}", data)
        return name

    def drop_part(self, name: str) -> None:
        """Removes a part; fine if it is gone."""
        self.medium.unlink(f"{INCOMING}/{name}")

    def part_size(self, name: str) -> int | None:
        """Bytes in a part, None where there is none."""
        return self.medium.size(f"{INCOMING}/{name}")

    def parts(self) -> list[str]:
        """Names of all parts."""
        return self.medium.names(INCOMING)

    def sync_parts(self) -> None:
        """Returns when the names of all parts are on the medium."""
        self.medium.sync_directory(INCOMING)

    # Files

    def make_room_for_name(self, file_id: UUID) -> None:
        """Makes the directory a file will be renamed into, with its parent."""
        digits = file_id.hex[:4]
        slot = int(digits, 16)
        if not self._made[slot]:
            if not self._made_outer[slot >> 8]:
                self.medium.make_directory(f"{FILES}/{digits[:2]}")
                self._made_outer[slot >> 8] = 1
            self.medium.make_directory(f"{FILES}/{digits[:2]}/{digits[2:]}")
            self._made[slot] = 1

    def settle_directory(self, file_id: UUID) -> None:
        """Returns when the directory a file will be renamed into is itself on the medium: a synced part moved into one that
        a power cut then takes away would be lost with it. A body inside a log record needs no such care."""
        digits = file_id.hex[:4]
        slot = int(digits, 16)
        if not self._settled[slot]:
            self.medium.sync_directory(FILES)
            self.medium.sync_directory(f"{FILES}/{digits[:2]}")
            self._settled[slot] = 1

    def place_content(self, part: str, file: FileAttributes) -> None:
        """A part becomes the file's content."""
        self.medium.rename(f"{INCOMING}/{part}", content_path(file.file_id, file.stored_name))

    def place_attributes(self, part: str, file: FileAttributes) -> None:
        """A part becomes the file's attributes, replacing older ones in one step."""
        self.medium.rename(f"{INCOMING}/{part}", attributes_path(file.file_id, file.stored_name))

    def put_file(self, file: FileAttributes, body: bytes) -> None:
        """Content, then attributes, each in one step: for a body that a durable record holds as well."""
        self._put_whole(file.file_id, content_path(file.file_id, file.stored_name), body)
        self.put_attributes(file)

    def put_attributes(self, file: FileAttributes) -> None:
        """Replaces a file's attributes in one step, for a durable record that holds them as well."""
        path = attributes_path(file.file_id, file.stored_name)
        self._put_whole(file.file_id, path, file.file_bytes)

    def _put_whole(self, file_id: UUID, path: str, data: bytes) -> None:
        """Written under a name of its own, then renamed: whoever looks finds all of it, what was there before, or nothing.

        The temporary name is beside the file and always the same: replay removes whatever was left of it. Not in
        `incoming/`, because ext4 looks for a free inode near the directory a file is made in and passes over those freed
        in the last minutes one by one: replacing many files through one directory gets slower with each of them.
        """
        unfinished = unfinished_path(file_id)
        self.medium.put(unfinished, data)
        self.medium.rename(unfinished, path)

    def drop_unfinished(self, file_id: UUID) -> None:
        """Removes what a kill or a power cut left under the temporary name; fine if there is nothing."""
        self.medium.unlink(unfinished_path(file_id))

    def remove_file(self, file_id: UUID, stored_name: str) -> None:
        """Bytes first, attributes last: attributes without bytes are an unfinished purge, bytes alone would be an orphan."""
        self.medium.unlink(content_path(file_id, stored_name))
        self.medium.unlink(attributes_path(file_id, stored_name))
        self.mark_damaged(file_id, None)

    def content_size(self, file: FileAttributes) -> int | None:
        """Bytes the file's content has on disk, None where there is none."""
        return self.medium.size(content_path(file.file_id, file.stored_name))

    def holds(self, path: str, data: bytes) -> bool:
        """Whether the file at `path` is exactly `data`."""
        return self.medium.size(path) == len(data) and self.medium.read(path) == data

    def open_content(self, file_id: UUID, stored_name: str) -> int:
        """A descriptor for reading the bytes."""
        return self.medium.open_read(content_path(file_id, stored_name))

    def read_attributes(self, path: str) -> FileAttributes:
        """The attributes in the file at `path`; `AttributesCorrupt` when they are not, or not this file's."""
        try:
            file = FileAttributes.from_json(self.medium.read(path))
        except UnicodeDecodeError as error:
            raise AttributesCorrupt(str(error)) from None
        if attributes_path(file.file_id, file.stored_name) != path:
            raise AttributesCorrupt("they name another file")
        return file

    def glance_at(self, path: str) -> Glance | None:
        """What can be told of a file in one look at the attributes file at `path`; None where it has to be read."""
        raw = self.medium.read_start(path, _LOOK_BYTES)
        return glance(raw) if len(raw) < _LOOK_BYTES else None

    def traces_of(self, file_id: UUID) -> list[str]:
        """Paths under `files/` whose names claim this id."""
        leaf = f"{FILES}/{file_id.hex[:2]}/{file_id.hex[2:4]}"
        return [f"{leaf}/{name}" for name in self.medium.names(leaf) if id_in_name(name) == file_id]

    def leaf_paths(self) -> Iterator[str]:
        """Every `files/ab/cd`, in order."""
        for outer in self.medium.names(FILES):
            if _is_digits(outer):
                yield from (
                    f"{FILES}/{outer}/{inner}"
                    for inner in self.medium.names(f"{FILES}/{outer}")
                    if _is_digits(inner)
                )

    def leaf(self, path: str) -> Leaf:
        """What one directory of files holds."""
        contents, attributes, unfinished = set(), set(), set()
        for name in self.medium.all_names(path):
            if name.endswith(ATTRIBUTES_SUFFIX):
                attributes.add(name.removesuffix(ATTRIBUTES_SUFFIX))
            elif name[0] == "." and is_unfinished(name):
                unfinished.add(name)
            else:
                contents.add(name)
        return Leaf(path, frozenset(contents), frozenset(attributes), frozenset(unfinished))

    def strays(self) -> Iterator[str]:
        """Paths directly in `files/` or `files/ab/` that are no directory of the layout."""
        for outer, outer_is_directory in self.medium.entries(FILES):
            if not outer_is_directory or not _is_digits(outer):
                yield f"{FILES}/{outer}"
                continue
            for inner, inner_is_directory in self.medium.entries(f"{FILES}/{outer}"):
                if not inner_is_directory or not _is_digits(inner):
                    yield f"{FILES}/{outer}/{inner}"

    # Quarantine

    def move_to_quarantine(self, place: str, moves: list[tuple[str, str]], note: bytes) -> None:
        """Moves whatever of `moves` is still at its old path, and writes the note; doing it again changes nothing."""
        self.medium.make_directory(place)
        # What moves into a directory that a power cut takes away would be lost with it.
        self.medium.sync_directory(QUARANTINE)
        if self.medium.size(f"{place}/{NOTE}") is None:
            self.write_whole(f"{place}/{NOTE}", note)
        for source, target in moves:
            if self.medium.exists(source):
                self.medium.rename(source, target)

    def mark_damaged(self, file_id: UUID, note: bytes | None) -> None:
        """Leaves a note about a file that stays where it is, or (None) takes it away: the mark outlives the index."""
        path = f"{QUARANTINE}/{file_id}{_MARK_SUFFIX}"
        if note is None:
            self.medium.unlink(path)
        elif not self.holds(path, note):
            self.write_whole(path, note)

    def notes(self) -> Iterator[dict[str, Any]]:
        """The readable notes of the quarantine, marks of files that were not moved included."""
        for name in self.medium.names(QUARANTINE):
            path = (
                f"{QUARANTINE}/{name}"
                if name.endswith(_MARK_SUFFIX)
                else f"{QUARANTINE}/{name}/{NOTE}"
            )
            try:
                note = json.loads(self.medium.read(path))
            except (OSError, ValueError):
                continue
            if isinstance(note, dict):
                yield note

    def quarantine_bytes(self) -> int:
        """What the quarantine takes."""
        total = 0
        for name in self.medium.names(QUARANTINE):
            place = f"{QUARANTINE}/{name}"
            total += sum(
                self.medium.size(f"{place}/{inner}") or 0 for inner in self.medium.names(place)
            )
        return total

    # Small files of the directory itself

    def write_whole(self, path: str, data: bytes) -> None:
        """Replaces a small file in one step; the bytes are synced before the name."""
        part = f"{INCOMING}/{secrets.token_hex(16)}"
        fd = self.medium.open_new(part)
        try:
            self.medium.write(fd, data)
            self.medium.sync(fd)
        except OSError:
            self.medium.unlink(part)
            raise
        finally:
            self.medium.close_file(fd)
        self.medium.rename(part, path)


def _is_digits(name: str) -> bool:
    return len(name) == 2 and set(name) <= _HEX

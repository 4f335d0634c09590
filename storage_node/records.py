"""What one entry of the redo log says, and its bytes. Each record tells a result, never a way to undo it.

`docs/on-disk-format.md` is the contract. Pure values: how records reach the disk is `wal.py`, what they do to files is
`disk.py` and `redo.py`, what they do to the index is `index.py`.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self
from uuid import UUID

from storage_node.attributes import FileAttributes, encode_json

_HEAD = struct.Struct("<B3xIII")


class Kind(IntEnum):
    """What a record does; the numbers are on disk."""

    PUT = 1
    SET = 2
    PURGE = 3
    TOMBSTONE = 4
    MODE = 5
    QUARANTINE = 6
    VERIFIED = 7
    DAMAGE = 8
    MEND = 9
    FORGET = 10
    REPORT = 11


@dataclass(frozen=True, slots=True)
class Record:
    """One change. `file` with PUT, SET, MEND; `facts` as the format page lists them per kind."""

    kind: Kind
    file: FileAttributes | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""

    @property
    def file_id(self) -> UUID | None:
        """The file this record is about, where it is about one."""
        if self.file is not None:
            return self.file.file_id
        text = self.facts.get("file_id")
        return UUID(text) if isinstance(text, str) else None

    @property
    def part(self) -> str | None:
        """The name under `incoming/` that holds a PUT's body, None when the body is inside."""
        name = self.facts.get("part")
        return name if isinstance(name, str) else None

    def encode(self) -> list[bytes]:
        """The record's bytes, in pieces so that a body is not copied."""
        facts = encode_json(self.facts).encode() if self.facts else b""
        attributes = self.file.file_bytes if self.file is not None else b""
        return [
            _HEAD.pack(self.kind, len(facts), len(attributes), len(self.body)),
            facts,
            attributes,
            self.body,
        ]

    @classmethod
    def decode(cls, raw: memoryview) -> tuple[Self, int]:
        """The record at the beginning of `raw`, and its length; ValueError when it is none."""
        if len(raw) < _HEAD.size:
            raise ValueError("a record is cut short")
        number, facts_bytes, attributes_bytes, body_bytes = _HEAD.unpack_from(raw)
        facts_end = _HEAD.size + facts_bytes
        attributes_end = facts_end + attributes_bytes
        end = attributes_end + body_bytes
        if end > len(raw):
            raise ValueError("a record is cut short")
        facts = json.loads(bytes(raw[_HEAD.size : facts_end])) if facts_bytes else {}
        attributes = bytes(raw[facts_end:attributes_end])
        file = FileAttributes.from_json(attributes) if attributes else None
        return cls(Kind(number), file, facts, bytes(raw[attributes_end:end])), end


def decode_all(payload: memoryview, count: int) -> list[Record]:
    """All records of a batch; ValueError when they are not exactly `count`."""
    records = []
    for _ in range(count):
        record, length = Record.decode(payload)
        records.append(record)
        payload = payload[length:]
    if len(payload):
        raise ValueError("a batch holds more than its records")
    return records

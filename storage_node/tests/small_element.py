"""A whole engine on a temporary directory, with small segments and clocks of its own: what the engine's tests hold in hand.

No mocks: real log, real files, real index. Only time is made up, and, where a test says so, the disk.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from storage_node.attributes import AttributesPatch, FileAttributes, UploadDraft
from storage_node.change import Change
from storage_node.directory import StoreOptions, claim
from storage_node.index_reading import ListQuery
from storage_node.medium import Medium
from storage_node.store import Store

KIB, MIB = 1024, 1024 * 1024
START = datetime(2026, 11, 22, 6, 0, 0, 123456, tzinfo=UTC)


@dataclass
class Clock:
    """Wall and monotonic time that only move when told."""

    moment: datetime = START
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, **span: float) -> None:
        """Both clocks go on."""
        step = timedelta(**span)
        self.moment += step
        self.seconds += step.total_seconds()


class Nothing(Change[None]):
    """Waits its turn behind everything handed over before, and does nothing."""

    is_alone = True

    def decide(self) -> None:
        return None

    def answer(self) -> None:
        return None


@dataclass
class SmallElement:
    """Opens, uses, crashes and reopens one element."""

    path: Path
    clock: Clock = field(default_factory=Clock)
    open_medium: Callable[[Path], Medium] = Medium
    settings: dict[str, Any] = field(default_factory=dict)
    store: Store = field(init=False)

    def options(self) -> StoreOptions:
        base = StoreOptions(
            data_dir=self.path,
            storage_id="se-small",
            max_capacity_bytes=64 * MIB,
            init=True,
            checkpoint_interval_seconds=3600.0,
            checkpoint_log_bytes=8 * MIB,
            segment_bytes=256 * KIB,
            headroom_bytes=64 * KIB,
            index_readers=0,
            clock=self.clock.now,
            monotonic=self.clock.monotonic,
            open_medium=self.open_medium,
        )
        return replace(base, **self.settings)

    def open(self, rebuild: bool = False, is_stopping: Callable[[], bool] = bool) -> "SmallElement":
        options = self.options()
        directory = claim(options, self.clock.now())
        try:
            self.store = Store.open(directory, self.clock.now(), rebuild, is_stopping)
        except BaseException:
            directory.close()
            raise
        return self

    def crash(self) -> None:
        """Lets go of everything without a checkpoint, as a killed process would."""
        store = self.store
        store._syncer.shutdown()
        store.committer.stop()
        store.checkpointer.stop()
        store.element.reading.close()
        store.element.index.close()
        store.element.log.close()
        store.directory.close()

    def close(self) -> None:
        self.store.close()

    def reopen(self) -> "SmallElement":
        """A kill and a start."""
        self.crash()
        return self.open()

    def __enter__(self) -> "SmallElement":
        return self

    def __exit__(self, *_: object) -> None:
        if self.store.directory.disk.medium.root >= 0:
            self.crash()

    # Doing things

    def draft(self, **members: Any) -> UploadDraft:
        given: dict[str, Any] = {
            "file_id": uuid.uuid4(),
            "uploaded_by": "tester",
            "original_filename": "a.txt",
        }
        return UploadDraft(**(given | members))

    def put(self, body: bytes = b"body", pieces: int = 1, **members: Any) -> FileAttributes:
        """Uploads and waits."""
        members.setdefault("declared_bytes", len(body))
        upload = self.store.begin_upload(self.draft(**members), self.clock.now())
        step = max(1, -(-len(body) // pieces))
        for start in range(0, len(body), step):
            upload.write(body[start : start + step])
        file = upload.commit(self.clock.now()).result().attributes
        self.settle()
        return file

    def settle(self) -> None:
        """Returns when the files of what was answered are in their places too: small ones follow a moment later."""
        self.store.submit(Nothing(self.clock.now())).result()

    def edit(self, file_id: UUID, if_revision: int | None = None, **values: Any) -> FileAttributes:
        patch = AttributesPatch(frozenset(values), **values)
        return self.store.edit(file_id, patch, if_revision, self.clock.now()).result()

    def delete(self, file_id: UUID, if_revision: int | None = None) -> FileAttributes:
        return self.store.delete(file_id, if_revision, self.clock.now()).result()

    def abandon(self, file_id: UUID) -> FileAttributes | None:
        return self.store.abandon(file_id, self.clock.now()).result()

    def mode(self, target: str, confirm: bool = False) -> None:
        self.store.transition_mode(target, confirm, "tester", self.clock.now()).result()

    def trust_clock(self) -> None:
        """A token issued now was verified."""
        self.store.note_trusted_clock(int(self.clock.now().timestamp()), self.clock.now())

    # Looking

    def body(self, file_id: UUID) -> bytes:
        with self.store.open_content(file_id, self.clock.now()) as content:
            return content.read(0, content.size_bytes + 1)

    def paths_of(self, file_id: UUID) -> tuple[Path, Path]:
        """(content, attributes) on disk."""
        file = self.store.get(file_id, self.clock.now()).attributes
        leaf = self.path / "files" / file_id.hex[:2] / file_id.hex[2:4]
        return leaf / file.stored_name, leaf / f"{file.stored_name}.attr.json"

    def names_under(self, folder: str) -> list[str]:
        return sorted(
            str(path.relative_to(self.path))
            for path in (self.path / folder).rglob("*")
            if path.is_file()
        )

    def items(self, **query: Any) -> list[str]:
        return self.store.list_page(ListQuery(**query), self.clock.now()).items

    def counts(self) -> dict[str, int]:
        return {
            status: counted["files"]
            for status, counted in self.store.totals().items()
            if counted["files"]
        }


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()

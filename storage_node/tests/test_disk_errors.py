"""Rule 7 of durability: full and failing disks, before and after the record is on disk."""

import errno
import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from storage_node import garbage
from storage_node.errors import NotWritable, OutcomeUnknown, RefusedToStart, StorageFull
from storage_node.tests.faulty_medium import FaultyMedium
from storage_node.tests.small_element import MIB, SmallElement


def faulty(path: Path, **settings: Any) -> tuple[SmallElement, FaultyMedium]:
    element = SmallElement(path, open_medium=FaultyMedium, settings=settings).open()
    medium = element.store.element.disk.medium
    assert isinstance(medium, FaultyMedium)
    return element, medium


def log_syncs_fail(operation: str, path: str) -> int:
    return errno.EIO if operation == "sync" and path.endswith(".seg") else 0


# Rule 7: errors


def test_rule_7_no_room_before_the_append_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    element, medium = faulty(tmp_path / "se")
    kept = element.put(b"kept")
    for failing in ("create", "write"):
        medium.rule = lambda operation, path, failing=failing: (  # type: ignore[misc]
            errno.ENOSPC if operation == failing and path.startswith("incoming") else 0
        )
        with pytest.raises(StorageFull):
            element.put(b"x" * 100_000)
    medium.rule = lambda operation, _path: errno.ENOSPC if operation == "mkdir" else 0
    for body in (b"small", b"x" * 100_000):
        with pytest.raises(StorageFull):
            element.put(body)
    medium.rule = lambda _operation, _path: 0
    upload = element.store.begin_upload(element.draft(), element.clock.now())
    upload.write(b"room when it began")
    medium.free = 1000
    with pytest.raises(StorageFull):
        upload.commit(element.clock.now()).result()
    with pytest.raises(StorageFull):
        element.edit(kept.file_id, description="d")
    medium.free = None
    assert element.names_under("incoming") == []
    assert element.counts() == {"active": 1}
    assert element.body(kept.file_id) == b"kept"
    assert element.put(b"room again").size == 10
    assert element.store.info(element.clock.now()).status == "ok"
    element.crash()


def test_rule_7_no_room_in_the_log_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    element, medium = faulty(tmp_path / "se")
    medium.rule = lambda operation, path: (
        errno.ENOSPC if operation == "short" and path.endswith(".seg") else 0
    )
    with pytest.raises(StorageFull):
        element.put(b"x")
    medium.rule = lambda _operation, _path: 0
    assert element.names_under("incoming") == []
    assert element.put(b"y").size == 1
    element.reopen()
    assert element.counts() == {"active": 1}
    element.crash()


@pytest.mark.parametrize("size", [7, 100_000])
def test_rule_7_after_the_append_there_is_no_507_the_change_stands_and_pins_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("storage_node.committer.RETRY_SECONDS", 0.01)
    element, medium = faulty(tmp_path / "se")
    refused = threading.Event()

    def full(operation: str, path: str) -> int:
        if operation in ("rename", "put") and path.startswith("files"):
            refused.set()
            return errno.ENOSPC
        return 0

    draft = element.draft()
    upload = element.store.begin_upload(draft, element.clock.now())
    upload.write(b"d" * size)
    medium.rule = full
    waiting = upload.commit(element.clock.now())
    assert refused.wait(10)
    while not element.store.element.health.reasons:
        refused.wait(0.001)
    assert "full" in element.store.info(element.clock.now()).status_reasons[0]
    assert element.store.element.log.checkpoint_lsn < element.store.element.log.last_lsn
    assert element.store.checkpoint()
    assert element.store.element.log.checkpoint_lsn < element.store.element.log.last_lsn
    if size < 1000:
        # Durable and answered: readers are served from memory until the file is in its place.
        assert waiting.result().created
        assert element.body(draft.file_id) == b"d" * size
        assert element.names_under("files") == []
    else:
        assert not waiting.done()
    medium.rule = lambda _operation, _path: 0
    assert waiting.result().created
    element.settle()
    assert len(element.names_under("files")) == 2
    assert element.body(draft.file_id) == b"d" * size
    assert element.store.info(element.clock.now()).status == "ok"
    element.crash()


def test_rule_7_a_full_disk_lets_deletions_and_garbage_collection_through(tmp_path: Path) -> None:
    element, medium = faulty(tmp_path / "se")
    file = element.put(b"x" * 1000)
    element.store.checkpoint()
    assert "wal/headroom" in element.names_under("wal")

    def is_full() -> bool:
        return (tmp_path / "se" / "wal" / "headroom").exists()

    def full_until_headroom_goes(operation: str, _path: str) -> int:
        return errno.ENOSPC if is_full() and operation in ("create", "write", "mkdir", "put") else 0

    medium.rule = full_until_headroom_goes
    medium.free = lambda: 0 if is_full() else 64 * MIB
    with pytest.raises(StorageFull):
        element.put(b"y")
    element.delete(file.file_id)
    with pytest.raises(StorageFull, match="disk is full"):
        element.put(b"what is left is for deletions")
    assert garbage.collect(element.store, element.clock.now(), trust_clock=True).freed_bytes == 1000
    medium.rule = lambda _operation, _path: 0
    medium.free = None
    assert element.store.checkpoint()
    assert element.put(b"y").size == 1
    assert "wal/headroom" in element.names_under("wal")
    element.crash()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
@pytest.mark.parametrize("operation", ["create", "mkdir", "write"])
def test_rule_7_a_failing_disk_before_the_append_refuses_and_degrades(
    tmp_path: Path, code: int, operation: str
) -> None:
    element, medium = faulty(tmp_path / "se")
    kept = element.put(b"kept")
    medium.rule = lambda done, path: code if done == operation and not path.startswith("wal") else 0
    with pytest.raises(NotWritable):
        element.put(b"n" * 100_000)
    medium.rule = lambda _operation, _path: 0
    with pytest.raises(NotWritable):
        element.put(b"not again before a restart")
    with pytest.raises(NotWritable):
        element.edit(kept.file_id, description="d")
    assert element.body(kept.file_id) == b"kept"
    element.reopen()
    assert element.counts() == {"active": 1}
    element.put(b"well again")
    element.crash()


def test_rule_7_a_failed_log_sync_leaves_the_outcome_open_never_507_or_503(tmp_path: Path) -> None:
    element, medium = faulty(tmp_path / "se")
    kept = element.put(b"kept")
    draft = element.draft()
    medium.rule = log_syncs_fail
    with pytest.raises(OutcomeUnknown):
        element.put(b"perhaps", file_id=draft.file_id)
    medium.rule = lambda _operation, _path: 0
    with pytest.raises(NotWritable):
        element.put(b"new")
    assert element.body(kept.file_id) == b"kept"
    assert element.store.info(element.clock.now()).status == "degraded"
    element.reopen()
    assert element.counts()["active"] in (1, 2)
    element.crash()


def test_rule_5_a_segment_whose_name_could_not_be_synced_ends_all_appends(tmp_path: Path) -> None:
    """Found by the drill: a checkpoint had failed there, an append to the segment before it was acknowledged, and lost."""
    element, medium = faulty(tmp_path / "se")
    file = element.put(b"kept")
    medium.rule = lambda operation, path: (
        errno.EIO if operation == "syncdir" and path == "wal" else 0
    )
    log = element.store.element.log
    with pytest.raises(OSError, match="could not be named"):
        log.roll(log.last_lsn)
    medium.rule = lambda _operation, _path: 0
    # The committer has not been told yet, and the disk seems well again.
    with pytest.raises(NotWritable):
        element.delete(file.file_id)
    with pytest.raises(OSError, match="could not be named"):
        log.roll(log.last_lsn)
    element.reopen()
    assert element.counts() == {"active": 1}
    element.delete(file.file_id)
    element.crash()


def test_rule_7_after_a_failed_log_sync_no_segment_is_begun(tmp_path: Path) -> None:
    """A checkpoint under way would else put a segment behind a batch that may be on disk, and the log would look damaged."""
    element, medium = faulty(tmp_path / "se")
    medium.rule = log_syncs_fail
    with pytest.raises(OutcomeUnknown):
        element.put(b"perhaps")
    medium.rule = lambda _operation, _path: 0
    with pytest.raises(OSError, match="Input/output error"):
        element.store.element.log.roll(0)
    element.reopen()
    element.crash()


def test_rule_7_a_failed_sync_of_a_streamed_body_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    element, medium = faulty(tmp_path / "se")
    medium.rule = lambda operation, path: (
        errno.EIO if operation == "sync" and path.startswith("incoming") else 0
    )
    with pytest.raises(NotWritable):
        element.put(b"x" * 100_000)
    medium.rule = lambda _operation, _path: 0
    assert element.names_under("incoming") == []
    element.reopen()
    assert element.counts() == {}
    element.crash()


def test_rule_7_a_durable_change_that_can_not_be_applied_is_applied_at_the_next_start(
    tmp_path: Path,
) -> None:
    element, medium = faulty(tmp_path / "se")
    small, large = element.draft(), element.draft()
    medium.rule = lambda operation, path: (
        errno.EIO if operation in ("rename", "put") and path.startswith("files") else 0
    )
    with pytest.raises(OutcomeUnknown):
        element.put(b"l" * 100_000, file_id=large.file_id)
    element.reopen()
    medium = element.store.element.disk.medium  # type: ignore[assignment]
    medium.rule = lambda operation, path: (
        errno.EIO if operation in ("rename", "put") and path.startswith("files") else 0
    )
    upload = element.store.begin_upload(small, element.clock.now())
    upload.write(b"small")
    # The record holds all of it, so it is answered as stored, and read from memory until the restart.
    assert upload.commit(element.clock.now()).result().created
    with pytest.raises(NotWritable):
        element.settle()
    assert element.body(small.file_id) == b"small"
    assert element.store.info(element.clock.now()).status == "degraded"
    element.reopen()
    assert element.body(large.file_id) == b"l" * 100_000
    assert element.body(small.file_id) == b"small"
    element.crash()


def test_rule_7_a_lost_mount_degrades(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"x")
    (tmp_path / "se").rename(tmp_path / "gone")
    (tmp_path / "se").mkdir()
    element.store.check_directory()
    assert element.store.info(element.clock.now()).status == "degraded"
    with pytest.raises(NotWritable):
        element.put(b"y")
    assert element.body(file.file_id) == b"x"
    element.crash()


def test_a_damaged_log_refuses_to_start_and_says_what_to_do(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    for _ in range(4):
        element.put(b"x" * 5000)
    element.crash()
    segment = max((tmp_path / "se" / "wal").glob("*.seg"))
    with segment.open("r+b") as file:
        file.seek(4096 + 200)
        file.write(b"\xff\xff")
    with pytest.raises(RefusedToStart, match="accept-restored"):
        element.open()


def test_a_report_can_be_read_as_json_after_everything(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        element.put(b"x", file_id=uuid.uuid4())
        assert json.dumps(element.store.info(element.clock.now()).to_wire())

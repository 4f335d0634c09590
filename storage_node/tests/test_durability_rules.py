"""The numbered rules of durability, each by name; rule 4 in every state a power cut leaves is in `test_crash_states.py`."""

import errno
import os
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from storage_node import garbage, reconcile
from storage_node.attributes import AttributesPatch
from storage_node.checkpoint import LOG_BOUND_FACTOR
from storage_node.errors import NotWritable
from storage_node.records import Kind
from storage_node.tests.faulty_medium import FaultyMedium, GatedMedium
from storage_node.tests.small_element import KIB, MIB, SmallElement
from storage_node.wal_scan import replayed, scan


class WatchingMedium(FaultyMedium):
    """Writes the order of operations down."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.order: list[tuple[str, str]] = []
        self.rule = self._watch

    def _watch(self, operation: str, path: str) -> int:
        if operation != "short":
            self.order.append((operation, path.split("/", maxsplit=1)[0] if "/" in path else path))
        return 0


def faulty(path: Path, **settings: Any) -> tuple[SmallElement, FaultyMedium]:
    element = SmallElement(path, open_medium=FaultyMedium, settings=settings).open()
    medium = element.store.element.disk.medium
    assert isinstance(medium, FaultyMedium)
    return element, medium


def log_syncs_fail(operation: str, path: str) -> int:
    return errno.EIO if operation == "sync" and path.endswith(".seg") else 0


# Rule 1: order of an upload


def test_rule_1_a_streamed_body_is_synced_then_its_name_then_the_record_and_only_renames_remain(
    tmp_path: Path,
) -> None:
    with SmallElement(tmp_path / "se", open_medium=WatchingMedium).open() as element:
        medium = element.store.element.disk.medium
        assert isinstance(medium, WatchingMedium)
        medium.order.clear()
        element.put(b"x" * 100 * KIB)
        names = [f"{operation} {path}" for operation, path in medium.order]
        body_synced = names.index("sync incoming")
        parts_synced = names.index("syncdir incoming")
        record = names.index("pwrite wal")
        assert body_synced < parts_synced < record < names.index("sync wal")
        assert names.index("create incoming") < record
        assert (
            max(i for i, name in enumerate(names) if name.startswith(("mkdir", "create", "write")))
            < record
        )
        assert set(names[names.index("sync wal") + 1 :]) == {"rename files"}


def test_rule_1_a_small_body_travels_in_the_record_and_needs_one_sync(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", open_medium=WatchingMedium).open() as element:
        medium = element.store.element.disk.medium
        assert isinstance(medium, WatchingMedium)
        medium.order.clear()
        element.put(b"x" * KIB)
        assert [operation for operation, _ in medium.order if operation.startswith("sync")] == [
            "sync"
        ]
        found = scan(medium, element.store.directory.identity.log_id)
        assert [
            record.body for _, record in replayed(medium, found, 1) if record.kind is Kind.PUT
        ] == [b"x" * KIB]


def test_rule_1_many_changes_share_one_sync(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", open_medium=GatedMedium).open() as element:
        medium = element.store.element.disk.medium
        assert isinstance(medium, GatedMedium)
        syncs: list[int] = []
        original = element.store.element.log.append
        element.store.element.log.append = lambda records: (
            syncs.append(len(records)),
            original(records),
        )[1]  # type: ignore[method-assign]
        with medium.hold_log_syncs() as held:
            waiting = []
            for _ in range(20):
                upload = element.store.begin_upload(element.draft(), element.clock.now())
                upload.write(b"x")
                waiting.append(upload.commit(element.clock.now()))
                held.wait_until_reached()
        for future in waiting:
            future.result()
        assert sum(syncs) == 20
        assert max(syncs) >= 10


# Rule 2: one change of a file at a time; a mode change excludes appends


def test_rule_2_checks_see_everything_recorded_before(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        file = element.put(b"x")
        store, now = element.store, element.clock.now()
        patch = AttributesPatch(frozenset({"description"}), description="d")
        futures = [
            store.delete(file.file_id, None, now),
            store.edit(file.file_id, patch, None, now),
        ]
        assert futures[0].exception() is None
        assert "deleted" in str(futures[1].exception())


def test_rule_2_a_mode_change_stands_between_what_came_before_and_after(tmp_path: Path) -> None:
    with SmallElement(
        tmp_path / "se", open_medium=GatedMedium, settings={"initial_mode": "rw"}
    ).open() as element:
        # Each of another file: changes of one file never share a batch, whatever the mode change does.
        files = [element.put(b"x").file_id for _ in range(3)]
        medium = element.store.element.disk.medium
        assert isinstance(medium, GatedMedium)
        patch = AttributesPatch(frozenset({"description"}), description="d")
        store, now = element.store, element.clock.now()
        with medium.hold_log_syncs() as held:
            first = store.edit(files[0], patch, None, now)
            held.wait_until_reached()
            before = store.edit(files[1], patch, None, now)
            change = store.transition_mode("ro", False, "tester", now)
            after = store.edit(files[2], patch, None, now)
        assert first.result().revision == 2
        assert before.result().revision == 2
        assert change.result().current_mode == "ro"
        assert "mode ro" in str(after.exception())


def test_rule_2_an_upload_begun_before_rw_became_ro_may_finish(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open() as element:
        upload = element.store.begin_upload(element.draft(), element.clock.now())
        element.mode("ro")
        upload.write(b"late")
        file = upload.commit(element.clock.now()).result().attributes
        assert element.body(file.file_id) == b"late"


# Rule 3 is about the log alone: test_wal.py. Rule 4: replay.


def test_rule_4_a_kill_after_the_acknowledgement_loses_nothing(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    files = {element.put(os.urandom(size)).file_id: size for size in (0, 10, 5000, 70_000, 200_000)}
    victim = next(iter(files))
    element.edit(victim, description="kept")
    element.reopen()
    assert all(len(element.body(file_id)) == size for file_id, size in files.items())
    assert element.store.get(victim, element.clock.now()).attributes.description == "kept"
    element.crash()


def test_rule_4_a_file_with_its_length_but_not_its_bytes_is_written_anew(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"0123456789")
    content, attributes = element.paths_of(file.file_id)
    element.crash()
    content.write_bytes(bytes(10))
    attributes.write_bytes(b"")
    element.open()
    assert element.body(file.file_id) == b"0123456789"
    assert attributes.read_bytes() == file.file_bytes
    element.crash()


def test_rule_4_a_part_of_another_size_is_never_renamed_and_the_loss_is_visible(
    tmp_path: Path,
) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"x" * 100_000)
    content, _ = element.paths_of(file.file_id)
    found = scan(element.store.element.disk.medium, element.store.directory.identity.log_id)
    part = next(
        record.part
        for _, record in replayed(element.store.element.disk.medium, found, 1)
        if record.part
    )
    element.crash()
    content.rename(tmp_path / "se" / "incoming" / part)
    with (tmp_path / "se" / "incoming" / part).open("r+b") as cut:
        cut.truncate(99_999)
    element.open()
    assert element.store.get(file.file_id, element.clock.now()).damaged == "missing_file"
    assert not content.exists()
    element.crash()


def test_rule_4_a_part_of_the_right_size_is_renamed(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"x" * 100_000)
    content, _ = element.paths_of(file.file_id)
    found = scan(element.store.element.disk.medium, element.store.directory.identity.log_id)
    part = next(
        record.part
        for _, record in replayed(element.store.element.disk.medium, found, 1)
        if record.part
    )
    element.crash()
    content.rename(tmp_path / "se" / "incoming" / part)
    element.open()
    assert element.body(file.file_id) == b"x" * 100_000
    element.crash()


def test_rule_4_a_purge_is_final_and_parts_without_record_go_after_the_replay(
    tmp_path: Path,
) -> None:
    element = SmallElement(tmp_path / "se").open()
    element.put(b"stays")
    element.crash()
    (tmp_path / "se" / "incoming" / ("a" * 32)).write_bytes(b"nobody's")
    element.open()
    assert element.names_under("incoming") == []
    element.crash()


def test_rule_4_the_mode_is_restored_from_the_log(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open()
    before = (tmp_path / "se" / "mode.json").read_bytes()
    element.mode("ro")
    element.crash()
    (tmp_path / "se" / "mode.json").write_bytes(before)
    element.open()
    assert element.store.info(element.clock.now()).mode == "ro"
    element.crash()


# Rule 5: checkpoints


def test_rule_5_order_of_a_checkpoint_files_index_header_then_segments_go(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se", open_medium=WatchingMedium).open() as element:
        medium = element.store.element.disk.medium
        assert isinstance(medium, WatchingMedium)
        element.store.checkpoint()
        for _ in range(10):
            element.put(b"x" * 60 * KIB)
        medium.order.clear()
        assert element.store.checkpoint()
        names = [f"{operation} {path}" for operation, path in medium.order]
        syncfs, index = names.index("syncfs ."), names.index("sync index.sqlite3-wal")
        header = names.index("pwrite wal")
        assert syncfs < index < header
        renames = [i for i, name in enumerate(names) if name == "rename wal"]
        assert renames[0] > header
        assert len(renames) > 1
        assert names.index("syncdir wal") < renames[1]


def test_rule_5_the_log_is_bounded_and_the_number_of_segments_does_not_grow(tmp_path: Path) -> None:
    settings = {"checkpoint_log_bytes": MIB}
    with SmallElement(tmp_path / "se", settings=settings).open() as element:
        for _ in range(300):
            element.put(b"x" * 50 * KIB)
            assert element.store.element.log.size_bytes <= (LOG_BOUND_FACTOR + 1) * MIB
        element.store.checkpoint()
        assert len(element.names_under("wal")) <= 8


def test_rule_5_appends_wait_at_the_bound_until_the_checkpoint_is_through(tmp_path: Path) -> None:
    element, medium = faulty(tmp_path / "se", checkpoint_log_bytes=512 * KIB)
    let_go, reached = threading.Event(), threading.Event()

    def hold(operation: str, _path: str) -> int:
        if operation == "syncfs":
            reached.set()
            assert let_go.wait(20)
        return 0

    medium.rule = hold
    waiting = []
    for _ in range(80):
        upload = element.store.begin_upload(element.draft(), element.clock.now())
        upload.write(b"x" * 60 * KIB)
        waiting.append(upload.commit(element.clock.now()))
    assert reached.wait(20)
    # Nothing tells that nothing more will happen: as long as some come through, more may.
    done, unfinished, before = set(), set(waiting), -1
    while unfinished and len(done) > before:
        before = len(done)
        done, unfinished = futures.wait(waiting, timeout=0.7)
    assert unfinished
    assert waiting[10].done()
    assert element.store.element.log.size_bytes <= (LOG_BOUND_FACTOR + 1) * 512 * KIB
    let_go.set()
    for future in waiting:
        future.result()
    element.crash()


@pytest.mark.parametrize("failing", ["syncfs", "sync index", "sync wal", "syncdir"])
def test_rule_5_any_sync_error_of_a_checkpoint_means_degraded_and_nothing_dropped(
    tmp_path: Path, failing: str
) -> None:
    element, medium = faulty(tmp_path / "se")
    for _ in range(10):
        element.put(b"x" * 60 * KIB)
    file = element.put(b"kept")
    element.store.element.log.keep_spare()
    held = [name for name in element.names_under("wal") if name.endswith(".seg")]

    def fail(operation: str, path: str) -> int:
        name = (
            f"{operation} index"
            if path.startswith("index")
            else f"{operation} {path.split('/', maxsplit=1)[0]}"
        )
        return errno.EIO if failing in (operation, name) else 0

    medium.rule = fail
    assert not element.store.checkpoint()
    medium.rule = lambda _operation, _path: 0
    assert set(held) <= set(element.names_under("wal"))
    assert element.store.info(element.clock.now()).status == "degraded"
    assert not element.store.checkpoint()
    with pytest.raises(NotWritable):
        element.put(b"no more")
    assert element.body(file.file_id) == b"kept"
    element.crash()
    element.open()
    assert element.body(file.file_id) == b"kept"
    element.crash()


def test_rule_5_a_clean_stop_makes_a_checkpoint_and_the_next_start_replays_nothing(
    tmp_path: Path,
) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"x")
    element.close()
    element.open()
    found = scan(element.store.element.disk.medium, element.store.directory.identity.log_id)
    assert list(replayed(element.store.element.disk.medium, found, found.checkpoint_lsn + 1)) == []
    assert element.body(file.file_id) == b"x"
    element.crash()


def test_rule_5_time_alone_brings_a_checkpoint(tmp_path: Path) -> None:
    with SmallElement(
        tmp_path / "se", settings={"checkpoint_interval_seconds": 0.01}
    ).open() as element:
        element.put(b"x")
        done = threading.Event()
        for _ in range(2000):
            if element.store.element.log.checkpoint_lsn >= 1 or done.wait(0.01):
                break
        assert element.store.element.log.checkpoint_lsn >= 1


# Rule 6: purge


def test_rule_6_bytes_go_before_attributes(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        file = element.put(b"x")
        removed: list[str] = []
        medium = element.store.element.disk.medium
        original = medium.unlink
        medium.unlink = lambda path: (removed.append(path), original(path))[1]  # type: ignore[method-assign,func-returns-value]
        element.store.element.disk.remove_file(file.file_id, file.stored_name)
        assert [path.endswith(".attr.json") for path in removed[:2]] == [False, True]


def test_rule_6_attributes_of_a_deleted_file_without_bytes_are_an_unfinished_purge(
    tmp_path: Path,
) -> None:
    element = SmallElement(tmp_path / "se").open()
    file = element.put(b"x")
    content, attributes = element.paths_of(file.file_id)
    element.delete(file.file_id)
    content.unlink()
    report = reconcile.run(element.store, element.clock.now(), "test")
    assert report["findings"]["missing_file"] == 0
    element.close()
    element.open(rebuild=True)
    assert element.counts() == {"deleted": 1}
    report_ = garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert (report_.freed_files, report_.freed_bytes) == (1, 0)
    assert not attributes.exists()
    element.crash()

"""The sentences about the index that are about order and completeness: what it takes up, how it is rebuilt."""

import errno
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage_node import garbage, reconcile
from storage_node.attributes import encode_json
from storage_node.errors import RefusedToStart
from storage_node.index import LogBounds, why_unusable
from storage_node.index_rebuild import NEW_FILE
from storage_node.index_schema import INDEX_FILE, INDEX_SHM_FILE, INDEX_WAL_FILE
from storage_node.records import Kind, Record
from storage_node.tests.small_element import SmallElement
from storage_node.tests.watching_medium import OrderedMedium
from storage_node.wal_scan import replayed, scan

AT = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def element(tmp_path: Path) -> Iterator[SmallElement]:
    with SmallElement(tmp_path / "se", open_medium=OrderedMedium).open() as opened:
        yield opened


def medium_of(element: SmallElement) -> OrderedMedium:
    medium = element.store.element.disk.medium
    assert isinstance(medium, OrderedMedium)
    return medium


def everything(element: SmallElement) -> dict[str, Any]:
    """All an index holds, as those see it who ask."""
    with closing(sqlite3.connect(element.path / INDEX_FILE)) as connection:
        tables = {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in ("files", "tombstones", "totals", "state")
        }
    return tables | {"report": element.store.info(element.clock.now()).last_reconcile}


class SnapshotMedium(OrderedMedium):
    """Keeps the index as it was at the last checkpoint."""

    snapshot = b""

    def sync_everything(self) -> None:
        super().sync_everything()
        with closing(sqlite3.connect(self.data_dir / INDEX_FILE)) as connection:
            self.snapshot = connection.serialize()


def all_kinds_of_change(element: SmallElement) -> None:
    """At least one record of every kind that touches the index, all behind one checkpoint: the one reconcile makes."""
    files = [element.put(bytes([number]) * 100, ttl_days=1 + number) for number in range(6)]
    element.settle()
    element.paths_of(files[2].file_id)[1].write_text("{")
    element.paths_of(files[3].file_id)[0].write_bytes(b"cut short")
    told = json.loads(element.paths_of(files[4].file_id)[1].read_text())
    changed = encode_json(told | {"description": "mended by hand"}) + "\n"
    element.paths_of(files[4].file_id)[1].write_text(changed)
    reconcile.run(element.store, element.clock.now(), "test")
    element.put(b"new")
    element.edit(files[5].file_id, tags=("t",))
    element.delete(files[1].file_id)
    element.abandon(element.draft().file_id)
    element.clock.advance(days=1, seconds=1)
    for _ in range(2):
        garbage.collect(element.store, element.clock.now(), trust_clock=True)
        element.clock.advance(days=3)


def test_every_change_of_the_index_is_a_log_record(tmp_path: Path) -> None:
    """The index of the last checkpoint, brought up by the log alone, equals the one that saw everything happen."""
    element = SmallElement(
        tmp_path / "se",
        open_medium=SnapshotMedium,
        settings={"tombstone_keep_seconds": 86400, "expired_grace_seconds": 0},
    ).open()
    all_kinds_of_change(element)
    medium, log_id = medium_of(element), element.store.directory.identity.log_id
    assert isinstance(medium, SnapshotMedium)
    found = scan(medium, log_id)
    kinds = {record.kind for _, record in replayed(medium, found, found.checkpoint_lsn + 1)}
    assert kinds == set(Kind) - {Kind.MODE}
    before = everything(element)
    element.crash()
    for name in (INDEX_WAL_FILE, INDEX_SHM_FILE):
        (element.path / name).unlink(missing_ok=True)
    (element.path / INDEX_FILE).write_bytes(medium.snapshot)
    element.open()
    assert everything(element) == before
    element.crash()


def test_rows_and_position_change_in_one_transaction(element: SmallElement) -> None:
    """A record that can not be taken up undoes all of its batch, position and totals included."""
    file = element.put(b"x")
    index = element.store.element.index
    before, position = everything(element), index.at.lsn
    good = Record(Kind.TOMBSTONE, facts={"file_id": str(file.file_id), "status": "s", "at": AT})
    bad = Record(Kind.PURGE, facts={"file_id": "no uuid", "status": "s", "at": AT})
    with pytest.raises(ValueError, match="badly formed"):
        index.apply(position + 1, [good, bad])
    assert everything(element) == before
    assert index.at.lsn == position
    index.apply(position + 1, [good])
    assert index.at.lsn == position + 1
    assert len(everything(element)["files"]) == 0


def test_nothing_reads_a_batch_before_all_of_it_is_in_the_index(element: SmallElement) -> None:
    """A second reader sees the state before a batch or after it, never a part."""
    index = element.store.element.index
    position = index.at.lsn
    ids = [element.draft().file_id for _ in range(3)]
    seen: list[int] = []

    class Telling(dict[str, Any]):
        """Facts that look, while the batch is being taken up, at what a reader can see."""

        def __getitem__(self, key: str) -> Any:
            seen.append(len(everything_rows(element)))
            return super().__getitem__(key)

    def tombstone(file_id: object) -> Record:
        facts = {"file_id": str(file_id), "status": "deleted", "at": AT}
        return Record(Kind.TOMBSTONE, facts=Telling(facts))

    index.apply(position + 1, [tombstone(file_id) for file_id in ids])
    assert set(seen) == {0}
    assert len(everything_rows(element)) == 3


def everything_rows(element: SmallElement) -> list[Any]:
    with closing(sqlite3.connect(element.path / INDEX_FILE)) as connection:
        return connection.execute("SELECT * FROM tombstones").fetchall()


def test_change_numbers_are_the_epoch_s_base_plus_the_place_in_the_log(
    element: SmallElement,
) -> None:
    for _ in range(3):
        element.edit(element.put(b"x").file_id, description="so that the log is ahead of the files")
    assert element.store.info(element.clock.now()).last_change == element.store.element.log.last_lsn
    element.close()
    element.open(rebuild=True)
    at, log = element.store.element.index.at, element.store.element.log
    listed = [item.change for item in element.store.changes(None, 0, 100).items]
    # A rebuild numbers what it finds from one, and the log goes on behind that, whatever its own position is.
    assert listed == [1, 2, 3]
    assert at.base + log.last_lsn == 3
    file = element.put(b"later")
    assert (
        element.store.get(file.file_id, element.clock.now()).change == at.base + log.last_lsn == 4
    )
    assert [item.change for item in element.store.changes(element.store.epoch, 3, 9).items] == [4]


def test_a_rebuild_is_synced_and_named_only_after_what_could_bring_old_rows_back_is_gone(
    element: SmallElement,
) -> None:
    element.put(b"x")
    element.close()
    element.open(rebuild=True)
    medium = medium_of(element)
    synced = medium.place("sync", NEW_FILE)
    removed = [
        medium.place("unlink", name, after=synced) for name in (INDEX_WAL_FILE, INDEX_SHM_FILE)
    ]
    directory = medium.place("syncdir", ".", after=max(removed))
    named = medium.place("rename", INDEX_FILE, after=synced)
    assert synced < min(removed)
    assert max(removed) < directory < named < medium.place("syncdir", ".", after=named)


def test_an_index_is_complete_only_when_everything_is_in_it(element: SmallElement) -> None:
    """A rebuild that ends half-way leaves something that no start would take for an index."""
    paths = [element.paths_of(element.put(bytes(number)).file_id)[1] for number in range(1, 4)]
    element.close()
    last = max(str(path.relative_to(element.path)) for path in paths)

    class Failing(OrderedMedium):
        def _check(self, operation: str, path: str) -> None:
            if operation == "read" and path == last:
                raise OSError(errno.EIO, "Input/output error", path)
            super()._check(operation, path)

    element.open_medium = Failing
    with pytest.raises(RefusedToStart):
        element.open(rebuild=True)
    assert not (element.path / INDEX_FILE).exists()
    half = element.path / NEW_FILE
    assert half.exists()
    half.rename(element.path / INDEX_FILE)
    log_id, inode = (
        element.store.directory.identity.log_id,
        (element.path / "node.json").stat().st_ino,
    )
    assert why_unusable(element.path, LogBounds(log_id, 1, 100), inode) is not None
    element.open_medium = OrderedMedium
    element.open()
    assert element.counts() == {"active": 3}


def test_an_index_of_the_oldest_position_the_log_reaches_is_taken_and_one_older_is_not(
    element: SmallElement,
) -> None:
    element.put(b"x")
    element.close()
    with closing(sqlite3.connect(element.path / INDEX_FILE)) as connection:
        log_id, inode, position = connection.execute(
            "SELECT log_id, node_inode, position FROM state"
        ).fetchone()
    assert position == 1
    for oldest, last, usable in ((2, 9, True), (1, 1, True), (3, 9, False), (1, 0, False)):
        bounds = LogBounds(log_id, oldest, last)
        assert (why_unusable(element.path, bounds, inode) is None) is usable, bounds
    element.open()


def test_the_date_of_verification_stays_with_a_file_that_is_edited(element: SmallElement) -> None:
    file = element.put(b"x")
    reconcile.run(element.store, element.clock.now(), "test")
    verified_at = element.store.get(file.file_id, element.clock.now()).verified_at
    assert verified_at is not None
    element.edit(file.file_id, description="d")
    assert element.store.get(file.file_id, element.clock.now()).verified_at == verified_at


def test_two_rebuilds_have_two_epochs(element: SmallElement) -> None:
    epochs = [element.store.epoch]
    for _ in range(2):
        element.close()
        element.open(rebuild=True)
        epochs.append(element.store.epoch)
    assert len(set(epochs)) == 3

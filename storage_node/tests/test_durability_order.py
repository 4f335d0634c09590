"""More of the rules of durability, sentence by sentence: what is one record, what replay may and must do, what is never dropped."""

import errno
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage_node import garbage, reconcile
from storage_node.errors import FileGone, RefusedToStart
from storage_node.tests.small_element import KIB, SmallElement
from storage_node.tests.watching_medium import OrderedMedium
from storage_node.upkeep import ExpireFile, MarkDamage
from storage_node.wal_scan import scan

Step = Callable[[SmallElement, Any], object]


def watched(path: Path, **settings: Any) -> tuple[SmallElement, OrderedMedium]:
    element = SmallElement(path, open_medium=OrderedMedium, settings=settings).open()
    return element, medium_of(element)


def medium_of(element: SmallElement) -> OrderedMedium:
    medium = element.store.element.disk.medium
    assert isinstance(medium, OrderedMedium)
    return medium


def tree(path: Path) -> dict[str, str]:
    """Every file of truth under a directory, and what is in it."""
    return {
        str(found.relative_to(path)): hashlib.sha256(found.read_bytes()).hexdigest()
        for folder in ("files", "quarantine", "incoming")
        for found in (path / folder).rglob("*")
        if found.is_file()
    } | {"mode.json": (path / "mode.json").read_text()}


# Rule 1: what else changes is one record, one sync, then applied


def expire(element: SmallElement, file: Any) -> object:
    element.clock.advance(days=31)
    return element.store.submit(ExpireFile(file.file_id, element.clock.now())).result()


def purge(element: SmallElement, file: Any) -> object:
    return garbage.collect(element.store, element.clock.now(), trust_clock=True)


CHANGES: dict[str, tuple[Step | None, Step]] = {
    "edit": (None, lambda element, file: element.edit(file.file_id, description="d")),
    "delete": (None, lambda element, file: element.delete(file.file_id)),
    "expire": (None, expire),
    "purge": (lambda element, file: element.delete(file.file_id), purge),
    "mode change": (None, lambda element, _file: element.mode("ro")),
    "repair": (
        lambda element, file: element.store.submit(
            MarkDamage(file.file_id, "checksum_mismatch", element.clock.now())
        ).result(),
        lambda element, file: element.store.submit(
            MarkDamage(file.file_id, None, element.clock.now())
        ).result(),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_rule_1_every_other_change_is_one_record_and_one_sync_before_it_is_applied(
    tmp_path: Path, name: str
) -> None:
    before, change = CHANGES[name]
    mode = "rw" if name == "mode change" else "edit"
    element, medium = watched(tmp_path / "se", initial_mode=mode)
    file = element.put(b"x")
    if before is not None:
        before(element, file)
        element.settle()
    lsn = element.store.element.log.last_lsn
    medium.done.clear()
    change(element, file)
    element.settle()
    assert element.store.element.log.last_lsn == lsn + 1
    [synced] = medium.places("sync", ".seg")
    applied = [
        place
        for operation in ("put", "rename", "unlink")
        for place in medium.places(operation)
        if " wal/" not in medium.done[place]
    ]
    assert applied
    assert min(applied) > synced
    element.crash()


def test_rule_1_a_quarantine_is_one_record_and_one_sync_before_it_is_applied(
    tmp_path: Path,
) -> None:
    element, medium = watched(tmp_path / "se")
    leaf = tmp_path / "se" / "files" / "ab" / "cd"
    leaf.mkdir(parents=True)
    (leaf / "nobody's").write_bytes(b"x")
    element.store.checkpoint()
    medium.done.clear()
    assert reconcile.run(element.store, element.clock.now(), "t")["findings"]["orphaned_file"] == 1
    moved = medium.place("rename", "quarantine")
    assert medium.place("pwrite", ".seg") < medium.place("sync", ".seg") < moved
    assert element.counts() == {}
    element.crash()


def test_rule_1_the_attributes_and_the_directory_are_made_before_the_record(tmp_path: Path) -> None:
    """All that can fail for want of room has happened when the record is written: after it, only renames."""
    element, medium = watched(tmp_path / "se")
    medium.done.clear()
    element.put(b"x" * 100 * KIB)
    record = medium.place("pwrite", ".seg")
    assert len(medium.places("create", "incoming/")) == 2
    for operation in ("create", "mkdir", "write", "syncdir"):
        assert max(medium.places(operation)) < record, operation
    # incoming/ for the names of the parts; files/ and the directory above the new one for theirs.
    synced = {medium.done[place] for place in medium.places("syncdir")}
    assert {"syncdir incoming", "syncdir files"} < synced
    assert len(synced) == 3
    content, attributes = medium.places("rename", "files/")
    assert medium.done[attributes].endswith(".attr.json")
    assert record < content < attributes
    element.crash()


# Rule 4: replay


def test_rule_4_a_purged_file_stays_gone_whether_its_bytes_were_in_the_log_or_a_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both when the purge had been carried out before the kill and when it was only recorded."""
    element, _ = watched(tmp_path / "se")
    gone = [element.put(b"small"), element.put(b"l" * 100_000)]
    for file in gone:
        element.delete(file.file_id)
    element.settle()
    saved = {path: (element.path / path).read_bytes() for path in element.names_under("files")}
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert element.names_under("files") == []
    element.crash()
    for left in ({}, saved):
        for path, data in left.items():
            (element.path / path).write_bytes(data)
        caplog.clear()
        caplog.set_level("INFO", "storage_node.store")
        element.open()
        [opened] = [line for line in caplog.records if line.__dict__.get("event") == "opened"]
        assert opened.__dict__["missing_files"] == 0
        assert element.names_under("files") == []
        assert element.counts() == {}
        for file in gone:
            with pytest.raises(FileGone):
                element.store.get(file.file_id, element.clock.now())
        element.crash()


def test_rule_4_only_the_final_state_of_a_file_is_applied(tmp_path: Path) -> None:
    """A log of many edits is folded first: the attributes file is written once, with the last of them."""
    element, _ = watched(tmp_path / "se")
    file = element.put(b"x")
    for number in range(5):
        element.edit(file.file_id, description=str(number))
    attributes = element.paths_of(file.file_id)[1]
    final = attributes.read_bytes()
    element.crash()
    attributes.write_bytes(b"torn")
    element.open()
    assert attributes.read_bytes() == final
    assert len(medium_of(element).places("rename", attributes.name)) == 1
    element.crash()


def test_rule_4_an_id_given_again_after_a_purge_keeps_its_new_bytes(tmp_path: Path) -> None:
    element, _ = watched(tmp_path / "se", tombstone_keep_seconds=0)
    first = element.put(b"first", file_id=element.draft().file_id)
    element.delete(first.file_id)
    element.clock.advance(seconds=1)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    element.clock.advance(seconds=1)
    garbage.collect(element.store, element.clock.now(), trust_clock=True)
    element.put(b"second", file_id=first.file_id)
    element.reopen()
    assert element.body(first.file_id) == b"second"
    element.crash()


def test_rule_4_what_was_replayed_counts_as_unsynced_for_the_next_checkpoint(
    tmp_path: Path,
) -> None:
    """A start drops nothing and claims nothing; the first checkpoint syncs the files although nobody wrote since."""
    element, _ = watched(tmp_path / "se")
    for _ in range(12):
        element.put(b"x" * 60 * KIB)
    element.crash()
    before = [name for name in element.names_under("wal") if name.endswith(".seg")]
    element.open()
    medium = medium_of(element)
    log_id = element.store.directory.identity.log_id
    assert set(before) <= set(element.names_under("wal"))
    assert scan(medium, log_id).checkpoint_lsn == 0
    assert medium.places("syncfs") == []
    medium.done.clear()
    assert element.store.checkpoint()
    assert medium.place("syncfs") < medium.place("rename", "wal/spare-")
    assert scan(medium, log_id).checkpoint_lsn == element.store.element.log.last_lsn
    element.crash()


def test_rule_4_parts_nobody_claims_stay_until_a_replay_was_complete(tmp_path: Path) -> None:
    element, _ = watched(tmp_path / "se")
    content, _attributes = element.paths_of(element.put(b"in the log").file_id)
    element.crash()
    content.unlink()
    part = tmp_path / "se" / "incoming" / ("a" * 32)
    part.write_bytes(b"perhaps somebody's")

    class Failing(OrderedMedium):
        def _check(self, operation: str, path: str) -> None:
            if operation == "rename" and path.startswith("files"):
                raise OSError(errno.EIO, "Input/output error", path)
            super()._check(operation, path)

    element.open_medium = Failing
    with pytest.raises(RefusedToStart):
        element.open()
    assert part.exists()
    element.open_medium = OrderedMedium
    element.open()
    assert not part.exists()
    assert content.read_bytes() == b"in the log"
    element.crash()


def test_rule_4_replaying_twice_gives_the_same_directory(tmp_path: Path) -> None:
    element, _ = watched(tmp_path / "se", initial_mode="rw")
    files = [element.put(bytes([number]) * size) for number, size in enumerate((0, 9, 70_000))]
    element.edit(files[0].file_id, tags=("t",))
    element.store.submit(
        MarkDamage(files[1].file_id, "checksum_mismatch", element.clock.now())
    ).result()
    element.mode("ro")
    element.crash()
    once = tree(tmp_path / "se")
    listings = []
    for _ in range(3):
        element.open()
        listings.append((sorted(element.items(limit=100)), element.store.totals()))
        element.crash()
        assert tree(tmp_path / "se") == once
    assert listings[0] == listings[1] == listings[2]


# Rule 5: checkpoints


def test_rule_5_a_checkpoint_claims_only_what_is_applied(tmp_path: Path) -> None:
    """A record that is on disk and not applied yet stays behind the checkpoint, so that replay meets it."""
    element, _ = watched(tmp_path / "se")
    element.put(b"x")
    element.store.committer.applied_lsn -= 1
    assert element.store.checkpoint()
    assert element.store.element.log.checkpoint_lsn == element.store.element.log.last_lsn - 1
    element.crash()


def test_rule_5_size_alone_brings_a_checkpoint(tmp_path: Path) -> None:
    element, medium = watched(tmp_path / "se", checkpoint_log_bytes=512 * KIB)
    medium.done.clear()
    written = 0
    while not medium.places("syncfs") and written < 20:
        element.put(b"x" * 60 * KIB)
        written += 1
    assert 3 <= written < 20
    element.crash()


def test_rule_7_a_spare_segment_and_headroom_are_there_from_the_start_on(
    tmp_path: Path,
) -> None:
    element, _ = watched(tmp_path / "se")
    for _ in range(3):
        names = element.names_under("wal")
        assert any("spare-" in name for name in names)
        assert "wal/headroom" in names
        element.put(b"x" * 60 * KIB)
        assert element.store.checkpoint()
    element.crash()


# Rule 6: purge


@pytest.mark.parametrize("ending", ["delete", "expire"])
def test_rule_6_the_record_comes_first_then_bytes_then_attributes(
    tmp_path: Path, ending: str
) -> None:
    element, medium = watched(tmp_path / "se", expired_grace_seconds=0)
    file = element.put(b"x", ttl_days=1)
    if ending == "delete":
        element.delete(file.file_id)
    else:
        element.clock.advance(days=2)
        element.store.submit(ExpireFile(file.file_id, element.clock.now())).result()
    element.settle()
    element.clock.advance(seconds=1)
    medium.done.clear()
    report = garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert (report.freed_files, report.freed_bytes) == (1, 1)
    content, attributes = medium.places("unlink", "files/")
    assert medium.place("sync", ".seg") < content < attributes
    assert not medium.done[content].endswith(".attr.json")
    assert medium.done[attributes].endswith(".attr.json")
    element.crash()


@pytest.mark.parametrize("ending", ["deleted", "expired"])
def test_rule_6_attributes_that_are_over_without_bytes_are_never_a_missing_file(
    tmp_path: Path, ending: str
) -> None:
    element, _ = watched(tmp_path / "se")
    file = element.put(b"x", ttl_days=1)
    content, attributes = element.paths_of(file.file_id)
    if ending == "deleted":
        element.delete(file.file_id)
    else:
        element.clock.advance(days=1, seconds=1)
        element.store.submit(ExpireFile(file.file_id, element.clock.now())).result()
    element.close()
    content.unlink()
    element.open(rebuild=True)
    report = reconcile.run(element.store, element.clock.now(), "test")
    assert not any(report["findings"].values()), report
    assert element.counts() == {ending: 1}
    element.clock.advance(days=2)
    freed = garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert (freed.freed_files, freed.freed_bytes) == (1, 0)
    assert not attributes.exists()
    element.crash()


# Rule 7 and the sentence that ends the list


def test_rule_7_after_a_restart_a_disk_that_is_well_again_takes_writes(tmp_path: Path) -> None:
    element, medium = watched(tmp_path / "se")
    kept = element.put(b"kept")
    medium.rule = lambda operation, path: (
        errno.EIO if operation == "sync" and path.endswith(".seg") else 0
    )
    with pytest.raises(Exception, match="made durable"):
        element.edit(kept.file_id, description="perhaps")
    medium.rule = lambda _operation, _path: 0
    with pytest.raises(Exception, match="restart the node"):
        element.put(b"not before a restart")
    element.reopen()
    assert element.put(b"again").size == 5
    assert element.store.info(element.clock.now()).status == "ok"
    element.crash()


def test_a_late_upload_of_an_expired_id_is_refused_under_the_lock(tmp_path: Path) -> None:
    """The checks ran when the upload began; what happened since then counts as well."""
    element, _ = watched(tmp_path / "se")
    draft = element.draft(ttl_days=1)
    upload = element.store.begin_upload(draft, element.clock.now())
    upload.write(b"late")
    element.put(b"first", file_id=draft.file_id, ttl_days=1)
    element.clock.moment += timedelta(days=2)
    with pytest.raises(FileGone):
        upload.commit(element.clock.now()).result()
    element.crash()

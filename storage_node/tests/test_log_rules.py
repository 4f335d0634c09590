"""Rule 3 of durability sentence by sentence: what makes a batch part of the log, and what happens to a log's end."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_node.records import Kind, Record
from storage_node.tests.small_element import SmallElement
from storage_node.tests.watching_medium import OrderedMedium
from storage_node.wal import AppendUndone, Log, LogBroken, remove_all
from storage_node.wal_format import NO_DIGEST, PAGE_BYTES, Place, pack_batch
from storage_node.wal_scan import replayed, scan

LOG = bytes(range(16))
SEGMENT = 64 * 1024


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[OrderedMedium]:
    opened = OrderedMedium(tmp_path)
    opened.make_directory("wal")
    yield opened
    opened.close()


def note(number: int, padding: int = 0) -> Record:
    return Record(Kind.FORGET, facts={"through": number, "padding": "x" * padding})


def numbers(medium: OrderedMedium, from_lsn: int = 1) -> list[int]:
    found = scan(medium, LOG)
    return [record.facts["through"] for _, record in replayed(medium, found, from_lsn)]


def segments(medium: OrderedMedium) -> list[str]:
    return [f"wal/{name}" for name in sorted(medium.names("wal")) if name.endswith(".seg")]


def write_at(medium: OrderedMedium, path: str, offset: int, data: bytes) -> None:
    fd = medium.open_change(path)
    medium.pwrite(fd, data, offset)
    medium.close_file(fd)


def one_batch(medium: OrderedMedium) -> Place:
    """A log with one record; returns the place behind it."""
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.close()
    return log.place


@pytest.mark.parametrize("wrong", ["log id", "batch number", "lsn", "chain", "own digest", "none"])
def test_rule_3_a_batch_belongs_to_the_log_only_with_id_number_lsn_and_chain_all_right(
    medium: OrderedMedium, wrong: str
) -> None:
    """A batch of an earlier life of the segment may be whole in itself; it must not be taken for the next one."""
    at = one_batch(medium)
    log_id = bytes(16) if wrong == "log id" else LOG
    # A number below the one expected: a higher one would be damage, see the tests of ends in test_wal.py.
    batch = at.batch - 1 if wrong == "batch number" else at.batch
    lsn = at.lsn + 5 if wrong == "lsn" else at.lsn
    previous = bytes(16) if wrong == "chain" else at.previous
    pieces = note(2).encode()
    raw, _ = pack_batch(log_id, Place(lsn, batch, previous), 1, pieces)
    if wrong == "own digest":
        raw = raw[:64] + bytes(16) + raw[80:]
    write_at(medium, segments(medium)[0], 2 * PAGE_BYTES, raw)
    if wrong in ("lsn", "chain"):
        # Whole, of this log, with the number that was to come: written after what is missing here.
        with pytest.raises(Exception, match="goes on at"):
            scan(medium, LOG)
        return
    assert numbers(medium) == ([1, 2] if wrong == "none" else [1])


def test_rule_3_a_segment_chains_to_the_one_before(medium: OrderedMedium) -> None:
    """Two segments that are whole by themselves and do not belong together are damage, not a log."""
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.roll(0)
    log.append([note(2)])
    first = segments(medium)[0]
    raw, _ = pack_batch(LOG, Place(1, 1, bytes(16)), 1, note(99).encode())
    write_at(medium, first, PAGE_BYTES, raw)
    with pytest.raises(Exception, match="not readable to its end"):
        scan(medium, LOG)


def test_rule_3_a_torn_page_of_the_last_batch_is_the_end_wherever_it_is(
    medium: OrderedMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.append([note(2, padding=3 * PAGE_BYTES)])
    log.close()
    path = segments(medium)[0]
    whole = medium.read(path)
    for page in range(2, 6):
        write_at(medium, path, page * PAGE_BYTES, bytes(PAGE_BYTES))
        assert numbers(medium) == [1], page
        write_at(medium, path, 0, whole)
    assert numbers(medium) == [1, 2]


def test_rule_3_the_tail_is_cut_synced_and_a_new_segment_begun_before_anything_else(
    tmp_path: Path,
) -> None:
    element = SmallElement(tmp_path / "se", open_medium=OrderedMedium).open()
    content, attributes = element.paths_of(element.put(b"x" * 100).file_id)
    element.crash()
    content.unlink()
    attributes.unlink()
    element.open()
    medium = element.store.element.disk.medium
    assert isinstance(medium, OrderedMedium)
    cut = medium.place("truncate", ".seg")
    synced = medium.place("sync", ".seg", after=cut)
    begun = medium.place("rename", ".seg", after=synced)
    assert medium.place("syncdir", "wal", after=begun) > begun
    changing = ("create", "put", "write", "rename", "unlink", "pwrite", "truncate")
    elsewhere = [
        place
        for operation in changing
        for place in medium.places(operation)
        if " wal/" not in medium.done[place]
    ]
    assert elsewhere, "replay had something to do"
    assert [medium.done[place] for place in elsewhere if place < begun] == []
    element.crash()


def test_rule_3_wal_is_synced_after_a_segment_got_its_name_and_before_its_first_batch(
    medium: OrderedMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(30):
        log.append([note(number, padding=3000)])
    named = medium.places("rename", ".seg")
    assert len(named) > 1
    for place in named:
        path = medium.done[place].partition(" ")[2]
        first_batch = medium.place("pwrite", path, after=place)
        assert place < medium.place("syncdir", "wal", after=place) < first_batch


def test_rule_3_a_header_is_synced_before_the_segment_gets_its_name(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    medium.done.clear()
    log.keep_spare()
    log.roll(0)
    header = medium.place("pwrite", "wal/spare-")
    assert (
        header < medium.place("sync", "wal/spare-", after=header) < medium.place("rename", ".seg")
    )


def test_rule_3_a_short_append_is_cut_away_and_synced(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    medium.rule = lambda operation, _path: errno.ENOSPC if operation == "short" else 0
    medium.done.clear()
    with pytest.raises(AppendUndone) as undone:
        log.append([note(2, padding=3 * PAGE_BYTES)])
    medium.rule = lambda _operation, _path: 0
    assert medium.size(segments(medium)[0]) == 2 * PAGE_BYTES
    assert medium.place("truncate", ".seg") < medium.place("sync", ".seg")
    assert undone.value.error.errno == errno.ENOSPC
    assert "short write" in str(undone.value)
    # What follows begins a segment of its own, for this one no longer has the room it was given.
    assert log.append([note(3)]) == 2
    assert len(segments(medium)) == 2
    assert numbers(medium) == [1, 3]


def test_rule_3_a_short_append_that_can_not_be_synced_away_breaks_the_log(
    medium: OrderedMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    medium.rule = lambda operation, path: (
        errno.EIO if operation in ("short", "sync") and path.endswith(".seg") else 0
    )
    with pytest.raises(LogBroken) as broken:
        log.append([note(1)])
    assert "Input/output" in str(broken.value)
    assert broken.value.error.errno == errno.EIO


def test_rule_5_segments_go_oldest_first_and_wal_is_synced_after(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(200):
        log.append([note(number, padding=3000)])
    log.roll(log.last_lsn)
    held = segments(medium)
    medium.done.clear()
    # The seventh removal fails: what is left must still be a log without a hole.
    removals = iter(range(100))
    medium.rule = lambda operation, path: (
        errno.EIO
        if (operation == "unlink" or (operation == "rename" and "spare" in path))
        and next(removals) == 6
        else 0
    )
    with pytest.raises(OSError, match="Input/output"):
        log.drop_through(log.last_lsn)
    medium.rule = lambda _operation, _path: 0
    assert segments(medium) == held[6:]
    medium.done.clear()
    log.drop_through(log.last_lsn)
    assert segments(medium) == held[-1:]
    last = max(medium.places("unlink") + medium.places("rename"))
    assert medium.place("syncdir", "wal", after=last) == len(medium.done) - 1
    medium.done.clear()
    assert log.drop_through(log.last_lsn) == 0
    assert medium.done == []


def test_rule_5_a_segment_with_one_record_above_the_checkpoint_stays(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.append([note(2)])
    log.roll(1)
    assert log.drop_through(1) == 0
    assert numbers(medium, from_lsn=2) == [2]
    assert log.drop_through(2) == 1


def test_the_log_knows_its_size_and_its_limits(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    assert log.size_bytes == PAGE_BYTES
    assert log.last_lsn == 0
    log.append([note(1)])
    assert log.size_bytes == 2 * PAGE_BYTES
    log.roll(0)
    assert log.size_bytes == SEGMENT + PAGE_BYTES
    assert log.batch_limit_bytes == SEGMENT // 4
    log.drop_through(1)
    assert log.size_bytes == PAGE_BYTES


def test_a_batch_that_just_fits_stays_in_the_segment_and_one_page_more_begins_the_next(
    medium: OrderedMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    pages_left = SEGMENT // PAGE_BYTES - 1
    around = len(b"".join(note(1).encode())) + 80
    log.append([note(1, padding=pages_left * PAGE_BYTES - around)])
    assert len(segments(medium)) == 1
    assert log.size_bytes == SEGMENT
    log.append([note(2)])
    assert len(segments(medium)) == 2
    assert numbers(medium) == [1, 2]


def test_a_roll_that_fails_leaves_the_log_as_it_was(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.keep_spare()
    for failing in ("pwrite", "sync", "rename"):
        medium.rule = lambda operation, path, failing=failing: (  # type: ignore[misc]
            errno.EIO if operation == failing and ("spare" in path or ".seg" in path) else 0
        )
        with pytest.raises(OSError, match="Input/output"):
            log.roll(1)
        medium.rule = lambda _operation, _path: 0
        assert len(segments(medium)) == 1
        assert log.checkpoint_lsn == 0
        assert log.append([note(2)]) >= 2
    log.roll(1)
    assert numbers(medium)[0] == 1


def test_a_segment_can_not_be_begun_so_the_append_left_nothing(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    while log.size_bytes < SEGMENT:
        log.append([note(1)])
    medium.rule = lambda operation, _path: errno.ENOSPC if operation in ("create", "write") else 0
    with pytest.raises(AppendUndone):
        log.append([note(2)])
    medium.rule = lambda _operation, _path: 0
    assert [name for name in medium.names("wal") if "spare" in name] == []
    assert log.append([note(3)]) == log.last_lsn
    assert numbers(medium)[-1] == 3


def test_a_spare_is_written_in_full_and_synced_and_a_failed_one_is_taken_away(
    medium: OrderedMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    medium.done.clear()
    log.keep_spare()
    spare = next(name for name in medium.names("wal") if name.startswith("spare-"))
    assert medium.size(f"wal/{spare}") == SEGMENT
    assert medium.place("write", spare) < medium.place("sync", spare)
    log.roll(0)
    medium.rule = lambda operation, path: (
        errno.EIO if (operation, path[:9]) == ("sync", "wal/spare") else 0
    )
    with pytest.raises(OSError, match="Input/output"):
        log.keep_spare()
    medium.rule = lambda _operation, _path: 0
    assert [name for name in medium.names("wal") if name.startswith("spare-")] == []
    log.keep_spare()
    log.append([note(1)])


def test_no_more_than_four_spares_are_kept_and_adopted(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for _ in range(9):
        log.append([note(1)])
        log.roll(log.last_lsn)
    assert log.drop_through(log.last_lsn) == 9
    assert len([name for name in medium.names("wal") if name.startswith("spare-")]) == 4
    log.close()
    for number in range(3):
        medium.create(f"wal/spare-{number}", bytes(SEGMENT))
    medium.create("wal/headroom", b"not a spare")
    Log.resume(medium, LOG, scan(medium, LOG), SEGMENT)
    # Four were adopted, one of them became the new segment.
    assert len([name for name in medium.names("wal") if name.startswith("spare-")]) == 3
    assert medium.exists("wal/headroom")


def test_a_new_log_begins_at_the_first_record_of_the_first_batch(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    assert log.place == Place(1, 1, NO_DIGEST)
    assert log.checkpoint_lsn == 0
    found = scan(medium, LOG)
    assert (found.end, found.checkpoint_lsn, found.oldest_lsn) == (log.place, 0, 1)
    assert segments(medium) == ["wal/00000000000000000001.seg"]


def test_a_log_knows_the_checkpoint_it_wrote_down(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.roll(1)
    assert log.checkpoint_lsn == scan(medium, LOG).checkpoint_lsn == 1
    while len(segments(medium)) < 3:
        log.append([note(2)])
    # A segment begun because the one before was full repeats the last checkpoint; it makes none.
    assert scan(medium, LOG).checkpoint_lsn == 1


def test_a_roll_that_fails_gives_its_descriptor_back(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for failing in ("rename", "syncdir"):
        medium.rule = lambda operation, _path, failing=failing: (  # type: ignore[misc]
            errno.EIO if operation == failing else 0
        )
        with pytest.raises(OSError, match="Input/output"):
            log.roll(0)
    medium.rule = lambda _operation, _path: 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_spare_larger_than_one_write_has_exactly_the_size_of_a_segment(
    medium: OrderedMedium,
) -> None:
    size = 2 * 2**20 + 2**19
    log = Log.begin(medium, LOG, size)
    assert medium.size(segments(medium)[0]) == size
    log.close()


def test_a_log_given_up_is_emptied_and_what_is_no_part_of_it_stays(medium: OrderedMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.keep_spare()
    log.close()
    medium.create("wal/headroom", b"x")
    medium.done.clear()
    remove_all(medium)
    assert medium.names("wal") == ["headroom"]
    assert medium.done[-1] == "syncdir wal"


def test_closing_gives_the_descriptor_back_and_twice_is_harmless(medium: OrderedMedium) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    log = Log.begin(medium, LOG, SEGMENT)
    for _ in range(5):
        log.append([note(1)])
        log.roll(log.last_lsn)
    log.drop_through(log.last_lsn)
    log.close()
    log.close()
    assert descriptors() == before
    resumed = Log.resume(medium, LOG, scan(medium, LOG), SEGMENT)
    resumed.close()
    assert descriptors() == before

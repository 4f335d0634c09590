"""The redo log by itself: batches and their chain, ends and damage, segments, spares, short appends."""

import errno
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage_node.medium import Medium
from storage_node.records import Kind, Record
from storage_node.tests.faulty_medium import FaultyMedium
from storage_node.wal import AppendUndone, Log, LogBroken
from storage_node.wal_format import PAGE_BYTES, BatchHeader, SegmentHeader
from storage_node.wal_scan import LogDamaged, LogMissing, replayed, scan

LOG = bytes(range(16))
SEGMENT = 64 * 1024


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[FaultyMedium]:
    opened = FaultyMedium(tmp_path)
    opened.make_directory("wal")
    yield opened
    opened.close()


def note(number: int, padding: int = 0) -> Record:
    return Record(Kind.FORGET, facts={"through": number, "padding": "x" * padding})


def numbers(medium: Medium, from_lsn: int = 1) -> list[int]:
    found = scan(medium, LOG)
    return [record.facts["through"] for _, record in replayed(medium, found, from_lsn)]


def segments(medium: Medium) -> list[str]:
    return [name for name in medium.names("wal") if name.endswith(".seg")]


def spares(medium: Medium) -> list[str]:
    return [name for name in medium.names("wal") if name.startswith("spare-")]


def test_what_was_appended_is_read_back_in_order(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    assert log.append([note(1), note(2)]) == 1
    assert log.append([note(3)]) == 3
    assert numbers(medium) == [1, 2, 3]
    assert numbers(medium, from_lsn=2) == [2, 3]
    assert log.last_lsn == 3


def test_a_batch_is_synced_before_append_returns_and_the_next_is_written_after(
    medium: FaultyMedium,
) -> None:
    order: list[str] = []

    def watch(operation: str, path: str) -> int:
        if path.endswith(".seg"):
            order.append(operation)
        return 0

    log = Log.begin(medium, LOG, SEGMENT)
    medium.rule = watch
    log.append([note(1)])
    log.append([note(2)])
    assert [operation for operation in order if operation != "short"] == [
        "pwrite",
        "sync",
        "pwrite",
        "sync",
    ]


def test_each_batch_begins_on_a_page_of_its_own(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(5):
        log.append([note(number)])
    raw = memoryview(medium.read(f"wal/{segments(medium)[0]}"))
    places = [
        offset for offset in range(0, SEGMENT, PAGE_BYTES) if BatchHeader.unpack(raw[offset:])
    ]
    assert places == [PAGE_BYTES * number for number in range(1, 6)]


def test_a_full_segment_is_followed_by_the_next_and_both_are_read(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(40):
        log.append([note(number, padding=3000)])
    assert len(segments(medium)) > 1
    assert numbers(medium) == list(range(40))


def test_a_segment_is_allocated_and_synced_before_it_has_its_name(medium: FaultyMedium) -> None:
    order: list[tuple[str, str]] = []

    def watch(operation: str, path: str) -> int:
        if operation != "short":
            order.append((operation, path.split("-", maxsplit=1)[0]))
        return 0

    medium.rule = watch
    Log.begin(medium, LOG, SEGMENT)
    kinds = [operation for operation, _ in order]
    assert kinds == ["create", "write", "sync", "pwrite", "sync", "rename", "syncdir"]
    assert medium.size(f"wal/{segments(medium)[0]}") == SEGMENT


def test_resuming_cuts_the_tail_and_begins_a_new_segment(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.append([note(2)])
    log.close()
    path = f"wal/{segments(medium)[0]}"
    fd = medium.open_change(path)
    medium.pwrite(fd, b"\xff" * 10, 2 * PAGE_BYTES + 100)
    medium.close_file(fd)
    found = scan(medium, LOG)
    assert found.last_lsn == 1
    resumed = Log.resume(medium, LOG, found, SEGMENT)
    assert medium.size(path) == 2 * PAGE_BYTES
    assert len(segments(medium)) == 2
    assert resumed.append([note(3)]) == 2
    assert numbers(medium) == [1, 3]


def test_an_invalid_batch_with_a_valid_one_behind_it_is_damage_and_not_an_end(
    medium: FaultyMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(3):
        log.append([note(number)])
    fd = medium.open_change(f"wal/{segments(medium)[0]}")
    medium.pwrite(fd, b"\xff", 2 * PAGE_BYTES + 100)
    medium.close_file(fd)
    with pytest.raises(LogDamaged, match="goes on at"):
        scan(medium, LOG)


def test_an_unreadable_place_in_an_earlier_segment_is_damage(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(40):
        log.append([note(number, padding=3000)])
    first = segments(medium)[0]
    last_page = medium.size(f"wal/{first}") - PAGE_BYTES  # type: ignore[operator]
    fd = medium.open_change(f"wal/{first}")
    for offset in range(last_page, PAGE_BYTES, -PAGE_BYTES):
        if BatchHeader.unpack(memoryview(medium.pread(fd, PAGE_BYTES, offset))):
            medium.pwrite(fd, b"\xff", offset + 90)
            break
    medium.close_file(fd)
    with pytest.raises(LogDamaged, match="not readable to its end"):
        scan(medium, LOG)


def test_a_missing_segment_between_others_is_damage(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(80):
        log.append([note(number, padding=3000)])
    names = segments(medium)
    assert len(names) > 3
    medium.unlink(f"wal/{names[1]}")
    with pytest.raises(LogDamaged, match="missing"):
        scan(medium, LOG)


def test_no_segment_at_all_is_a_missing_log(medium: FaultyMedium) -> None:
    with pytest.raises(LogMissing, match="accept-restored"):
        scan(medium, LOG)


def test_segments_of_another_log_are_not_read(medium: FaultyMedium) -> None:
    other = Log.begin(medium, bytes(16), SEGMENT)
    other.append([note(99)])
    with pytest.raises(LogMissing):
        scan(medium, LOG)


def test_leftovers_older_than_the_checkpoint_are_ignored_whatever_is_in_them(
    medium: FaultyMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    log.roll(checkpoint_lsn=1)
    log.append([note(2)])
    oldest = segments(medium)[0]
    fd = medium.open_change(f"wal/{oldest}")
    medium.pwrite(fd, b"\xff" * 100, PAGE_BYTES)
    medium.close_file(fd)
    assert numbers(medium, from_lsn=2) == [2]
    medium.unlink(f"wal/{oldest}")
    assert numbers(medium, from_lsn=2) == [2]


def test_dropping_takes_whole_old_segments_and_keeps_them_as_spares(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(80):
        log.append([note(number, padding=3000)])
    before = len(segments(medium))
    log.roll(log.last_lsn)
    assert log.drop_through(log.last_lsn) == before
    assert len(segments(medium)) == 1
    assert 0 < len(spares(medium)) <= 4
    log.append([note(80)])
    assert numbers(medium, from_lsn=81) == [80]


def test_a_recycled_segment_shows_nothing_of_its_earlier_life(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for round_ in range(12):
        for number in range(20):
            log.append([note(100 * round_ + number, padding=3000)])
        log.roll(log.last_lsn)
        log.drop_through(log.last_lsn)
    log.append([note(7)])
    assert numbers(medium, from_lsn=log.last_lsn) == [7]
    assert len(medium.names("wal")) <= 6


def test_a_segment_that_could_not_be_dropped_keeps_everything_readable(
    medium: FaultyMedium,
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    for number in range(30):
        log.append([note(number, padding=3000)])
    log.roll(10)
    assert numbers(medium, from_lsn=11) == list(range(10, 30))


@pytest.mark.parametrize("failing", ["pwrite", "short"])
def test_an_append_that_did_not_fit_leaves_nothing_and_the_log_goes_on(
    medium: FaultyMedium, failing: str
) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.append([note(1)])
    medium.rule = lambda operation, path: (
        errno.ENOSPC if operation == failing and path.endswith(".seg") else 0
    )
    with pytest.raises(AppendUndone):
        log.append([note(2)])
    medium.rule = lambda _operation, _path: 0
    assert log.append([note(3)]) == 2
    assert numbers(medium) == [1, 3]


def test_an_append_that_can_not_be_undone_breaks_the_log(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    medium.rule = lambda operation, _path: errno.EIO if operation in ("pwrite", "truncate") else 0
    with pytest.raises(LogBroken):
        log.append([note(1)])


def test_a_failed_sync_breaks_the_log(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    medium.rule = lambda operation, path: (
        errno.EIO if operation == "sync" and path.endswith(".seg") else 0
    )
    with pytest.raises(LogBroken):
        log.append([note(1)])


def test_a_header_tells_its_own_damage(medium: FaultyMedium) -> None:
    Log.begin(medium, LOG, SEGMENT)
    page = medium.read(f"wal/{segments(medium)[0]}")[:PAGE_BYTES]
    assert SegmentHeader.unpack(page) is not None
    for position in range(88):
        broken = bytearray(page)
        broken[position] ^= 1
        assert SegmentHeader.unpack(bytes(broken)) is None
    fd = medium.open_change(f"wal/{segments(medium)[0]}")
    medium.pwrite(fd, b"\xff", 30)
    medium.close_file(fd)
    with pytest.raises(LogDamaged, match="header"):
        scan(medium, LOG)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_log_damaged_at_will_gives_a_true_beginning_or_refuses(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Never a record that was not written, never one out of order, never a hole."""
    directory = tmp_path / UUID(int=data.draw(st.integers(0, 2**64))).hex
    (directory / "wal").mkdir(parents=True, exist_ok=True)
    for old in (directory / "wal").iterdir():
        old.unlink()
    medium = Medium(directory)
    log = Log.begin(medium, LOG, SEGMENT)
    count = data.draw(st.integers(1, 12))
    for number in range(count):
        log.append([note(number, padding=data.draw(st.integers(0, 9000)))])
    log.close()
    for _ in range(data.draw(st.integers(1, 4))):
        path = directory / "wal" / data.draw(st.sampled_from(segments(medium)))
        size = path.stat().st_size
        offset = data.draw(st.integers(0, max(0, size - 1)))
        with path.open("r+b") as file:
            if data.draw(st.booleans()):
                file.seek(offset)
                file.write(data.draw(st.binary(min_size=1, max_size=50))[: size - offset])
            else:
                file.truncate(offset)
    try:
        read = numbers(medium)
    except LogDamaged:
        pass
    else:
        assert read == list(range(len(read)))
    finally:
        medium.close()


def test_a_spare_that_was_not_finished_is_not_adopted(medium: FaultyMedium) -> None:
    log = Log.begin(medium, LOG, SEGMENT)
    log.close()
    medium.create("wal/spare-0000000000000000", b"short")
    resumed = Log.resume(medium, LOG, scan(medium, LOG), SEGMENT)
    assert spares(medium) == []
    resumed.keep_spare()
    resumed.keep_spare()
    assert len(spares(medium)) == 1


def test_the_root_stays_the_directory_opened_at_start(tmp_path: Path) -> None:
    directory = tmp_path / "se"
    directory.mkdir()
    medium = Medium(directory)
    assert medium.is_same_directory()
    directory.rename(tmp_path / "elsewhere")
    assert not medium.is_same_directory()
    directory.mkdir()
    assert not medium.is_same_directory()
    medium.create("file", b"x")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]
    medium.close()

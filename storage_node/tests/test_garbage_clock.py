"""When garbage is collected, and by which clock: the limits, to the second."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from storage_node import garbage, periodic
from storage_node.tests.small_element import SmallElement


@pytest.fixture
def element(tmp_path: Path) -> Iterator[SmallElement]:
    with SmallElement(tmp_path / "se").open() as opened:
        opened.trust_clock()
        yield opened


def postponed(element: SmallElement, trust_clock: bool = False) -> str | None:
    return garbage.collect(
        element.store, element.clock.now(), trust_clock=trust_clock
    ).postponed_reason


def test_garbage_is_collected_once_per_interval(tmp_path: Path) -> None:
    """The loop wakes often and collects when the interval is over, counted on the monotonic clock."""
    settings = {"gc_interval_seconds": 3600.0, "reconcile_interval_seconds": 1e9}
    element = SmallElement(tmp_path / "se", settings=settings).open()
    element.trust_clock()
    element.delete(element.put(b"12345").file_id)
    wakings: list[int] = []

    class Ticking(threading.Event):
        """Ten minutes pass at every waking; nothing is waited for."""

        def wait(self, timeout: float | None = None) -> bool:
            wakings.append(len(element.names_under("files")))
            element.clock.advance(minutes=10)
            return len(wakings) > 14

    collections: list[datetime] = []

    def now() -> datetime:
        collections.append(element.clock.now())
        element.trust_clock()
        return element.clock.now()

    periodic.run(element.store, Ticking(), now)
    assert wakings[:6] == [2] * 6
    assert wakings[6:] == [0] * 9
    assert len(collections) == 2
    assert collections[1] - collections[0] == timedelta(hours=1)
    element.crash()


@pytest.mark.parametrize(
    ("seconds", "trusted"), [(600, True), (-600, True), (601, False), (-601, False)]
)
def test_a_token_counts_within_ten_minutes_of_this_clock_either_way(
    tmp_path: Path, seconds: int, trusted: bool
) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        element.clock.moment = element.clock.moment.replace(microsecond=0)
        now = element.clock.now()
        element.store.note_trusted_clock(int(now.timestamp()) + seconds, now)
        assert (postponed(element) is None) is trusted


@pytest.mark.parametrize(
    ("drift", "trusted"), [(300, True), (-300, True), (301, False), (-301, False)]
)
def test_five_minutes_against_the_monotonic_clock_are_the_limit_either_way(
    element: SmallElement, drift: int, trusted: bool
) -> None:
    element.clock.advance(minutes=30)
    element.clock.moment += timedelta(seconds=drift)
    element.trust_clock()
    reason = postponed(element)
    assert (reason is None) is trusted, reason


def test_a_token_of_two_intervals_ago_is_the_oldest_that_counts(element: SmallElement) -> None:
    element.clock.advance(hours=2)
    assert postponed(element) is None
    element.clock.advance(seconds=1)
    assert "token" in str(postponed(element))
    element.trust_clock()
    assert postponed(element) is None


def test_a_clock_exactly_at_the_newest_change_is_not_behind_it(element: SmallElement) -> None:
    element.put(b"x")
    assert postponed(element) is None
    element.clock.moment -= timedelta(microseconds=1)
    element.trust_clock()
    assert "behind" in str(postponed(element))


def test_the_operator_s_word_stands_for_all_witnesses(element: SmallElement) -> None:
    element.delete(element.put(b"x").file_id)
    element.clock.moment += timedelta(days=1)
    assert postponed(element) is not None
    assert postponed(element, trust_clock=True) is None
    assert element.counts() == {}


def test_a_grace_ends_to_the_second_and_counts_from_the_expiry(element: SmallElement) -> None:
    element.put(b"x", ttl_days=1)
    element.clock.advance(days=2, seconds=-1)
    report = garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert (report.expired_files, report.freed_files) == (1, 0)
    element.clock.advance(seconds=1)
    report = garbage.collect(element.store, element.clock.now(), trust_clock=True)
    assert (report.expired_files, report.freed_files) == (0, 1)


def test_a_report_counts_what_was_really_freed(element: SmallElement) -> None:
    """Bytes that were not there any more are not claimed to have been freed."""
    whole, hollow = element.put(b"x" * 1000), element.put(b"y" * 500)
    element.paths_of(hollow.file_id)[0].unlink()
    for file in (whole, hollow):
        element.delete(file.file_id)
    report = garbage.collect(element.store, element.clock.now())
    assert (report.freed_files, report.freed_bytes) == (2, 1000)
    assert sorted(item["bytes"] for item in report.items) == [0, 1000]

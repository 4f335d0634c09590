"""Modes and the way between them; room that can not be overrun."""

import errno
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_node import garbage
from storage_node.errors import (
    ConfirmationRequired,
    InvalidTransition,
    ModeNotAllowed,
    NotWritable,
    StorageFull,
    ValidationFailed,
)
from storage_node.modes import ALLOWED
from storage_node.tests.faulty_medium import FaultyMedium
from storage_node.tests.small_element import KIB, MIB, SmallElement

WAYS = {("rw", "ro"), ("ro", "ar")}


@pytest.mark.parametrize("mode", ALLOWED)
def test_the_table_of_modes(tmp_path: Path, mode: str) -> None:
    with SmallElement(
        tmp_path / "se", settings={"initial_mode": "rw" if mode in ("ro", "ar") else mode}
    ).open() as element:
        file = element.put(b"x")
        if mode in ("ro", "ar"):
            element.mode("ro")
        if mode == "ar":
            element.mode("ar")
        allowed = {
            "upload": mode in ("edit", "rw"),
            "download": mode != "ar",
            "update": mode in ("edit", "rw"),
            "delete": mode == "edit",
        }
        calls: dict[str, Callable[[], object]] = {
            "upload": lambda: element.put(b"y"),
            "download": lambda: element.body(file.file_id),
            "update": lambda: element.edit(file.file_id, description="d"),
            "delete": lambda: element.delete(file.file_id),
        }
        assert len(element.items()) == 1
        assert element.store.get(file.file_id, element.clock.now()).attributes == file
        for operation, call in calls.items():
            if allowed[operation]:
                call()
            else:
                with pytest.raises(ModeNotAllowed):
                    call()
        expected = {operation for operation, is_allowed in allowed.items() if is_allowed} | {"list"}
        assert set(element.store.info(element.clock.now()).allowed_operations) == expected


@pytest.mark.parametrize("target", ALLOWED)
@pytest.mark.parametrize("start", ALLOWED)
def test_the_ways_between_modes(tmp_path: Path, start: str, target: str) -> None:
    with SmallElement(tmp_path / "se", settings={"initial_mode": start}).open() as element:
        if (start, target) in WAYS:
            element.mode(target)
            assert element.store.info(element.clock.now()).mode == target
        elif (start, target) == ("ro", "rw"):
            with pytest.raises(ConfirmationRequired):
                element.mode(target)
            element.mode(target, confirm=True)
            assert element.store.info(element.clock.now()).mode == target
        else:
            for confirm in (False, True):
                with pytest.raises(InvalidTransition):
                    element.mode(target, confirm=confirm)
            assert element.store.info(element.clock.now()).mode == start


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element, pytest.raises(ValidationFailed):
        element.mode("wide-open")


def test_the_stored_mode_wins_after_a_restart_and_its_history_is_kept(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se", settings={"initial_mode": "rw"}).open()
    element.mode("ro")
    element.clock.advance(hours=1)
    element.mode("rw", confirm=True)
    element.mode("ro")
    element.reopen()
    told = json.loads((tmp_path / "se" / "mode.json").read_text())
    assert (told["mode"], told["by"]) == ("ro", "tester")
    assert [step["mode"] for step in told["history"]] == ["rw", "ro", "rw"]
    assert element.store.info(element.clock.now()).mode == "ro"
    element.crash()


def test_a_mode_that_could_not_be_made_durable_is_not_answered_as_changed(tmp_path: Path) -> None:
    element = SmallElement(
        tmp_path / "se", open_medium=FaultyMedium, settings={"initial_mode": "rw"}
    ).open()
    medium = element.store.element.disk.medium
    assert isinstance(medium, FaultyMedium)
    medium.rule = lambda operation, path: (
        errno.EIO if operation == "pwrite" and path.endswith(".seg") else 0
    )
    with pytest.raises(NotWritable):
        element.mode("ro")
    assert element.store.info(element.clock.now()).mode == "rw"
    element.reopen()
    assert element.store.info(element.clock.now()).mode == "rw"
    element.crash()


# Capacity


def small(path: Path, capacity: int, **settings: object) -> SmallElement:
    return SmallElement(path, settings={"max_capacity_bytes": capacity, **settings}).open()


@pytest.mark.parametrize("size", [40 * KIB, 1 * MIB])
@pytest.mark.parametrize("is_declared", [True, False])
def test_of_64_parallel_uploads_exactly_those_that_fit_succeed(
    tmp_path: Path, size: int, is_declared: bool
) -> None:
    """Undeclared ones reserve a step beyond what they have written, so fewer may fit; never more."""
    with small(tmp_path / "se", 10 * size) as element:
        together, outcomes = threading.Barrier(64), []

        def send() -> None:
            together.wait()
            try:
                outcomes.append(
                    element.put(b"x" * size, pieces=4, declared_bytes=size if is_declared else None)
                )
            except StorageFull:
                outcomes.append(None)

        threads = [threading.Thread(target=send) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stored = sum(outcome is not None for outcome in outcomes)
        assert stored == 10 if is_declared else stored <= 10
        room = element.store.info(element.clock.now()).capacity
        assert (room["used_bytes"], room["reserved_bytes"]) == (stored * size, 0)
        assert element.names_under("incoming") == []


def test_a_declared_size_without_room_is_refused_before_the_body(tmp_path: Path) -> None:
    with small(tmp_path / "se", 1000) as element:
        element.put(b"x" * 600)
        with pytest.raises(StorageFull):
            element.store.begin_upload(element.draft(declared_bytes=401), element.clock.now())
        element.put(b"x" * 400)
        assert element.store.info(element.clock.now()).capacity["available_bytes"] == 0


def test_reservations_count_until_the_upload_ends(tmp_path: Path) -> None:
    with small(tmp_path / "se", 1000) as element:
        upload = element.store.begin_upload(element.draft(declared_bytes=700), element.clock.now())
        assert element.store.info(element.clock.now()).capacity["reserved_bytes"] == 700
        with pytest.raises(StorageFull):
            element.put(b"x" * 400)
        upload.abort()
        assert element.put(b"x" * 1000).size == 1000


def test_the_real_disk_counts_too(tmp_path: Path) -> None:
    element = SmallElement(
        tmp_path / "se", open_medium=FaultyMedium, settings={"min_free_disk_bytes": 2 * MIB}
    ).open()
    medium = element.store.element.disk.medium
    assert isinstance(medium, FaultyMedium)
    medium.free = 2 * MIB + 1000
    with pytest.raises(StorageFull):
        element.put(b"x" * 1001)
    assert element.put(b"x" * 1000).size == 1000
    medium.free = 2 * MIB - 1
    with pytest.raises(StorageFull):
        element.put(b"x")
    assert element.store.info(element.clock.now()).capacity["available_bytes"] == 0
    element.crash()


def test_deleted_files_use_room_until_they_are_freed(tmp_path: Path) -> None:
    with small(tmp_path / "se", 1000) as element:
        file = element.put(b"x" * 1000)
        element.delete(file.file_id)
        with pytest.raises(StorageFull):
            element.put(b"y")
        garbage.collect(element.store, element.clock.now(), trust_clock=True)
        assert element.put(b"y" * 1000).size == 1000


def test_the_same_bytes_again_need_no_room(tmp_path: Path) -> None:
    with small(tmp_path / "se", 100_000) as element:
        file = element.put(b"x" * 100_000)
        again = element.put(b"x" * 100_000, file_id=file.file_id)
        assert again == file


def test_used_room_is_true_after_a_restart_and_a_rebuild(tmp_path: Path) -> None:
    element = SmallElement(tmp_path / "se").open()
    for size in (10, 20, 100_000):
        element.put(b"x" * size)
    element.delete(element.put(b"y" * 5).file_id)
    used = element.store.info(element.clock.now()).capacity["used_bytes"]
    assert used == 100_035
    element.reopen()
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == used
    element.close()
    element.open(rebuild=True)
    assert element.store.info(element.clock.now()).capacity["used_bytes"] == used
    element.crash()

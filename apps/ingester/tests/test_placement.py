"""Which element a file goes to, counting what is in flight."""

import collections
import datetime as dt
import random
import uuid
from typing import Any

import pytest

from apps.ingester.errors import FileTooLarge, NoStorageAvailable, StorageFull
from apps.ingester.placement import Board, Need, Refusal, refused_by_all
from apps.registry.models import (
    ElementStatus,
    FileRecord,
    FileStatus,
    Mode,
    StorageElement,
    element_id_of,
)

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=1)
GIB = 1024**3


def made(name: str, room: int = GIB, mode: str = Mode.EDIT, **columns: Any) -> StorageElement:
    values = {
        "id": element_id_of(name),
        "name": name,
        "url": f"https://{name}.example",
        "storage_id": name,
        "instance_id": "i",
        "mode": mode,
        "status": ElementStatus.ONLINE,
        "available_bytes": room,
        "last_probe_at": NOW,
    }
    return StorageElement.objects.create(**(values | columns))


@pytest.fixture
def board() -> Board:
    return Board(random.Random(7))


def names(board: Board, size: int = 1, retention: str = "temporary", now: Any = NOW) -> list[str]:
    return [found.name for found in board.candidates(Need(retention, size), now)]


def test_temporary_files_go_to_edit_and_permanent_ones_to_rw(board: Board) -> None:
    made("edit")
    made("rw", mode=Mode.RW)
    made("ro", mode=Mode.RO)
    made("ar", mode=Mode.AR)
    assert names(board) == ["edit"]
    assert names(board, retention="permanent") == ["rw"]


@pytest.mark.parametrize(
    "status", [ElementStatus.OFFLINE, ElementStatus.DEGRADED, ElementStatus.MAINTENANCE]
)
def test_only_elements_that_are_online_are_asked(board: Board, status: str) -> None:
    made("a", status=status)
    with pytest.raises(NoStorageAvailable) as refused:
        names(board)
    assert int(refused.value.headers["Retry-After"]) > 0


def test_uploads_spread_in_proportion_to_room(board: Board) -> None:
    """Prior art 30: the one with most room got every upload of the hour."""
    for number, room in enumerate((1, 2, 3, 4)):
        made(f"e{number}", room=room * GIB)
    first = collections.Counter(names(board)[0] for _ in range(4000))
    assert set(first) == {"e0", "e1", "e2", "e3"}
    for number, share in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert first[f"e{number}"] / 4000 == pytest.approx(share, abs=0.03)


def test_what_was_begun_since_the_probe_is_counted(board: Board) -> None:
    element = made("a", room=100)
    made("b", room=60)
    FileRecord.objects.create(
        file_id=uuid.uuid4(),
        storage_element=element,
        original_filename="x",
        content_type="a/b",
        size=90,
        uploaded_by="u",
        uploaded_at=NOW,
        updated_at=NOW,
        status=FileStatus.UPLOADING,
        retention_policy="temporary",
        begun_at=NOW + dt.timedelta(seconds=1),
    )
    assert {names(board, size=50)[0] for _ in range(50)} == {"b"}


def test_what_was_begun_before_the_probe_is_in_the_probes_figures(board: Board) -> None:
    element = made("a", room=100)
    FileRecord.objects.create(
        file_id=uuid.uuid4(),
        storage_element=element,
        original_filename="x",
        content_type="a/b",
        size=90,
        uploaded_by="u",
        uploaded_at=NOW,
        updated_at=NOW,
        status=FileStatus.ACTIVE,
        retention_policy="temporary",
        begun_at=NOW - dt.timedelta(seconds=1),
    )
    made("b", room=60)
    assert "a" in {names(board, size=50)[0] for _ in range(50)}


def test_what_this_process_began_counts_at_once(board: Board) -> None:
    element = made("a", room=100)
    made("b", room=60)
    names(board)
    board.note_begun(element.id, 90)
    assert {names(board, size=50)[0] for _ in range(50)} == {"b"}


def test_a_seemingly_full_element_is_still_asked_last(board: Board) -> None:
    """None is refused while any element has room, and only the element knows its room."""
    made("full", room=10)
    made("roomy", room=1000)
    assert names(board, size=100) == ["roomy", "full"]
    StorageElement.objects.filter(name="roomy").delete()
    board.forget()
    assert names(board, size=100) == ["full"]


def test_a_refusal_is_remembered_for_a_while(board: Board, settings: Any) -> None:
    settings.ARTSTORE_PLACEMENT_MEMORY_SECONDS = 5
    element = made("a")
    made("b")
    board.note_refused(element.id, Refusal.UNREACHABLE, 1, NOW)
    assert names(board) == ["b"]
    assert set(names(board, now=LATER)) == {"a", "b"}


@pytest.mark.parametrize(
    ("refusal", "answer"), [(Refusal.FULL, StorageFull), (Refusal.TOO_LARGE, FileTooLarge)]
)
def test_a_full_element_is_still_asked_for_smaller_files(
    board: Board, settings: Any, refusal: Refusal, answer: type[Exception]
) -> None:
    settings.ARTSTORE_PLACEMENT_MEMORY_SECONDS = 5
    element = made("a")
    board.note_refused(element.id, refusal, 1000, NOW)
    assert names(board, size=999) == ["a"]
    with pytest.raises(answer, match="1000 bytes"):
        names(board, size=1000)


def test_an_unwilling_element_is_not_asked_for_smaller_files_either(
    board: Board, settings: Any
) -> None:
    settings.ARTSTORE_PLACEMENT_MEMORY_SECONDS = 5
    board.note_refused(made("a").id, Refusal.NOT_WILLING, 1000, NOW)
    with pytest.raises(NoStorageAvailable, match="temporary files") as refused:
        names(board, size=1)
    assert refused.value.headers == {"Retry-After": "10"}


def test_a_refusal_and_figures_are_old_at_the_very_end_of_their_time(
    board: Board, settings: Any
) -> None:
    settings.ARTSTORE_PLACEMENT_MEMORY_SECONDS = 5
    settings.ARTSTORE_PLACEMENT_REFRESH_SECONDS = 9
    board.note_refused(made("a").id, Refusal.UNREACHABLE, 1, NOW)
    made("b")
    assert names(board, now=NOW) == ["b"]
    made("c")
    assert set(names(board, now=NOW + dt.timedelta(seconds=5))) == {"a", "b"}
    assert set(names(board, now=NOW + dt.timedelta(seconds=9))) == {"a", "b", "c"}


def test_a_fresh_start_remembers_no_refusal(board: Board) -> None:
    element = made("a")
    board.note_refused(element.id, Refusal.UNREACHABLE, 1, NOW)
    board.forget()
    assert names(board) == ["a"]


def test_an_exact_fit_is_drawn_by_lot_like_any_other(board: Board) -> None:
    made("exact", room=100)
    made("more", room=101)
    first = collections.Counter(names(board, size=100)[0] for _ in range(300))
    # One byte is to spare here and two are there.
    assert first["exact"] / 300 == pytest.approx(1 / 3, abs=0.1)


def test_of_elements_that_seem_full_the_roomiest_is_asked_first(board: Board) -> None:
    for name, room in (("a", 10), ("b", 30), ("c", 20)):
        made(name, room=room)
    assert names(board, size=100) == ["b", "c", "a"]


def test_an_upload_is_noted_though_nobody_looked_for_room_yet(board: Board) -> None:
    element = made("a", room=100)
    board.note_begun(element.id, 60)
    names(board)
    board.note_begun(uuid.uuid4(), 60)
    made("b", room=100)
    assert names(board, size=50) == ["a"]


@pytest.mark.parametrize(
    ("refusals", "answer"),
    [
        ([Refusal.FULL, Refusal.FULL], StorageFull),
        ([Refusal.FULL, Refusal.UNREACHABLE], NoStorageAvailable),
        ([Refusal.NOT_WILLING], NoStorageAvailable),
        ([Refusal.UNREACHABLE], NoStorageAvailable),
        ([Refusal.TOO_LARGE], FileTooLarge),
        ([], NoStorageAvailable),
    ],
)
def test_507_only_when_all_refuse_for_room(refusals: list[Refusal], answer: type) -> None:
    assert type(refused_by_all(refusals, Need("temporary", 5))) is answer


def test_figures_are_read_again_when_they_are_old(board: Board, settings: Any) -> None:
    settings.ARTSTORE_PLACEMENT_REFRESH_SECONDS = 1
    made("a")
    assert names(board) == ["a"]
    made("b")
    assert names(board) == ["a"]
    assert set(names(board, now=NOW + dt.timedelta(seconds=2))) == {"a", "b"}

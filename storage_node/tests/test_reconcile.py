"""Reconcile: every finding by name, nothing in flight reported, nothing silently away, wrong bytes never served."""

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from storage_node import reconcile
from storage_node.errors import FileDamaged, ReconcileInProgress
from storage_node.tests.small_element import SmallElement


def run(element: SmallElement) -> dict[str, Any]:
    element.clock.advance(minutes=1)
    return reconcile.run(element.store, element.clock.now(), "test")


def found(report: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in report["findings"].items() if count}


def notes(element: SmallElement) -> list[dict[str, Any]]:
    return [
        json.loads((element.path / name).read_text())
        for name in element.names_under("quarantine")
        if name.endswith("note.json")
    ]


def test_an_element_in_order_has_no_findings(element: SmallElement) -> None:
    for name in (
        "a.txt",
        "draft.tmp",
        "x.part",
        "note.json",
        ".hidden",
        "b.attr.json",
        "mode.json",
    ):
        element.put(b"x", original_filename=name)
    element.delete(element.put(b"d").file_id)
    element.put(b"")
    report = run(element)
    assert (found(report), report["items"], report["status"], report["files_checked"]) == (
        {},
        [],
        "finished",
        9,
    )
    assert element.names_under("quarantine") == []


def test_bytes_without_attributes_go_to_quarantine_with_a_note(element: SmallElement) -> None:
    element.put(b"x")
    orphan = element.path / "files" / "ab" / "cd" / f"stray_{uuid.uuid4()}.bin"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"who am I")
    (element.path / "files" / "loose.txt").write_bytes(b"1")
    assert found(run(element)) == {"orphaned_file": 2}
    assert not orphan.exists()
    kept = [name for name in element.names_under("quarantine") if name.endswith(orphan.name)]
    assert (element.path / kept[0]).read_bytes() == b"who am I"
    assert {note["finding"] for note in notes(element)} == {"orphaned_file"}
    assert f"files/ab/cd/{orphan.name}" in [note["from"][0] for note in notes(element)]
    assert element.counts() == {"active": 1}
    assert element.store.info(element.clock.now()).capacity["used_bytes"] > 1
    assert found(run(element)) == {}


def test_an_orphan_that_claims_a_healthy_files_id_harms_it_not(element: SmallElement) -> None:
    file = element.put(b"healthy")
    content, _ = element.paths_of(file.file_id)
    content.with_name(f"copy_{file.file_id}.txt").write_bytes(b"copy")
    assert found(run(element)) == {"orphaned_file": 1}
    element.reopen()
    assert element.body(file.file_id) == b"healthy"
    element.close()
    element.open(rebuild=True)
    assert element.body(file.file_id) == b"healthy"


def test_corrupt_attributes_go_to_quarantine_with_their_bytes_and_the_file_stays_visible(
    element: SmallElement,
) -> None:
    for text in ("", "{", "[]", '{"format": 2}', "\x00"):
        file = element.put(b"x")
        element.paths_of(file.file_id)[1].write_text(text)
    report = run(element)
    assert found(report) == {"corrupt_attributes": 5}
    assert element.counts() == {"damaged": 5}
    assert element.names_under("files") == []
    with pytest.raises(FileDamaged):
        element.body(file.file_id)
    assert element.store.get(file.file_id, element.clock.now()).damaged == "corrupt_attributes"
    assert found(run(element)) == {}
    element.reopen()
    assert element.counts() == {"damaged": 5}


def test_attributes_of_another_file_are_corrupt(element: SmallElement) -> None:
    a, b = element.put(b"a"), element.put(b"b")
    element.paths_of(a.file_id)[1].write_bytes(element.paths_of(b.file_id)[1].read_bytes())
    assert found(run(element)) == {"corrupt_attributes": 1}
    assert element.body(b.file_id) == b"b"


def test_missing_cut_and_changed_bytes_are_found_kept_visible_and_not_served(
    element: SmallElement,
) -> None:
    missing, cut, changed = (
        element.put(b"missing"),
        element.put(b"cut off"),
        element.put(b"changed"),
    )
    element.paths_of(missing.file_id)[0].unlink()
    element.paths_of(cut.file_id)[0].write_bytes(b"cut")
    element.paths_of(changed.file_id)[0].write_bytes(b"CHANGED")
    report = run(element)
    assert found(report) == {"missing_file": 1, "size_mismatch": 1, "checksum_mismatch": 1}
    assert element.counts() == {"damaged": 3}
    for file, name in (
        (missing, "missing_file"),
        (cut, "size_mismatch"),
        (changed, "checksum_mismatch"),
    ):
        assert element.store.get(file.file_id, element.clock.now()).damaged == name
        with pytest.raises(FileDamaged):
            element.body(file.file_id)
    assert [item["finding"] for item in report["items"]]
    assert element.names_under("quarantine") == sorted(
        f"quarantine/{file.file_id}.note.json" for file in (missing, cut, changed)
    )


def test_bytes_and_attributes_both_gone_is_a_missing_file(element: SmallElement) -> None:
    file = element.put(b"x")
    for path in element.paths_of(file.file_id):
        path.unlink()
    assert found(run(element)) == {"missing_file": 1}


def test_attributes_gone_beside_their_bytes_are_reported_and_the_bytes_stay(
    element: SmallElement,
) -> None:
    file = element.put(b"x")
    content, attributes = element.paths_of(file.file_id)
    attributes.unlink()
    assert found(run(element)) == {"corrupt_attributes": 1}
    assert content.read_bytes() == b"x"
    assert element.counts() == {"damaged": 1}


def test_bytes_put_back_by_hand_are_believed_only_by_their_hash(element: SmallElement) -> None:
    file = element.put(b"right")
    content, _ = element.paths_of(file.file_id)
    content.write_bytes(b"wrong")
    run(element)
    assert found(run(element)) == {"checksum_mismatch": 1}
    content.write_bytes(b"right")
    assert found(run(element)) == {}
    assert element.body(file.file_id) == b"right"
    assert element.counts() == {"active": 1}
    assert element.names_under("quarantine") == []


def test_an_index_that_disagrees_with_the_attributes_is_mended(element: SmallElement) -> None:
    file = element.put(b"x")
    attributes = element.paths_of(file.file_id)[1]
    told = json.loads(attributes.read_text())
    attributes.write_text(
        json.dumps(told | {"description": "edited by hand", "revision": 5}, sort_keys=True) + "\n"
    )
    assert found(run(element)) == {"index_mismatch": 1}
    assert (
        element.store.get(file.file_id, element.clock.now()).attributes.description
        == "edited by hand"
    )
    assert element.store.totals()["active"]["revisions"] == 5
    element.reopen()
    assert element.store.get(file.file_id, element.clock.now()).attributes.revision == 5


def test_a_file_the_index_never_knew_is_taken_up(element: SmallElement) -> None:
    file = element.put(b"x")
    content, attributes = element.paths_of(file.file_id)
    saved = content.read_bytes(), attributes.read_bytes()
    element.close()
    for path in (content, attributes):
        path.unlink()
    element.open(rebuild=True)
    assert element.counts() == {}
    content.write_bytes(saved[0])
    attributes.write_bytes(saved[1])
    assert found(run(element)) == {"index_mismatch": 1}
    assert element.body(file.file_id) == b"x"


def test_uploads_edits_and_deletions_under_way_are_never_reported(element: SmallElement) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            while not stop.is_set():
                file = element.put(b"y" * 70_000)
                element.edit(file.file_id, description="d")
                element.delete(element.put(b"x").file_id)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        reports = [run(element) for _ in range(5)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [found(report) for report in reports] == [{}] * 5
    assert failures == []
    assert element.names_under("quarantine") == []


def test_what_is_not_in_a_checkpoint_yet_is_left_for_the_next_run(
    element: SmallElement, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = element.put(b"x")
    element.paths_of(file.file_id)[0].unlink()
    monkeypatch.setattr(element.store, "checkpoint", lambda: True)
    assert found(run(element)) == {}
    monkeypatch.undo()
    assert found(run(element)) == {"missing_file": 1}


def test_scrubbing_takes_the_least_recently_verified_first_and_only_a_share(tmp_path: Path) -> None:
    settings = {"scrub_period_seconds": 10.0, "reconcile_interval_seconds": 2.0}
    with SmallElement(tmp_path / "se", settings=settings).open() as element:
        files = [element.put(b"x" * 1000).file_id for _ in range(10)]
        dates = []
        for _ in range(5):
            report = run(element)
            assert 2000 <= report["bytes_hashed"] <= 3000
            dates.append(
                [element.store.get(file_id, element.clock.now()).verified_at for file_id in files]
            )
        assert all(dates[-1])
        assert dates[0][0] is not None
        assert dates[0][9] is None
        before = [date for date in dates[-1] if date]
        assert before == sorted(before) or len(set(before)) > 1


def test_every_byte_is_hashed_once_per_period(tmp_path: Path) -> None:
    settings = {"scrub_period_seconds": 600.0, "reconcile_interval_seconds": 60.0}
    with SmallElement(tmp_path / "se", settings=settings).open() as element:
        files = [element.put(b"x" * 1000).file_id for _ in range(20)]
        element.paths_of(files[17])[0].write_bytes(b"y" * 1000)
        reports = [run(element) for _ in range(10)]
        assert sum(report["findings"]["checksum_mismatch"] for report in reports) >= 1
        assert element.store.get(files[17], element.clock.now()).damaged == "checksum_mismatch"


def test_one_run_at_a_time_and_the_one_under_way_can_be_seen(element: SmallElement) -> None:
    assert reconcile.last_report(element.store)["status"] == "never"
    under_way = reconcile.begin(element.store, element.clock.now(), "request")
    with pytest.raises(ReconcileInProgress):
        reconcile.begin(element.store, element.clock.now(), "request")
    assert reconcile.last_report(element.store)["status"] == "running"
    report = under_way.finish(element.clock.now)
    assert report["status"] == "finished"
    assert reconcile.last_report(element.store) == report
    element.reopen()
    assert reconcile.last_report(element.store) == report
    assert element.store.info(element.clock.now()).last_reconcile == report


def test_a_run_that_is_told_to_stop_says_so_and_lets_the_next_one_begin(
    element: SmallElement,
) -> None:
    element.put(b"x")
    report = reconcile.run(element.store, element.clock.now(), "test", wait=lambda _seconds: True)
    assert (report["status"], report["error"]) == ("failed", "stopped before its end")
    assert run(element)["status"] == "finished"


def test_hashing_keeps_to_its_rate(tmp_path: Path) -> None:
    """Time is the pace's own: what it waits moves the clock, so the seconds are exact and the test does not sleep."""
    with SmallElement(
        tmp_path / "se",
        settings={"scrub_rate_bytes_per_second": 100_000, "scrub_period_seconds": 1.0},
    ).open() as element:
        for _ in range(10):
            element.put(b"x" * 100_000)
        waited: list[float] = []

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            element.clock.seconds += seconds
            return False

        report = reconcile.run(element.store, element.clock.now(), "test", wait=wait)
        assert report["bytes_hashed"] == 1_000_000
        assert 8.0 <= sum(waited) <= 10.5


def test_a_quarantine_survives_a_kill_and_is_counted_as_used(element: SmallElement) -> None:
    orphan = element.path / "files" / "ab" / "cd" / "stray.bin"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"x" * 500)
    run(element)
    used = element.store.info(element.clock.now()).capacity["used_bytes"]
    assert used >= 500
    element.reopen()
    assert element.store.info(element.clock.now()).capacity["used_bytes"] >= 500
    assert any(name.endswith("stray.bin") for name in element.names_under("quarantine"))

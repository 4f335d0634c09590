"""Drill: a real disk that is full, and one whose syncs fail, under a real node at work."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from storage_node.tests.conftest import MakeNode, error_of, eventually
from storage_node.tests.drill_load import Load, Wire
from storage_node.tests.drill_report import rounds, say
from storage_node.tests.loop_image import LoopImage, NoLoopMounts
from storage_node.tests.node_process import NodeProcess

MIB = 2**20
SETTINGS = {"SE_LOG_SIZE": "4MiB", "SE_LOG_LEVEL": "warning", "SE_TOMBSTONE_KEEP": "1s"}


@pytest.fixture
def on_image(make_node: MakeNode) -> Iterator[tuple[NodeProcess, LoopImage]]:
    """A running node whose data directory is a small filesystem of its own."""
    node = make_node(start=False, **SETTINGS)
    try:
        image = LoopImage(node.data_dir, 128 * MIB)
    except NoLoopMounts as why:
        pytest.skip(f"a real disk of our own needs a loop-mounted image: {why}")
    yield node.start(), image
    node.__exit__()
    image.close()


def fill_by_uploads(node: NodeProcess) -> list[str]:
    """Uploads, sized and chunked, until each kind is refused with 507; the ids of what was stored."""
    api, stored = node.session(), []
    for sent in (lambda: bytes(4 * MIB), lambda: iter([bytes(256 * 1024)] * 4)):
        while (answer := api.put_file(sent())).status_code == 201:
            stored.append(answer.json()["file_id"])
        assert error_of(answer) == (507, "STORAGE_FULL")
    return stored


def works_again(load: Load) -> None:
    """Room is back: everything goes on without a restart."""
    api = load.node.session()
    eventually(lambda: api.put_file(b"works again", load.keep(b"works again")).status_code == 201)
    eventually(lambda: api.get("/health/ready").json()["checks"]["disk"]["status"] == "ok")
    load.start()
    load.wait_for(load.acknowledged + 100)
    load.stop()


def full_before(load: Load, image: LoopImage) -> None:
    """Somebody else's file took all room but the node's own reserve: deletions, garbage collection, checkpoint work."""
    api, filler = load.node.session(), image.fill()
    load.start()
    load.wait_for_refusals(100)
    load.stop()
    assert set(load.statuses) <= {200, 201, 507}
    assert load.read_all() > 0
    assert api.get("/health/ready").status_code == 200
    present = load.present()
    for file_id in present[: len(present) // 2]:
        assert api.delete(f"/api/v1/files/{file_id}").status_code == 200
        load.forget(file_id)
    freed = api.post("/api/v1/maintenance/collect-garbage").json()
    assert (freed["postponed_reason"], freed["freed_files"] > 0) == (None, True)
    report = api.post("/api/v1/maintenance/reconcile?wait=true").json()
    assert (report["status"], set(report["findings"].values())) == ("finished", {0})
    filler.unlink()
    works_again(load)


def full_meanwhile(load: Load, image: LoopImage) -> None:
    """It fills up in the middle of a load, and what the node gives up is taken too: refused or waiting, and reads go on."""
    load.start()
    load.wait_for(load.acknowledged + 50)
    filler = image.fill()
    load.wait_for_refusals(10)
    assert load.read_all() > 0
    filler.unlink()
    load.wait_for(load.acknowledged + 50)
    load.stop()
    assert set(load.statuses) <= {200, 201, 507}
    works_again(load)


def started_full(load: Load, image: LoopImage) -> None:
    """A kill on a full disk, and a start on it: everything can be read."""
    filler = image.fill()
    load.node.kill()
    load.node.start()
    assert load.read_all() > 0
    filler.unlink()
    works_again(load)


def live_through_full_disks(node: NodeProcess, image: LoopImage) -> Load:
    """Full by the node's own files, by somebody else's before, during, and at a start; nothing is lost, and how much was refused."""
    api, load = node.session(), Load(node, seed=random.randrange(10**6))
    stored = fill_by_uploads(node)
    for file_id in stored:
        assert api.delete(f"/api/v1/files/{file_id}").status_code == 200
    freed = api.post("/api/v1/maintenance/collect-garbage").json()
    assert freed["freed_files"] == len(stored)
    works_again(load)
    full_before(load, image)
    full_meanwhile(load, image)
    started_full(load, image)
    node.kill()
    node.start()
    assert load.check().all == []
    for file_id in load.present():
        assert api.delete(f"/api/v1/files/{file_id}").status_code == 200
    assert api.post("/api/v1/maintenance/collect-garbage").json()["freed_files"] > 0
    return load


def test_a_full_disk_refuses_uploads_frees_what_is_deleted_and_works_again_without_a_restart(
    on_image: tuple[NodeProcess, LoopImage],
) -> None:
    """The quick form: somebody else's file takes the room; the drill has the other ways."""
    node, image = on_image
    load = Load(node)
    works_again(load)
    full_before(load, image)


@pytest.mark.drill
def test_a_disk_full_again_and_again_loses_nothing(
    on_image: tuple[NodeProcess, LoopImage],
) -> None:
    count = refused = acknowledged = 0
    for _ in rounds(5):
        count += 1
        load = live_through_full_disks(*on_image)
        refused, acknowledged = refused + load.refused, acknowledged + load.acknowledged
    say(
        f"disk full: {count} rounds (by the node's files, by others' before, during and at a start): {refused} changes "
        f"refused with 507, reads went on, deletion, garbage collection and checkpoint worked, works again without a "
        f"restart, 0 of {acknowledged} acknowledged changes lost"
    )


@contextmanager
def failing(node: NodeProcess, calls: str) -> Iterator[None]:
    """From now on these system calls of the node fail with EIO, until the block ends."""
    assert node.process is not None
    inject = ("-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO")
    log = node.directory / "strace"
    command = ("strace", "-f", "-qq", "-o", str(log), "-p", str(node.process.pid), *inject)
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def sync_errors(node: NodeProcess, image: LoopImage, calls: str) -> int:
    """Syncs fail under load, then the power goes: whatever was acknowledged is there all the same. How many changes."""
    load = Load(node, seed=random.randrange(10**6))
    load.start(housekeeping=True)
    load.wait_for(50)
    with failing(node, calls):
        wire = Wire(node, node.token(), load.context)
        eventually(lambda: wire.ask("GET", "/health/ready")["status"] == "degraded", 60)
        load.wait_for_refusals(50)
        load.stop()
        assert set(load.statuses) <= {200, 201, 500, 503}
        load.read_all()
    # The disk is well again, and still nothing is written: a sync that failed once can not be repeated.
    status, raw = wire.call("DELETE", "/api/v1/files/11111111-1111-4111-8111-111111111111")
    assert (status, b"NOT_WRITABLE" in raw) == (503, True)
    wire.close()
    load.findings.clear()
    image.cut_power()
    node.kill()
    image.power_on()
    node.start()
    faults = load.check()
    assert faults.all == [], calls
    for files in load.files:
        for file_id in files:
            assert node.session().delete(f"/api/v1/files/{file_id}").status_code == 200
    return load.acknowledged


@pytest.mark.drill
def test_failing_syncs_stop_writes_not_reads_and_nothing_acknowledged_is_missing(
    on_image: tuple[NodeProcess, LoopImage],
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not here to make the disk fail; the quick suite does it at the seam")
    count = acknowledged = 0
    for number in rounds(12):
        count += 1
        calls = ("fdatasync", "fsync", "syncfs", "fsync,fdatasync,syncfs")[number % 4]
        acknowledged += sync_errors(*on_image, calls)
    say(
        f"fsync EIO: {count} rounds (fdatasync, fsync, syncfs, all), each followed by a power cut: writes stopped, reads "
        f"went on, 0 of {acknowledged} acknowledged changes missing"
    )

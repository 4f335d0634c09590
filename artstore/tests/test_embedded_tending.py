"""A process that dies is reported and started again, ever slower; stopping leaves nothing behind."""

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from artstore.embedded import processes, tending
from artstore.embedded.errors import ChildFailed
from artstore.embedded.processes import Child
from artstore.embedded.tending import Tended

SLEEP = "import time; time.sleep(600)"


def child(folder: Path, script: str, **changed: object) -> Child:
    fields: dict[str, object] = {
        "name": "worker",
        "argv": [sys.executable, "-c", script],
        "log_file": folder / "worker.log",
        "environment": {"PATH": os.environ["PATH"]},
    }
    return Child(**(fields | changed))  # type: ignore[arg-type]


def wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 30)[0], "the process is still there"
    finally:
        os.close(descriptor)


def killed(member: Tended) -> None:
    assert member.process is not None
    member.process.kill()
    member.process.wait()


def test_a_killed_process_is_reported_with_how_it_died_and_where_its_log_is(tmp_path: Path) -> None:
    member = Tended(child(tmp_path, SLEEP), stop_timeout_seconds=5)
    pid = member.start().pid
    killed(member)
    said: list[str] = []
    assert tending.tend([member], said.append)
    assert said[0].startswith(f"worker (pid {pid}) was killed by SIGKILL; starting it again in")
    assert str(tmp_path / "worker.log") in said[0]


def test_it_is_started_again_once_its_delay_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "FIRST_DELAY_SECONDS", 0.0)
    member = Tended(child(tmp_path, SLEEP), stop_timeout_seconds=5)
    first = member.start().pid
    killed(member)
    said: list[str] = []
    tending.tend([member], said.append)
    assert member.pid not in (None, first)
    assert said[-1] == f"worker started again (pid {member.pid})"
    assert not tending.tend([member], said.append), "nothing changed since"
    member.stop()


def test_each_death_doubles_the_delay_up_to_a_limit(tmp_path: Path) -> None:
    member = Tended(child(tmp_path, "raise SystemExit(7)"), stop_timeout_seconds=5)
    said: list[str] = []
    for _ in range(9):
        member.start().wait()
        member.note_death(said.append)
    delays = [line.partition("again in ")[2].partition(" s.")[0] for line in said]
    assert delays == ["0.5", "1", "2", "4", "8", "16", "30", "30", "30"]
    assert "stopped by itself with code 7" in said[0]


def test_a_process_that_was_well_for_long_starts_over_with_the_short_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Tended(child(tmp_path, "pass"), stop_timeout_seconds=5, failures=6)
    member.start().wait()
    monkeypatch.setattr(tending, "WELL_AFTER_SECONDS", 0.0)
    member.note_death(lambda _: None)
    assert member.failures == 1


def test_what_a_dead_process_left_running_goes_with_it(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time;"
        f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); time.sleep(600)"
    )
    member = Tended(child(tmp_path, script), stop_timeout_seconds=5)
    process = member.start()
    log = tmp_path / "worker.log"
    processes.wait_until(lambda: log.read_text().endswith("\n"), process, member.child, 30)
    grandchild = int(log.read_text())
    killed(member)
    member.note_death(lambda _: None)
    wait_gone(grandchild)


def test_a_process_that_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(600)"
    )
    member = Tended(child(tmp_path, script), stop_timeout_seconds=0.2)
    process = member.start()
    log = tmp_path / "worker.log"
    processes.wait_until(lambda: "deaf" in log.read_text(), process, member.child, 30)
    assert not member.stop()
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_fails_at_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    described = child(tmp_path, "raise SystemExit('the disk is on fire')")
    process = processes.spawn(described)
    with pytest.raises(ChildFailed, match=r"worker stopped at start[\s\S]*the disk is on fire"):
        processes.wait_until(lambda: False, process, described, 30)


def test_a_process_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    described = child(tmp_path, SLEEP)
    process = processes.spawn(described)
    with pytest.raises(ChildFailed, match="worker was not ready after 0 s"):
        processes.wait_until(lambda: False, process, described, 0.0)
    processes.stop(process, signal.SIGTERM, 5)


def test_the_time_to_sleep_ends_with_the_next_restart(tmp_path: Path) -> None:
    idle = Tended(child(tmp_path, SLEEP), stop_timeout_seconds=5)
    overdue = Tended(child(tmp_path, SLEEP), stop_timeout_seconds=5, restart_at=0.0)
    assert tending.seconds_until_next([idle], 5.0) == 5.0
    assert tending.seconds_until_next([idle, overdue], 5.0) == 0.0

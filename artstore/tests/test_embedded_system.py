"""The embedded system as a whole: what ready.json promises, one per home, every process killed and
back, down and up again with the data."""

import contextlib
import json
import os
import signal
from pathlib import Path

import psycopg
import pytest
import requests

from artstore.tests.curl import downloaded_sha256, sha256, upload
from artstore.tests.live import LiveSystem, eventually, free_ports


@pytest.fixture(scope="module")
def token(live_web: LiveSystem) -> str:
    return live_web.service_token(("files:read", "files:write"))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ready_json_names_living_processes_and_addresses_that_answer(live_web: LiveSystem) -> None:
    ready = live_web.ready
    pids = [*ready["pids"].values(), *(element["pid"] for element in ready["elements"])]
    assert all(is_alive(pid) for pid in pids)
    assert requests.get(ready["base_url"] + "/health/ready", timeout=30).status_code == 200
    assert requests.get(ready["console_url"], timeout=30).status_code == 200
    for element in ready["elements"]:
        info = requests.get(element["url"] + "/api/v1/info", verify=ready["ca_file"], timeout=30)
        assert info.json()["storage_id"] == element["storage_id"]
        assert info.json()["mode"] == element["mode"]


def test_a_second_supervisor_of_the_same_home_is_refused(live_web: LiveSystem) -> None:
    outcome = live_web.shell("run")
    assert outcome.returncode == 1
    assert "already running" in outcome.stderr


def test_a_busy_port_is_reported_with_its_setting(live_web: LiveSystem) -> None:
    other = LiveSystem(ARTSTORE_NODE_RW_PORT=live_web.environment["ARTSTORE_NODE_RW_PORT"])
    try:
        outcome = other.shell("run")
        assert outcome.returncode == 1
        assert "(ARTSTORE_NODE_RW_PORT)" in outcome.stdout
        assert not (other.home / "ready.json").exists()
    finally:
        other.remove()


def test_no_secret_is_in_an_argument_of_any_process(live_web: LiveSystem) -> None:
    folder = live_web.home / "secrets"
    secrets = [path.read_text().strip() for path in folder.iterdir() if path.suffix != ".json"]
    secrets.append(json.loads((folder / "smoke-client.json").read_text())["client_secret"])
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments = process.read_bytes().decode(errors="replace")
            assert not [secret for secret in secrets if secret in arguments], arguments


def test_no_secret_is_in_a_log(live_web: LiveSystem) -> None:
    folder = live_web.home / "secrets"
    secrets = [path.read_text().strip() for path in folder.iterdir() if path.suffix != ".json"]
    for log in (live_web.home / "log").iterdir():
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log
        assert log.stat().st_mode & 0o077 == 0, f"{log} may be read by others"


# --- killed and back, down and up ---------------------------------------------------------------


@pytest.mark.parametrize("role", ["worker", "beat", "web", "postgres"])
def test_a_killed_process_is_reported_and_comes_back(
    live_web: LiveSystem, token: str, role: str
) -> None:
    victim = live_web.ready["pids"][role]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: live_web.ready["pids"][role] not in (victim, None), f"{role} is back")
    assert f"{role} (pid {victim}) was killed by SIGKILL" in live_web.log_of("supervisor")

    def answers() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            session = live_web.session(token)
            return session.get(f"{live_web.api}/files", timeout=30).status_code == 200
        return False

    eventually(answers, "the API answers as before")


def put_into_maintenance(system: LiveSystem, storage_id: str) -> None:
    authorization = {"Authorization": f"Bearer {system.admin_token()}"}
    elements = f"{system.ready['base_url']}/api/v1/storage-elements"
    listed = requests.get(elements, headers=authorization, timeout=10).json()["items"]
    element_id = next(item["id"] for item in listed if item["storage_id"] == storage_id)
    answer = requests.patch(
        f"{elements}/{element_id}",
        json={"status": "maintenance"},
        headers=authorization,
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def test_down_leaves_nothing_running_and_up_resumes_with_the_data(tmp_path: Path) -> None:
    system = LiveSystem()
    try:
        first = system.up()
        assert system.admin_password in first, "the password is shown the first time"
        assert (system.home / "ready.json").stat().st_mode & 0o777 == 0o600
        headers = tmp_path / "headers"
        headers.write_text(f"Authorization: Bearer {system.admin_token()}\n")
        note = tmp_path / "note.txt"
        note.write_text("kept, found and proven")
        sent = upload(system, headers, note, "a-note", "retention_policy=permanent")
        assert sent.status == 201, sent
        ready = system.ready
        pids = [*ready["pids"].values(), *(element["pid"] for element in ready["elements"])]
        put_into_maintenance(system, "node-edit")

        system.down()
        assert not (system.home / "ready.json").exists()
        assert [pid for pid in pids if is_alive(pid)] == []
        assert "not running" in system.shell("status").stdout

        # The nodes move, as they do when a port is taken: the registry follows.
        edit, rw = free_ports(2)
        system.environment["ARTSTORE_NODE_EDIT_PORT"] = str(edit)
        system.environment["ARTSTORE_NODE_RW_PORT"] = str(rw)
        second = system.up()
        assert system.admin_password not in second, "and not again"
        assert "THE MAIN JOB FAILED at upload, temporary" in second, "said, and up all the same"
        token = system.admin_token()
        assert downloaded_sha256(system, token, sent.answer["file_id"]) == sha256(note)
    finally:
        system.remove()


def test_it_runs_on_a_database_that_somebody_else_runs() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("create database elsewhere")
    elsewhere = os.environ["DATABASE_URL"].replace("/artstore?", "/elsewhere?")
    system = LiveSystem(DATABASE_URL=elsewhere, ARTSTORE_SMOKE="0")
    try:
        system.up()
        assert system.ready["pids"]["postgres"] is None
        assert system.ready["database_url"] == elsewhere
        assert not (system.home / "postgres").exists()
    finally:
        system.remove()
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute("drop database elsewhere with (force)")


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_one_starts() -> None:
    system = LiveSystem(ARTSTORE_SMOKE="0")
    try:
        system.up()
        pids = system.ready["pids"]
        supervisor = int((system.home / "supervisor.lock").read_text())
        os.kill(supervisor, signal.SIGKILL)
        system.up()
        assert [pid for pid in set(pids.values()) if is_alive(pid)] == []
    finally:
        system.remove()

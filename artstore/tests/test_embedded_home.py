"""What lies in ARTSTORE_HOME: secrets, certificates, the lock, ready.json; and what is read from
the environment."""

import datetime as dt
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from artstore.embedded import certificates, lock, plan, ports, ready, secret_files
from artstore.embedded.errors import AlreadyRunning, EmbeddedError, PortBusy
from artstore.embedded.plan import Layout

NOW = dt.datetime.now(dt.UTC)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- plan ---------------------------------------------------------------------------------------


def test_every_port_and_the_home_come_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "ARTSTORE_HOME": str(tmp_path),
        "ARTSTORE_WEB_PORT": "18380",
        "ARTSTORE_NODE_EDIT_PORT": "18381",
        "ARTSTORE_NODE_RW_PORT": "18382",
    }
    system = plan.read(environ)
    assert system.layout.home == tmp_path
    assert system.base_url == "http://127.0.0.1:18380"
    assert [element.url[-5:] for element in system.elements] == ["18381", "18382"]


def test_a_port_that_is_none_is_named_with_its_setting() -> None:
    with pytest.raises(EmbeddedError, match="ARTSTORE_NODE_RW_PORT is 'lots'"):
        plan.read({"ARTSTORE_NODE_RW_PORT": "lots"})


def test_one_port_for_two_processes_is_refused() -> None:
    with pytest.raises(EmbeddedError, match="must be different"):
        plan.read({"ARTSTORE_WEB_PORT": "8010"})


def test_no_secret_stands_in_an_argument_or_an_environment(tmp_path: Path) -> None:
    system = plan.read(
        {"ARTSTORE_HOME": str(tmp_path), "DATABASE_URL": "postgresql://a:geheim@h/d"}
    )
    children = [plan.web(system), plan.worker(system), plan.beat(system)]
    children += [plan.manage(system, "smoke", "smoke"), plan.node(system, system.elements[0])]
    for child in children:
        assert "geheim" not in " ".join(child.argv)
        assert "geheim" not in " ".join(child.environment.values())


def test_a_node_is_told_to_initialise_its_directory_only_while_there_is_none(
    tmp_path: Path,
) -> None:
    system = plan.read({"ARTSTORE_HOME": str(tmp_path)})
    element = system.elements[0]
    assert plan.node(system, element).environment["SE_INIT"] == "1"
    element.data_dir.mkdir()
    (element.data_dir / "node.json").touch()
    assert "SE_INIT" not in plan.node(system, element).environment


# --- ports --------------------------------------------------------------------------------------


def test_busy_ports_are_reported_with_the_settings_that_move_them() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(
            PortBusy, match=rf"port {port} \(ARTSTORE_WEB_PORT\).*ARTSTORE_WEB_PORT="
        ):
            ports.check_free({"ARTSTORE_WEB_PORT": port})
    ports.check_free({"ARTSTORE_WEB_PORT": port})


# --- secrets ------------------------------------------------------------------------------------


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first, made = secret_files.keep(path, secret_files.random_text)
    again, made_again = secret_files.keep(path, secret_files.random_text)
    assert (made, made_again) == (True, False)
    assert first == again
    assert mode_of(path) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_generated_password_is_long_and_typed_without_doubt() -> None:
    password = secret_files.readable_password()
    assert len(password) == 19
    assert not set(password) & set("0O1lI")
    assert password != secret_files.readable_password()


# --- certificates -------------------------------------------------------------------------------


def test_a_node_is_believed_on_loopback_by_whoever_has_the_ca(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "c", ["node-edit"], NOW)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "c/node-edit.pem", tmp_path / "c/node-edit.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "c/ca.pem"))
    for name in ("127.0.0.1", "localhost"):
        handshake(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "example.org")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    finally:
        ours.close()
        thread.join()


def test_the_ca_stays_and_a_certificate_is_renewed_in_good_time(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    certificates.ensure(folder, ["node-edit"], NOW)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    certificates.ensure(folder, ["node-edit"], NOW + dt.timedelta(days=100))
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    certificates.ensure(folder, ["node-edit"], NOW + dt.timedelta(days=350))
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"node-edit.pem", "node-edit.key"}


def test_certificates_of_a_lost_ca_are_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    certificates.ensure(folder, ["node-edit"], NOW)
    before = (folder / "node-edit.pem").read_bytes()
    (folder / "ca.key").unlink()
    certificates.ensure(folder, ["node-edit"], NOW)
    assert (folder / "node-edit.pem").read_bytes() != before


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "c", ["node-edit"], NOW)
    assert {mode_of(path) for path in (tmp_path / "c").glob("*.key")} == {0o600}


# --- lock ---------------------------------------------------------------------------------------


def test_a_second_supervisor_of_the_same_home_is_refused_with_the_first_ones_pid(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    held = lock.acquire(layout)
    with pytest.raises(AlreadyRunning, match=rf"already running in .*pid {os.getpid()}.*make down"):
        lock.acquire(layout)
    assert lock.holder(layout) == os.getpid()
    os.close(held)
    assert lock.holder(layout) is None
    os.close(lock.acquire(layout))


def test_a_home_where_nothing_ever_ran_has_no_holder(tmp_path: Path) -> None:
    assert lock.holder(Layout(tmp_path)) is None


def test_children_of_a_killed_supervisor_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    assert lock.wait_for_leftovers(layout) == []
    leftover = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lock.note_children(layout, [leftover.pid])
    monkeypatch.setattr(lock, "LEFTOVER_TIMEOUT_SECONDS", 0.0)
    assert lock.wait_for_leftovers(layout) == [leftover.pid]
    leftover.send_signal(signal.SIGKILL)
    leftover.wait()
    assert lock.wait_for_leftovers(layout) == []


def test_a_pid_that_went_to_somebody_else_is_not_waited_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.children_file.write_text(json.dumps({str(os.getpid()): "1"}))
    assert lock.wait_for_leftovers(layout) == []


# --- ready.json ---------------------------------------------------------------------------------


def test_ready_json_has_exactly_the_promised_keys_and_is_private(tmp_path: Path) -> None:
    system = plan.read({"ARTSTORE_HOME": str(tmp_path)})
    pids = {"web": 1, "worker": 2, "beat": 3, "postgres": 4, "node-edit": 5, "node-rw": 6}
    ready.write(system, "postgresql://somewhere", pids)
    content = json.loads(system.layout.ready_file.read_text())
    assert sorted(content) == [
        "admin_password_file",
        "admin_username",
        "base_url",
        "ca_file",
        "console_url",
        "database_url",
        "elements",
        "pids",
    ]
    assert content["pids"] == {"web": 1, "transfer": 1, "worker": 2, "beat": 3, "postgres": 4}
    assert [sorted(element) for element in content["elements"]] == [
        ["data_dir", "mode", "pid", "storage_id", "url"]
    ] * 2
    assert [(element["mode"], element["pid"]) for element in content["elements"]] == [
        ("edit", 5),
        ("rw", 6),
    ]
    assert mode_of(system.layout.ready_file) == 0o600
    ready.remove(system)
    assert not system.layout.ready_file.exists()

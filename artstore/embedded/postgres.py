"""An embedded PostgreSQL: prepared below one directory, run as a direct child, reached only
through a Unix socket with a password. Which binaries: `binaries`. Restarting: `supervisor`.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg

from artstore.embedded import binaries as pg_binaries
from artstore.embedded import processes
from artstore.embedded.binaries import Binaries
from artstore.embedded.errors import PostgresUnavailable
from artstore.embedded.processes import Child, Identity

ROLE = "artstore"
DATABASE = "artstore"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 60.0
# A socket's path ends at 107 bytes, and its name takes `/.s.PGSQL.5432.lock`.
_LONGEST_SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432.lock")
# Where the data goes when the unprivileged user cannot pass a folder above the home.
_REACHABLE_PLACES = (Path("/var/lib/artstore"), Path("/var/tmp"))  # noqa: S108 - a fresh 0711 folder is made in it

DURABLE: dict[str, str] = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    # Statements hold values, password hashes among them; the error itself is logged all the same.
    "log_min_error_statement": "panic",
}
# For tests, whose data nobody will miss after a power cut.
VOLATILE: dict[str, str] = DURABLE | {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True)
class Cluster:
    """A prepared data directory and everything needed to run and reach its server."""

    folder: Path
    socket_folder: Path
    binaries: Binaries
    log_file: Path
    run_as: Identity | None
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=lambda: DURABLE)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = DATABASE) -> str:
        """The libpq address, password included: for environments and 0600 files only."""
        host = quote(str(self.socket_folder), safe="/")
        return f"postgresql://{ROLE}:{quote(self.password, safe='')}@/{database}?host={host}"

    def child(self) -> Child:
        argv = [str(self.binaries.program("postgres")), "-D", str(self.data)]
        fixed = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0700",
            "port": "5432",
        }
        for name, value in {**self.settings, **fixed}.items():
            argv += ["-c", f"{name}={value}"]
        return Child(
            name="postgres",
            argv=argv,
            log_file=self.log_file,
            environment=_clean_environment(),
            run_as=self.run_as,
            # Fast shutdown: sessions are cut, the data is checkpointed.
            stop_signal=signal.SIGINT,
        )


def prepare(
    folder: Path, password: str, log_file: Path, settings: Mapping[str, str] = DURABLE
) -> Cluster:
    """Make `folder` ready to serve: user, binaries, data directory, socket directory.

    Repeating it on existing data changes nothing; data of a major that is not here is refused.
    """
    identity = _identity(folder)
    folder = _reachable(folder, identity)
    data = folder / "data"
    version_file = data / "PG_VERSION"
    written_by = int(version_file.read_text().split(".")[0]) if version_file.exists() else None
    binaries = pg_binaries.find(written_by)
    if identity is not None:
        binaries = pg_binaries.copy_below(binaries, folder)
    if written_by is None:
        _initialise(data, binaries, identity, password)
    return Cluster(
        folder, _socket_folder(folder, identity), binaries, log_file, identity, password, settings
    )


def _identity(folder: Path) -> Identity | None:
    """As root the server runs as whoever owns the data, `nobody` at first; else as ourselves."""
    if os.geteuid() != 0:
        return None
    data = folder / "data"
    if data.exists() and data.stat().st_uid != 0:
        return Identity(data.stat().st_uid, data.stat().st_gid)
    nobody = pwd.getpwnam("nobody")
    return Identity(nobody.pw_uid, nobody.pw_gid)


def _reachable(folder: Path, identity: Identity | None) -> Path:
    """`folder`, or where it links to: somewhere `identity` can get to.

    A home below a closed directory (/root, say) cannot be entered by the unprivileged user, and
    opening somebody's directories is not ours to do. Then the data lives elsewhere and `folder`
    is a link to it.
    """
    if identity is None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.resolve()
    if not folder.exists() and not folder.is_symlink():
        folder.mkdir(parents=True)
        folder.chmod(0o711)
        if not _can_enter(folder, identity):
            folder.rmdir()
            folder.symlink_to(_place_elsewhere(identity), target_is_directory=True)
    resolved = folder.resolve()
    if not resolved.is_dir() or not _can_enter(resolved, identity):
        raise PostgresUnavailable(
            f"{folder} must be a directory that the user with id {identity.uid}, who runs "
            "PostgreSQL, can enter. Open the directories above it, or set ARTSTORE_HOME elsewhere."
        )
    return resolved


def _can_enter(folder: Path, identity: Identity) -> bool:
    attempt = subprocess.run(  # noqa: S603 - the path is an argument, not part of the script
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        user=identity.uid,
        group=identity.gid,
        extra_groups=[],
        cwd="/",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return attempt.returncode == 0


def _place_elsewhere(identity: Identity) -> Path:
    for parent in _REACHABLE_PLACES:
        try:
            parent.mkdir(mode=0o755, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix="artstore-postgres-", dir=parent))
        except OSError:
            continue
        place.chmod(0o711)
        if _can_enter(place, identity):
            return place
        place.rmdir()
    raise PostgresUnavailable(
        "PostgreSQL does not run as root, and no directory was found that the unprivileged user "
        f"with id {identity.uid} can enter. Set ARTSTORE_HOME to one, or set DATABASE_URL."
    )


def _initialise(data: Path, binaries: Binaries, identity: Identity | None, password: str) -> None:
    """Make the data directory under another name first: a killed initdb must not look finished."""
    partial = data.with_name("data-partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(mode=0o700)
    password_file = data.with_name(f"password-{secrets.token_hex(8)}")
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        if identity is not None:
            os.chown(partial, identity.uid, identity.gid)
            os.chown(password_file, identity.uid, identity.gid)
        _run_initdb(partial, binaries, identity, password_file)
    finally:
        password_file.unlink(missing_ok=True)
    partial.rename(data)


def _run_initdb(
    folder: Path, binaries: Binaries, identity: Identity | None, password_file: Path
) -> None:
    # With LC_CTYPE C a trigram index would see no letter of a Russian name.
    locale = (
        [
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--lc-ctype=C.UTF-8",
        ]
        if binaries.major >= 17
        else ["--locale=C.UTF-8"]
    )
    outcome = subprocess.run(  # noqa: S603 - our own arguments
        [
            str(binaries.program("initdb")),
            f"--pgdata={folder}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
        ],
        user=identity.uid if identity else None,
        group=identity.gid if identity else None,
        extra_groups=[] if identity else None,
        cwd="/",
        env=_clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome.returncode != 0:
        raise PostgresUnavailable(
            f"initdb of PostgreSQL {binaries.version} could not make {folder}: "
            f"{outcome.stderr.strip() or outcome.stdout.strip()}"
        )


def _socket_folder(folder: Path, identity: Identity | None) -> Path:
    """Beside the data, or in the temporary directory where that path would be too long."""
    socket_folder = folder / "socket"
    if len(os.fsencode(socket_folder)) > _LONGEST_SOCKET_FOLDER_BYTES:
        socket_folder = Path(tempfile.mkdtemp(prefix="artstore-socket-"))
    socket_folder.mkdir(mode=0o700, exist_ok=True)
    if identity is not None:
        os.chown(socket_folder, identity.uid, identity.gid)
    return socket_folder


def discard_socket_folder(cluster: Cluster) -> None:
    """Remove the socket directory if it had to be made outside the data's own place."""
    if cluster.socket_folder.parent != cluster.folder:
        shutil.rmtree(cluster.socket_folder, ignore_errors=True)


def _clean_environment() -> dict[str, str]:
    """Nothing of ours: no secret, no PG* variable that would change what the server does."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def start(cluster: Cluster) -> subprocess.Popen[bytes]:
    """Start the server and return once the database exists and sorts letters as needed."""
    child = cluster.child()
    process = processes.spawn(child)
    try:
        wait_ready(cluster, process)
    except BaseException:
        processes.stop(process, child.stop_signal, STOP_TIMEOUT_SECONDS)
        raise
    return process


def wait_ready(cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
    """Wait for connections, then make the database if there is none and check its letters."""
    processes.wait_until(lambda: _answers(cluster), process, cluster.child(), START_TIMEOUT_SECONDS)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        row = connection.execute("select 1 from pg_database where datname = %s", [DATABASE])
        if row.fetchone() is None:
            connection.execute(f'create database "{DATABASE}"')
    check_trigrams(cluster.url())


def stop(process: subprocess.Popen[bytes]) -> bool:
    return processes.stop(process, signal.SIGINT, STOP_TIMEOUT_SECONDS)


def _answers(cluster: Cluster) -> bool:
    try:
        psycopg.connect(cluster.url("postgres"), connect_timeout=2).close()
    except psycopg.OperationalError as failure:
        if "password authentication failed" in str(failure):
            raise PostgresUnavailable(
                f"The database in {cluster.folder} was made with another password than the one "
                "kept beside it. Put the secrets directory of this ARTSTORE_HOME back, or start "
                "with a new ARTSTORE_HOME."
            ) from failure
        return False
    return True


def check_server(url: str) -> None:
    """Refuse a server of somebody else's that cannot do what we need."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError as failure:
        raise PostgresUnavailable(
            f"The server that DATABASE_URL names cannot be reached: {failure}"
        ) from failure
    if version // 10_000 < pg_binaries.OLDEST_MAJOR:
        raise PostgresUnavailable(
            f"DATABASE_URL names a PostgreSQL {version // 10_000}; "
            f"{pg_binaries.OLDEST_MAJOR} or newer is needed."
        )
    check_trigrams(url)


def check_trigrams(url: str) -> None:
    """Searching Russian names by a part needs a character type that knows Cyrillic letters."""
    with psycopg.connect(url) as connection:
        try:
            connection.execute("create extension if not exists pg_trgm")
            row = connection.execute("select show_trgm('отчёт')").fetchone()
        except psycopg.errors.FeatureNotSupported as failure:
            raise PostgresUnavailable(
                "This PostgreSQL has no pg_trgm extension. Install its contrib modules."
            ) from failure
        finally:
            # The extension is for the migrations to make; this was only a look.
            connection.rollback()
    if row is None or not row[0]:
        raise PostgresUnavailable(
            "This database does not know Cyrillic letters (LC_CTYPE is C), so searching for part "
            "of a Russian name would find nothing. Create it with LC_CTYPE C.UTF-8 or another "
            "UTF-8 locale."
        )

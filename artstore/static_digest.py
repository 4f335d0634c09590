"""One digest over everything the console's pages load: their address changes when any of it does.

Pure reading of files; the settings use it, so nothing of Django is imported here.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

DIGEST_CHARACTERS = 10


def of_files(folder: Path, versions: Iterable[str] = ()) -> str:
    """The digest of every file below `folder` and its name, and of the packages that bring more."""
    found = hashlib.sha256()
    for version in versions:
        found.update(version.encode() + b"\0")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:DIGEST_CHARACTERS]

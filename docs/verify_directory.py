#!/usr/bin/env python3
"""Checks every file of an ArtStore directory against its attributes. Needs Python 3.9 and nothing else; changes nothing.

    python3 verify_directory.py DIR

Prints one line per finding; exit status 1 when there are any. A node that was not stopped cleanly may have changes in
wal/ that the files do not show yet: start it once, or expect them as findings.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path


def checksum(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            sha256.update(piece)
    return sha256.hexdigest()


def problem(path: Path) -> str:
    """What is wrong with one path under files/; empty when nothing is."""
    if not path.name.endswith(".attr.json"):
        return "" if path.with_name(path.name + ".attr.json").exists() else "orphaned_file"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        content = path.with_name(told["stored_name"])
        if told["format"] != 1 or content.name + ".attr.json" != path.name:
            return "corrupt_attributes"
        if not content.exists():
            return "missing_file" if told["status"] == "active" else ""
        if content.stat().st_size != told["size"]:
            return "size_mismatch"
        return "" if checksum(content) == told["checksum"] else "checksum_mismatch"
    except (OSError, ValueError, KeyError, TypeError):
        return "corrupt_attributes"


def findings(directory: Path) -> Iterator[str]:
    for path in sorted((directory / "files").rglob("*")):
        # `.<file_id>` is what a running node is writing and has not given its name yet.
        is_unfinished = re.fullmatch(r"\.[0-9a-f-]{36}", path.name)
        found = problem(path) if path.is_file() and not is_unfinished else ""
        if found:
            yield f"{found} {path}"


if __name__ == "__main__":
    lines = list(findings(Path(sys.argv[1])))
    sys.stdout.write("".join(line + "\n" for line in lines) + f"{len(lines)} findings\n")
    sys.exit(bool(lines))

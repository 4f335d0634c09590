"""What a reconcile run has found so far, as a report that can be shown at any moment."""

import threading
from datetime import datetime
from typing import Any

from storage_node.attributes import stamp
from storage_node.upkeep import Finding

NAMES = (
    "orphaned_file",
    "missing_file",
    "size_mismatch",
    "checksum_mismatch",
    "corrupt_attributes",
    "index_mismatch",
)
ITEMS_LIMIT = 1000


def never() -> dict[str, Any]:
    """The report of an element that was never reconciled."""
    return {
        "status": "never",
        "trigger": None,
        "started_at": None,
        "finished_at": None,
        "files_checked": 0,
        "bytes_hashed": 0,
        "findings": dict.fromkeys(NAMES, 0),
        "items": [],
        "error": None,
    }


class Findings:
    """Counts and the first thousand findings of one run. Any thread may look."""

    def __init__(self, trigger: str, started_at: datetime) -> None:
        self._lock = threading.Lock()
        self._report = never() | {
            "status": "running",
            "trigger": trigger,
            "started_at": stamp(started_at),
        }
        self._report["findings"] = dict.fromkeys(NAMES, 0)
        self._report["items"] = []

    def add(self, finding: Finding, action: str) -> None:
        """One finding, and what was done about it."""
        with self._lock:
            self._report["findings"][finding.name] += 1
            if len(self._report["items"]) < ITEMS_LIMIT:
                file_id = str(finding.file_id) if finding.file_id else None
                item = {"finding": finding.name, "file_id": file_id, "path": finding.path}
                self._report["items"].append(item | {"action": action, "detail": finding.detail})

    def checked(self, files: int) -> None:
        """So many files were looked at."""
        with self._lock:
            self._report["files_checked"] += files

    def hashed(self, size_bytes: int) -> None:
        """So many bytes were read and hashed."""
        with self._lock:
            self._report["bytes_hashed"] += size_bytes

    def end(self, finished_at: datetime, error: str | None) -> None:
        """The run is over."""
        with self._lock:
            self._report["finished_at"] = stamp(finished_at)
            self._report["status"] = "finished" if error is None else "failed"
            self._report["error"] = error

    def report(self) -> dict[str, Any]:
        """The report as of now."""
        with self._lock:
            copy = dict(self._report)
            copy["findings"], copy["items"] = dict(copy["findings"]), list(copy["items"])
            return copy

"""The walk of a reconcile run: every directory of files, then every row, compared without hashing.

Looks from outside, acts only through changes that check again in the committer's thread. What has a record that is not in
a checkpoint yet is left for the next run: it may be in flight.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from storage_node.attributes import ACTIVE, AttributesCorrupt, FileAttributes
from storage_node.disk import QUARANTINE, Leaf
from storage_node.findings import Findings
from storage_node.index_schema import Row
from storage_node.names import ATTRIBUTES_SUFFIX, attributes_path, content_path, id_in_name
from storage_node.scrub import look_again
from storage_node.store import Store
from storage_node.upkeep import Finding, MarkDamage, MendRow, QuarantineFiles

_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Survey:
    """One walk. `pace(files, bytes)` waits as the rate limit wants and says whether to go on."""

    store: Store
    findings: Findings
    now: datetime
    pace: Callable[[int, int], bool]

    def walk(self) -> None:
        """Every directory, then every row."""
        disk = self.store.element.disk
        for path in list(disk.strays()):
            self._quarantine(
                Finding("orphaned_file", id_in_name(path), path, "not part of the layout"), [path]
            )
        for path in disk.leaf_paths():
            leaf = disk.leaf(path)
            self._walk_leaf(leaf)
            self.findings.checked(len(leaf.attributes))
            if not self.pace(len(leaf.attributes) + len(leaf.contents), 0):
                return
        self._walk_rows()

    def _walk_leaf(self, leaf: Leaf) -> None:
        for name in sorted(leaf.contents - leaf.attributes):
            self._without_attributes(leaf.path, name)
        for name in sorted(leaf.attributes):
            path = f"{leaf.path}/{name}{ATTRIBUTES_SUFFIX}"
            try:
                file = self.store.element.disk.read_attributes(path)
            except FileNotFoundError:
                continue
            except AttributesCorrupt as corrupt:
                self._corrupt(leaf, name, str(corrupt))
                continue
            self._compare(file, path)

    def _settled(self, row: Row) -> bool:
        """Whether the last record about this file is in a checkpoint."""
        element = self.store.element
        return row.change - element.index.at.base <= element.log.checkpoint_lsn

    def _without_attributes(self, leaf_path: str, name: str) -> None:
        path, claimed = f"{leaf_path}/{name}", id_in_name(name)
        row = self.store.element.reading.find(claimed) if claimed else None
        if row is None or row.stored_name != name:
            self._quarantine(
                Finding("orphaned_file", claimed, path, "bytes without attributes"), [path]
            )
        elif self._settled(row) and row.damage is None:
            self._mark(
                Finding("corrupt_attributes", row.file_id, path, "the attributes file is missing"),
                row,
            )

    def _corrupt(self, leaf: Leaf, name: str, detail: str) -> None:
        claimed = id_in_name(name)
        row = self.store.element.reading.find(claimed) if claimed else None
        if row is not None and not self._settled(row):
            return
        path = f"{leaf.path}/{name}"
        self._quarantine(
            Finding("corrupt_attributes", claimed, path + ATTRIBUTES_SUFFIX, detail),
            [path, path + ATTRIBUTES_SUFFIX],
        )

    def _compare(self, file: FileAttributes, path: str) -> None:
        row = self.store.element.reading.find(file.file_id)
        if row is not None and not self._settled(row):
            return
        if row is None or row.file != file:
            self._mend(file, path)
            row = self.store.element.reading.find(file.file_id)
        if row is None or file.status != ACTIVE:
            return
        size_bytes = self.store.element.disk.content_size(file)
        if size_bytes is None:
            self._mark(Finding("missing_file", file.file_id, path, "attributes without bytes"), row)
        elif size_bytes != file.size:
            self._mark(
                Finding(
                    "size_mismatch", file.file_id, path, f"{size_bytes} bytes, not {file.size}"
                ),
                row,
            )
        elif row.damage is not None:
            # Somebody may have put the right bytes back; only their hash can tell.
            look_again(self.store, row, self.findings, self.now)

    def _walk_rows(self) -> None:
        """Rows of which nothing is on disk: the walk over directories can not see them."""
        medium, after = self.store.element.disk.medium, -(2**63)
        while rows := self.store.element.reading.rows_after(after, _ROWS_AT_ONCE):
            for row in rows:
                if row.stored_name is None or row.status != ACTIVE or not self._settled(row):
                    continue
                is_here = medium.exists(attributes_path(row.file_id, row.stored_name))
                if not is_here and not medium.exists(content_path(row.file_id, row.stored_name)):
                    path = content_path(row.file_id, row.stored_name)
                    self._mark(
                        Finding("missing_file", row.file_id, path, "neither bytes nor attributes"),
                        row,
                    )
            after = rows[-1].seq
            if not self.pace(len(rows), 0):
                return

    # What is done about it

    def _mark(self, finding: Finding, row: Row) -> None:
        if row.damage != finding.name:
            _done(self.store.submit(MarkDamage(row.file_id, finding.name, self.now, row.revision)))
        self.findings.add(finding, "marked damaged")

    def _mend(self, file: FileAttributes, path: str) -> None:
        if _done(self.store.submit(MendRow(path, file.file_id, self.now))):
            self.findings.add(
                Finding("index_mismatch", file.file_id, path, "the index did not agree"),
                "index mended",
            )

    def _quarantine(self, finding: Finding, paths: list[str]) -> None:
        place = f"{QUARANTINE}/{self.now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        if _done(self.store.submit(QuarantineFiles(finding, paths, place, self.now))):
            self.findings.add(finding, f"moved to {place}")


def _done(change: Future[bool]) -> bool:
    return change.result()

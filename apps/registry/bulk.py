"""The same act on many files: each by the verb for one, each with its own audit event.

Stops at nothing but tells of everything: what was done, and which files refused and why. An element
that does not answer is not asked again for the files that follow.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

from apps.admin.principals import Principal
from apps.registry import editing
from apps.registry.editing import FileEdit
from apps.registry.errors import NodeUnreachable
from apps.registry.models import FileRecord
from artstore.errors import ArtStoreError, ValidationError

# What one request can do while somebody waits for it.
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class TagChange:
    """Tags to put on and to take off; what is in neither stays, in its order."""

    add: Sequence[str] = ()
    remove: Sequence[str] = ()

    def applied_to(self, tags: Sequence[str]) -> list[str]:
        kept = [tag for tag in tags if tag not in self.remove]
        return list(dict.fromkeys([*kept, *self.add]))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file the act failed on. `name` is empty where there is no such file."""

    file_id: uuid.UUID
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class BulkReport:
    """What became of every file, each in exactly one of the three."""

    done: tuple[uuid.UUID, ...]
    unchanged: tuple[uuid.UUID, ...]
    refused: tuple[Refusal, ...]


@dataclass(slots=True)
class _Round:
    """One act going over its files."""

    files: dict[uuid.UUID, FileRecord]
    done: list[uuid.UUID] = field(default_factory=list)
    unchanged: list[uuid.UUID] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    silent: set[uuid.UUID | None] = field(default_factory=set)

    def attempt(self, file_id: uuid.UUID, act: Callable[[FileRecord], bool]) -> None:
        record = self.files.get(file_id)
        if record is None:
            self.refused.append(Refusal(file_id, "", _("There is no such file.")))
        elif record.storage_element_id in self.silent:
            self._refuse(record, _("Not tried: its storage element does not answer."))
        else:
            self._try(record, act)

    def _try(self, record: FileRecord, act: Callable[[FileRecord], bool]) -> None:
        try:
            changed = act(record)
        except ArtStoreError as refused:
            if isinstance(refused, NodeUnreachable):
                self.silent.add(record.storage_element_id)
            self._refuse(record, str(refused))
        else:
            (self.done if changed else self.unchanged).append(record.file_id)

    def _refuse(self, record: FileRecord, reason: str) -> None:
        self.refused.append(Refusal(record.file_id, record.original_filename, reason))


def delete_files(
    file_ids: Iterable[uuid.UUID], principal: Principal, now: dt.datetime
) -> BulkReport:
    """Delete each of at most `MAX_FILES` files."""

    def delete(record: FileRecord) -> bool:
        editing.delete_file(record.file_id, principal, now)
        return True

    return _over(file_ids, delete)


def edit_tags(
    file_ids: Iterable[uuid.UUID], change: TagChange, principal: Principal, now: dt.datetime
) -> BulkReport:
    """Add and remove tags on each of at most `MAX_FILES` files; who has them so is left alone."""

    def edit(record: FileRecord) -> bool:
        # Read again: many files ago somebody else may have changed it.
        present = editing.get(record.file_id).tags
        tags = change.applied_to(present)
        if tags == present:
            return False
        editing.edit_file(record.file_id, FileEdit({"tags": tags}), principal, now)
        return True

    return _over(file_ids, edit)


def _over(file_ids: Iterable[uuid.UUID], act: Callable[[FileRecord], bool]) -> BulkReport:
    wanted = list(dict.fromkeys(file_ids))
    if not 0 < len(wanted) <= MAX_FILES:
        problem = _("Choose between 1 and %(most)s files.") % {"most": MAX_FILES}
        raise ValidationError(problem, details={"files": [problem]})
    known = FileRecord.objects.visible().defer("search_vector").in_bulk(wanted)
    going = _Round(known)
    for file_id in wanted:
        going.attempt(file_id, act)
    return BulkReport(tuple(going.done), tuple(going.unchanged), tuple(going.refused))

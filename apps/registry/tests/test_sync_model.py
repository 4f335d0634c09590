"""What sync may write, against a model: arbitrary pages of two elements, in both kinds of epoch, on a real table.

The model says in Python what `applying` says in SQL. Files are few, so that pages meet the same ones again and again.
"""

import datetime as dt
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.registry import applying, feed
from apps.registry.attributes import FileAttributes, Tombstone
from apps.registry.models import FileRecord, SyncRun
from apps.registry.tests import make

FILES = tuple(uuid.UUID(int=number) for number in range(1, 5))
CHECKSUMS = ("a" * 64, "b" * 64)
AT = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
REASONS = {"active": "", "expired": "expired", "deleted": "user"}


@dataclass(frozen=True)
class Modelled:
    """What the model knows of one record."""

    element: uuid.UUID | None
    status: str
    revision: int
    checksum: str
    reason: str
    written_lately: bool = False


files = st.builds(
    make.attributes,
    file_id=st.sampled_from(FILES),
    revision=st.integers(1, 3),
    status=st.sampled_from(("active", "active", "expired", "deleted")),
    checksum=st.sampled_from(CHECKSUMS),
    size=st.just(7),
    uploaded_at=st.just(AT),
    updated_at=st.just(AT),
    original_filename=st.just("file"),
)
tombstones = st.builds(
    Tombstone,
    file_id=st.sampled_from(FILES),
    status=st.sampled_from(("deleted", "expired", "abandoned")),
    at=st.just(AT),
)
items = st.lists(st.one_of(files, files, tombstones), min_size=1, max_size=4)
pages = st.tuples(st.just("page"), st.integers(0, 1), st.booleans(), items)
edits = st.tuples(st.just("edited here"), st.sampled_from(FILES), st.just(None), st.just(None))
removals = st.tuples(st.just("removed"), st.integers(0, 1), st.just(None), st.just(None))
listings = st.tuples(
    st.just("listing"), st.integers(0, 1), st.just(None), st.sets(st.sampled_from(FILES))
)
steps = st.lists(st.one_of(pages, pages, edits, removals, listings), min_size=1, max_size=8)


class Ground:
    """Two elements, a run of each, and the model beside the table."""

    def __init__(self, fresh: bool) -> None:
        # Whether runs take the elements for new ones, which they may be wrong about.
        self.fresh = fresh
        self.elements = [make.element(), make.element()]
        self.runs = [
            SyncRun.objects.create(storage_element=element, trigger="manual", kind="full")
            for element in self.elements
        ]
        self.model: dict[uuid.UUID, Modelled] = {}

    def scope(self, number: int, new_epoch: bool) -> applying.Scope:
        # Rows written through us count as written before the run, unless they say otherwise.
        started_at = timezone.now() - dt.timedelta(minutes=1)
        return applying.Scope(
            self.runs[number].pk, self.elements[number].pk, started_at, new_epoch, True
        )

    def take(self, step: Any) -> None:
        kind, which, new_epoch, content = step
        if kind == "page":
            self.page(which, new_epoch, content)
        elif kind == "edited here":
            self.edited(which)
        elif kind == "removed":
            self.removed(which)
        else:
            self.listed(which, content)

    def page(self, number: int, new_epoch: bool, content: list[Any]) -> None:
        said = {item.file_id: item for item in content}
        freed = {str(one.file_id): one for one in said.values() if isinstance(one, Tombstone)}
        files = [one for one in said.values() if isinstance(one, FileAttributes)]
        page = make.page(*files, tombstones=freed, items=len(content))
        scope = replace(self.scope(number, new_epoch), fresh=self.fresh)
        applying.write_out(page, scope)
        applied = applying.apply_page(page, scope)
        element = self.elements[number].pk
        expected = {"added": 0, "updated": 0, "marked_deleted": 0}
        for one in files:
            outcome = self.file(element, new_epoch, one)
            if outcome:
                expected[outcome] += 1
        for tombstone in page.tombstones.values():
            expected["marked_deleted"] += self.buried(element, tombstone)
        assert {name: getattr(applied, name) for name in expected} == expected

    def file(self, element: uuid.UUID, new_epoch: bool, said: FileAttributes) -> str:
        told = Modelled(element, said.status, said.revision, said.checksum, REASONS[said.status])
        known = self.model.get(said.file_id)
        if known is None:
            self.model[said.file_id] = told
            return "added"
        # One that says the same of its own row again writes nothing.
        same = (known.element, known.status, known.revision, known.checksum) == (
            told.element,
            told.status,
            told.revision,
            told.checksum,
        )
        if same or not may_write(known, told, new_epoch):
            return ""
        self.model[said.file_id] = replace(told, written_lately=known.written_lately)
        return "updated"

    def buried(self, element: uuid.UUID, tombstone: Tombstone) -> int:
        known = self.model.get(tombstone.file_id)
        if known is None or known.element != element or known.status != "active":
            return 0
        status = "expired" if tombstone.status == "expired" else "deleted"
        reason = {"deleted": "user", "expired": "expired"}.get(
            tombstone.status, "missing_on_element"
        )
        self.model[tombstone.file_id] = replace(known, status=status, reason=reason)
        return 1

    def edited(self, file_id: uuid.UUID) -> None:
        """Somebody edits the file through us: the record is of now, and of the next revision."""
        known = self.model.get(file_id)
        if known is None or known.status != "active":
            return
        FileRecord.objects.filter(pk=file_id).update(
            stored_revision=known.revision + 1, written_at=timezone.now()
        )
        self.model[file_id] = replace(known, revision=known.revision + 1, written_lately=True)

    def removed(self, number: int) -> None:
        """The element is removed: its records stay, as nobody's."""
        element = self.elements[number].pk
        FileRecord.objects.filter(storage_element_id=element).exclude(status="deleted").update(
            status="deleted", deletion_reason="element_removed", storage_element=None
        )
        for file_id, known in self.model.items():
            if known.element == element and known.status != "deleted":
                self.model[file_id] = replace(
                    known, element=None, status="deleted", reason="element_removed"
                )

    def listed(self, number: int, seen: set[uuid.UUID]) -> None:
        """A complete listing that met `seen` only."""
        scope = replace(
            self.scope(number, False), started_at=timezone.now() + dt.timedelta(minutes=1)
        )
        applying.forget_seen(scope.run)
        rejected = [feed.Rejected(file_id, "as a way to be seen") for file_id in seen]
        page = feed.Page("e", 1, has_more=False, totals=None, rejected=rejected)
        applying.apply_page(page, scope)
        expected = [
            file_id
            for file_id, known in self.model.items()
            if known.element == scope.element and known.status == "active" and file_id not in seen
        ]
        assert applying.count_missing(scope) == len(expected)
        assert applying.mark_missing(scope) == len(expected)
        for file_id in expected:
            self.model[file_id] = replace(
                self.model[file_id], status="deleted", reason="missing_on_element"
            )

    def agrees(self) -> None:
        rows = {
            row.pk: Modelled(
                row.storage_element_id,
                row.status,
                row.stored_revision,
                row.checksum,
                row.deletion_reason,
                row.written_at is not None,
            )
            for row in FileRecord.objects.all()
        }
        assert rows == self.model


def may_write(known: Modelled, told: Modelled, new_epoch: bool) -> bool:
    """Rules 3, 4 and 9 of sync."""
    comes_back = (
        known.status != "deleted"
        or told.status == "deleted"
        or new_epoch
        or told.revision > known.revision
        or known.reason in ("missing_on_element", "element_removed")
    )
    if known.element == told.element:
        if new_epoch:
            return not known.written_lately
        return told.revision >= known.revision and comes_back
    if known.status != "deleted" or known.checksum != told.checksum:
        return False
    return comes_back if known.element is None else known.reason == "missing_on_element"


def follows_the_model(taken: Any, fresh: bool) -> None:
    with transaction.atomic():
        ground = Ground(fresh)
        for step in taken:
            ground.take(step)
            ground.agrees()
        transaction.set_rollback(True)


RELAXED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@given(steps, st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=RELAXED)
def test_records_follow_the_model_whatever_two_elements_say(
    db: None, taken: Any, fresh: bool
) -> None:
    follows_the_model(taken, fresh)


@pytest.mark.drill
@given(steps, st.booleans())
@settings(max_examples=1000, deadline=None, suppress_health_check=RELAXED)
def test_drill_records_follow_the_model_in_a_thousand_histories(
    db: None, taken: Any, fresh: bool
) -> None:
    follows_the_model(taken, fresh)

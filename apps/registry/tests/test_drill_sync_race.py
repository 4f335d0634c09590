"""Uploads, edits, deletes and garbage collection on the element while it is synced: the records equal it afterwards."""

import random
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.utils import timezone

from apps.registry import editing, feed
from apps.registry.errors import NodeFailure
from apps.registry.models import FileRecord
from apps.registry.node_client import Upload
from apps.registry.tests import make
from apps.registry.tests.site import Site
from apps.registry.uploading import Lease, UploadDraft
from artstore import database
from artstore.errors import ArtStoreError
from storage_node.tests.drill_report import rounds, say

ROUNDS = 50
THREADS = 3


def test_records_equal_the_element_after_changes_during_full_and_changes_syncs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 7)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    assert race(site, range(2), files=30).changes > 0


@pytest.mark.drill
def test_drill_fifty_rounds_of_changes_during_syncs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_ITEMS", 25)
    monkeypatch.setattr(feed, "GATHERED_PAGES", 1)
    done = race(site, rounds(ROUNDS), files=60)
    say(
        f"sync race: {done.rounds} rounds, {done.changes} changes during syncs,"
        " records equal after each"
    )


@pytest.mark.drill
def test_drill_files_change_throughout_a_full_sync_of_ten_thousand(
    start_site: Callable[..., Site],
) -> None:
    site = start_site("se-churn", 10_000)
    with churned(site, seed=1) as churn:
        run = site.sync(full=True)
    assert run.status == "succeeded", run.error
    site.sync()
    assert site.differences() == []
    assert missing() == 0
    say(
        f"churn: {churn.acts} changes during a full sync of 10000 files, none lost, none wrongly deleted"
    )


@dataclass
class Raced:
    """How many rounds there were, and how many changes during their syncs."""

    rounds: int = 0
    changes: int = 0


def race(site: Site, numbers: Iterable[int], *, files: int) -> Raced:
    """Rounds of syncs under changes."""
    for _ in range(files):
        site.put()
    done = Raced()
    for number in numbers:
        with churned(site, seed=number) as churn:
            for full in (False, True, False):
                run = site.sync(full=full)
                # A listing that lost the race against itself says so and marks nothing.
                assert run.status == "succeeded" or "nothing was marked" in run.error, run.error
        done.rounds, done.changes = done.rounds + 1, done.changes + churn.acts
        assert site.sync().status == "succeeded"
        assert site.differences() == [], f"round {number}"
        assert missing() == 0, "a file that is there was marked as missing"
    return done


def missing() -> int:
    return FileRecord.objects.filter(deletion_reason="missing_on_element").count()


class Churn:
    """Clients of the element: some behind the registry's back, some through it, as the Django program does."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._random = random.Random(seed)
        self.over = threading.Event()
        self.acts = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        acts: list[Callable[[], None]] = [
            *[self.put, self.put_through_the_registry, self.edit, self.edit_through_the_registry]
            * 3,
            *[self.delete, self.delete_through_the_registry, self.collect],
        ]
        try:
            while not self.over.is_set():
                self._random.choice(acts)()
                self.acts += 1
        except BaseException as failure:
            self.failure = failure
            raise
        finally:
            database.release()

    def put(self) -> None:
        self._site.put()

    def put_through_the_registry(self) -> None:
        """The ingester's three steps: a row, the bytes, the row active."""
        file_id, lease = uuid.uuid4(), Lease.for_seconds(60)
        draft = UploadDraft(
            file_id, self._site.element.pk, "race.bin", "text/plain", "someone", 4, "permanent"
        )
        assert FileRecord.begin(draft, lease)
        described = {"original_filename": "race.bin", "retention_policy": "permanent"}
        stored = self._site.client().put_file(file_id, Upload(described, [b"race"], 4, None))
        FileRecord.activate(self._site.element.pk, stored.attributes)

    def edit(self) -> None:
        with self.too_late_is_fine():
            self._site.client().edit_file(self.some_file(), {"tags": [uuid.uuid4().hex]})

    def edit_through_the_registry(self) -> None:
        edit = editing.FileEdit({"description": uuid.uuid4().hex})
        with self.too_late_is_fine():
            editing.edit_file(self.some_file(), edit, make.principal(), timezone.now())

    def delete(self) -> None:
        with self.too_late_is_fine():
            self._site.client().delete_file(self.some_file())

    def delete_through_the_registry(self) -> None:
        with self.too_late_is_fine():
            editing.delete_file(self.some_file(), make.principal(), timezone.now())

    def collect(self) -> None:
        self._site.client().collect_garbage(dry_run=False)

    def some_file(self) -> uuid.UUID:
        listed = self._site.client().list_files({"limit": "50", "status": "active"}).body["items"]
        return uuid.UUID(self._random.choice(listed)["file_id"]) if listed else uuid.uuid4()

    @staticmethod
    @contextmanager
    def too_late_is_fine() -> Iterator[None]:
        """Somebody else deleted it first, or the registry has not heard of it: that is the race."""
        try:
            yield
        except ArtStoreError as failure:
            if not isinstance(failure, NodeFailure) and failure.code != "NOT_FOUND":
                raise


@contextmanager
def churned(site: Site, seed: int) -> Iterator[Churn]:
    """The clients work until the block ends."""
    churn = Churn(site, seed)
    threads = [threading.Thread(target=churn.run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield churn
    finally:
        churn.over.set()
        for thread in threads:
            thread.join()
    assert churn.failure is None
    assert churn.acts > 0

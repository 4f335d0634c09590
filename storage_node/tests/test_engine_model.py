"""The engine against a model of it: any order of uploads, edits, deletions, time, garbage, kills and rebuilds must agree."""

import json
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from storage_node import garbage, reconcile
from storage_node.errors import Conflict, FileGone, NotFound, PreconditionFailed, ValidationFailed
from storage_node.tests.drill_report import say
from storage_node.tests.small_element import SmallElement

GRACE, KEEP = timedelta(hours=24), timedelta(days=30)


@dataclass
class Expected:
    """What the model knows of one id."""

    body: bytes
    description: str | None
    revision: int
    status: str
    expires_at: datetime | None
    freed_at: datetime | None = None

    def status_at(self, now: datetime) -> str:
        overdue = self.status == "active" and self.expires_at is not None and self.expires_at <= now
        return "expired" if overdue else self.status


class Engine(RuleBasedStateMachine):
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(tempfile.mkdtemp(prefix="model-"))
        self.element = SmallElement(self.scratch / "se", settings={"checkpoint_log_bytes": 2**20})
        self.element.open()
        self.model: dict[UUID, Expected] = {}
        self.abandoned: set[UUID] = set()
        self.forgets_tombstones = False

    def teardown(self) -> None:
        if self.element.store.directory.disk.medium.root >= 0:
            self.element.crash()
        shutil.rmtree(self.scratch)

    @property
    def now(self) -> datetime:
        return self.element.clock.now()

    @initialize(target=ids)
    def some_ids(self) -> object:
        return multiple(*(uuid.UUID(int=number << 96 | number) for number in range(1, 5)))

    @rule(
        file_id=ids,
        size=st.sampled_from([0, 1, 4096, 65_536, 65_537, 150_000]),
        fill=st.integers(0, 1),
        ttl=st.sampled_from([None, 1, 30]),
    )
    def upload(self, file_id: UUID, size: int, fill: int, ttl: int | None) -> None:
        body = bytes([fill]) * size
        policy = {"retention_policy": "permanent"} if ttl is None else {"ttl_days": ttl}
        known = self.model.get(file_id)
        try:
            file = self.element.put(body, file_id=file_id, **policy)
        except FileGone:
            assert file_id in self.abandoned or (
                known is not None and known.status_at(self.now) != "active"
            )
        except Conflict:
            assert known is not None
            assert known.body != body
        else:
            if known is None or known.freed_at is not None:
                expires_at = None if ttl is None else self.now + timedelta(days=ttl)
                self.model[file_id] = Expected(body, None, 1, "active", expires_at)
            assert self.model[file_id].body == body
            assert file.revision == self.model[file_id].revision

    @rule(file_id=ids, text=st.text(max_size=20), revision=st.none() | st.integers(1, 3))
    def edit(self, file_id: UUID, text: str, revision: int | None) -> None:
        known = self.model.get(file_id)
        try:
            file = self.element.edit(file_id, revision, description=text)
        except NotFound:
            assert known is None
            assert file_id not in self.abandoned
        except FileGone:
            assert file_id in self.abandoned or (
                known is not None and known.status_at(self.now) != "active"
            )
        except PreconditionFailed:
            assert known is not None
            assert known.revision != revision
        except ValidationFailed:
            assert "\0" in text
        else:
            assert known is not None
            known.description, known.revision = text, known.revision + 1
            assert file.revision == known.revision

    @rule(file_id=ids)
    def delete(self, file_id: UUID) -> None:
        known = self.model.get(file_id)
        try:
            self.element.delete(file_id)
        except NotFound:
            assert known is None
        except FileGone:
            assert file_id in self.abandoned or (
                known is not None and known.status_at(self.now) != "active"
            )
        else:
            assert known is not None
            known.status, known.revision = "deleted", known.revision + 1

    @rule(file_id=ids)
    def abandon(self, file_id: UUID) -> None:
        known = self.model.get(file_id)
        file = self.element.abandon(file_id)
        if known is not None and known.freed_at is None and known.status == "active":
            assert file is not None
        else:
            assert file is None
            if known is None:
                self.abandoned.add(file_id)

    @rule(hours=st.sampled_from([1, 30, 200]))
    def time_passes(self, hours: int) -> None:
        self.element.clock.advance(hours=hours)

    @rule()
    def collect_garbage(self) -> None:
        garbage.collect(self.element.store, self.now, trust_clock=True)
        for known in self.model.values():
            if known.freed_at is not None:
                continue
            if known.status_at(self.now) == "expired" and known.status == "active":
                known.status, known.revision = "expired", known.revision + 1
            past_grace = known.expires_at is not None and known.expires_at + GRACE <= self.now
            if known.status == "deleted" or (known.status == "expired" and past_grace):
                known.freed_at = self.now
        self._follow_forgotten()

    def _follow_forgotten(self) -> None:
        """Tombstones may be forgotten after their time; from then on the id is as if it had never been."""
        reading = self.element.store.element.reading
        for file_id, known in list(self.model.items()):
            if known.freed_at is not None and reading.tombstone_status(file_id) is None:
                assert self.forgets_tombstones or known.freed_at + KEEP < self.now
                del self.model[file_id]
        for file_id in list(self.abandoned):
            if reading.tombstone_status(file_id) is None:
                self.abandoned.discard(file_id)

    @rule()
    def kill_and_start(self) -> None:
        self.element.reopen()

    @rule()
    def stop_and_start(self) -> None:
        self.element.close()
        self.element.open()

    @rule()
    def checkpoint(self) -> None:
        assert self.element.store.checkpoint()

    @rule()
    def rebuild(self) -> None:
        self.element.close()
        self.element.open(rebuild=True)
        self.forgets_tombstones = True
        self._follow_forgotten()
        self.forgets_tombstones = False

    @rule()
    def reconcile(self) -> None:
        report = reconcile.run(self.element.store, self.now, "test")
        assert report["items"] == []
        assert report["status"] == "finished"

    @invariant()
    def agrees(self) -> None:
        present = {
            file_id: known for file_id, known in self.model.items() if known.freed_at is None
        }
        told = {
            UUID(item["file_id"]): item for item in map(json.loads, self.element.items(limit=1000))
        }
        assert set(told) == set(present)
        for file_id, known in present.items():
            item = told[file_id]
            assert item["status"] == known.status_at(self.now)
            assert (item["revision"], item["description"], item["size"]) == (
                known.revision,
                known.description,
                len(known.body),
            )
            if item["status"] == "active":
                assert self.element.body(file_id) == known.body
        assert self.element.store.info(self.now).capacity["used_bytes"] == sum(
            len(known.body) for known in present.values()
        )
        assert self.element.store.info(self.now).capacity["reserved_bytes"] == 0
        assert self.element.names_under("incoming") == []
        assert len(self.element.names_under("files")) == 2 * len(present)


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TestEngineAgainstModel = Engine.TestCase
TestEngineAgainstModel.settings = settings(max_examples=12, stateful_step_count=25, **COMMON)


LONG_EXAMPLES, LONG_STEPS = 200, 50


@pytest.mark.drill
class TestEngineAgainstModelForLong(Engine.TestCase):
    settings = settings(max_examples=LONG_EXAMPLES, stateful_step_count=LONG_STEPS, **COMMON)

    @classmethod
    def tearDownClass(cls) -> None:
        say(
            f"engine against its model: {LONG_EXAMPLES} histories of up to {LONG_STEPS} steps ended"
        )

"""Asking elements how they are, and writing down what was learnt.

The network part runs in threads, all elements at once and each within its own deadline, so a dead
element delays nobody. A failed call of any kind counts like a failed probe.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Value, When
from django.utils.translation import gettext as _

from apps.registry import credentials, metrics
from apps.registry.answers import Answer
from apps.registry.errors import (
    ElementUrlRefused,
    NodeFailure,
    NodeIdentityChanged,
    NodeUnreachable,
)
from apps.registry.models import ElementStatus, Mode, StorageElement
from artstore import database
from artstore.errors import ArtStoreError

MAX_PARALLEL_PROBES = 64
_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Probe:
    """What one element answered: its full info, or why there is none."""

    element: StorageElement
    asked_at: dt.datetime
    answer: Answer | None
    failure: ArtStoreError | None = None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """How many elements were asked, and how many answered well."""

    probed: int
    online: int


def probe(element: StorageElement, now: dt.datetime) -> StorageElement:
    """Ask one element and return its row as it is afterwards."""
    _write(_ask(element, _database_now(), now))
    element.refresh_from_db()
    return element


def probe_all(now: dt.datetime) -> ProbeReport:
    """Ask every element, in parallel; the rows are written as the answers come in."""
    elements = list(StorageElement.objects.all())
    asked_at = _database_now()
    online = 0
    for found in _ask_all(elements, asked_at, now):
        online += _write(found) == ElementStatus.ONLINE
    metrics.PROBES.inc(len(elements))
    return ProbeReport(len(elements), online)


def note_failed_call(element: StorageElement, failure: NodeFailure) -> None:
    """A call to the element failed outside a probe: what it means for the element's status.

    A refusal is an answer and means nothing; silence and a changed identity do.
    """
    if isinstance(failure, NodeUnreachable | NodeIdentityChanged):
        _write_failure(element, failure)


@contextmanager
def noting_failures(element: StorageElement) -> Iterator[None]:
    """Calls to the element made in this block count against it when they fail."""
    try:
        yield
    except NodeFailure as failure:
        note_failed_call(element, failure)
        raise


def _database_now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("select statement_timestamp()")
        moment: dt.datetime = cursor.fetchone()[0]
        return moment


def _ask_all(
    elements: Sequence[StorageElement], asked_at: dt.datetime, now: dt.datetime
) -> Iterator[Probe]:
    if not elements:
        return
    with ThreadPoolExecutor(min(len(elements), MAX_PARALLEL_PROBES), "probe") as pool:
        asked = [pool.submit(_ask_in_thread, element, asked_at, now) for element in elements]
        for future in as_completed(asked):
            yield future.result()


def _ask_in_thread(element: StorageElement, asked_at: dt.datetime, now: dt.datetime) -> Probe:
    try:
        return _ask(element, asked_at, now)
    finally:
        # Reading the signing key may have opened a connection for this thread.
        database.release()


def _ask(element: StorageElement, asked_at: dt.datetime, now: dt.datetime) -> Probe:
    caller = credentials.for_system("storage:read")
    try:
        info = credentials.client(element, caller, lambda: now).get_info(
            settings.ARTSTORE_PROBE_ANSWER_SECONDS
        )
    except (NodeFailure, ElementUrlRefused) as failure:
        return Probe(element, asked_at, None, failure)
    return Probe(element, asked_at, info)


def _write(found: Probe) -> ElementStatus:
    """Store one probe's outcome and return the status it speaks for."""
    row = StorageElement.objects.filter(pk=found.element.pk)
    row.update(last_probe_at=found.asked_at)
    if found.answer is None:
        assert found.failure is not None
        _write_failure(found.element, found.failure)
        return ElementStatus.OFFLINE
    status, reason = _health(found.answer.body)
    figures = _figures(found.answer.body)
    row.filter(instance_id=found.answer.identity.instance_id).update(
        **figures, offered_instance_id=""
    )
    _write_status(found.element, status, reason)
    return status


def _write_failure(element: StorageElement, failure: ArtStoreError) -> None:
    offered = getattr(failure, "offered_instance_id", "")
    with transaction.atomic():
        if offered:
            StorageElement.objects.filter(pk=element.pk).update(offered_instance_id=offered[:64])
        _write_status(element, ElementStatus.OFFLINE, str(failure))


def _write_status(element: StorageElement, status: ElementStatus, reason: str) -> None:
    """Maintenance is the operator's word: a probe does not end it."""
    kept = When(status=ElementStatus.MAINTENANCE, then=Value(ElementStatus.MAINTENANCE))
    StorageElement.objects.filter(pk=element.pk).update(
        status=Case(kept, default=Value(status)), status_reason=reason[:_REASON_CHARACTERS]
    )


def _health(info: dict[str, Any]) -> tuple[ElementStatus, str]:
    if info.get("status") == "ok":
        return ElementStatus.ONLINE, ""
    reasons = info.get("status_reasons")
    texts = [str(reason) for reason in reasons] if isinstance(reasons, list) else []
    return ElementStatus.DEGRADED, "; ".join(texts) or _("The node says it is %(status)s.") % {
        "status": str(info.get("status"))[:20]
    }


def _figures(info: dict[str, Any]) -> dict[str, Any]:
    """The columns that repeat the node's info, where it makes sense."""
    figures: dict[str, Any] = {"version": str(info.get("version", ""))[:64]}
    if info.get("mode") in Mode.values:
        figures["mode"] = info["mode"]
    capacity = info.get("capacity")
    if isinstance(capacity, dict):
        for name in ("capacity_bytes", "used_bytes", "available_bytes"):
            figures[name] = _count(capacity.get(name))
    counts = info.get("counts")
    if isinstance(counts, dict) and isinstance(counts.get("active"), dict):
        figures["file_count"] = _count(counts["active"].get("files"))
    return figures


def listed_files(info: dict[str, Any]) -> int:
    """How many active files the node counts; 0 where it does not say."""
    return int(_figures(info).get("file_count", 0))


def _count(value: Any) -> int:
    return min(value, 2**63 - 1) if type(value) is int and value > 0 else 0

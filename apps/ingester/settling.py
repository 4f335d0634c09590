"""Uploads whose sender was lost: ask their element what became of them, and make the record agree.

Takes only rows whose lease ran out. The element decides: a file that is there is adopted, one that
is not is given up for good there and forgotten here. An element that does not answer keeps its
rows waiting; the next round asks again.
"""

import logging
from dataclasses import dataclass

from django.conf import settings

from apps.ingester import metrics, nodes, transfer
from apps.registry import credentials
from apps.registry.errors import NodeFailure
from apps.registry.models import FileRecord
from apps.registry.uploading import Lease
from artstore import database

logger = logging.getLogger(__name__)

BATCH_UPLOADS = 100


@dataclass(frozen=True, slots=True)
class SettleReport:
    """How many uploads of a round ended which way."""

    adopted: int = 0
    dropped: int = 0
    waiting: int = 0


def settle_expired() -> SettleReport:
    """One round over uploads whose lease has run out."""
    lease = Lease.for_seconds(settings.ARTSTORE_UPLOAD_LEASE_SECONDS)
    outcomes = [_settle(record, lease) for record in FileRecord.claim_expired(lease, BATCH_UPLOADS)]
    for outcome in outcomes:
        metrics.UPLOADS_SETTLED.labels(outcome).inc()
    return SettleReport(
        adopted=outcomes.count("adopted"),
        dropped=outcomes.count("dropped"),
        waiting=outcomes.count("waiting"),
    )


def _settle(record: FileRecord, lease: Lease) -> str:
    element = record.storage_element
    if not record.body_sent or element is None:
        # No byte ever left for an element, or the element was removed with all it holds.
        FileRecord.unpin(record.file_id, lease)
        FileRecord.drop(record.file_id, lease)
        return "dropped"
    database.release()
    try:
        found = nodes.client(element, credentials.SYSTEM_SUBJECT).abandon(record.file_id)
        if found is not None:
            found = transfer.add_owed_texts(element, record, found, credentials.SYSTEM_SUBJECT)
    except NodeFailure as failure:
        logger.warning("upload %s waits for %s: %s", record.file_id, element.storage_id, failure)
        return "waiting"
    if found is not None:
        FileRecord.activate(element.id, found)
        return "adopted"
    FileRecord.unpin(record.file_id, lease)
    FileRecord.drop(record.file_id, lease)
    return "dropped"

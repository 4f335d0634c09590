"""The ingester's calls to an element, as whoever sends the file. No decisions."""

from collections.abc import Iterable

from apps.ingester.incoming import IncomingFile
from apps.registry import credentials
from apps.registry.credentials import Caller
from apps.registry.models import StorageElement
from apps.registry.node_client import NodeClient, Upload


def client(element: StorageElement, subject: str) -> NodeClient:
    """A client whose uploads the element records as `subject`'s."""
    caller = Caller(subject, "ingester", ("files:read", "files:write"))
    return credentials.client(element, caller)


def upload_of(incoming: IncomingFile, blocks: Iterable[bytes]) -> Upload:
    """The wire's form of a file and the bytes that will follow."""
    given = incoming.fields
    attributes = {
        "original_filename": incoming.name.original_filename,
        "content_type": incoming.name.content_type,
        "description": given.description,
        "tags": list(given.tags),
        "metadata": dict(given.metadata),
        "retention_policy": given.retention_policy,
        "ttl_days": given.ttl_days,
    }
    content = incoming.content
    announced = content.sha256 or given.checksum
    return Upload(
        attributes, blocks, content.size_bytes, announced or None, repeatable=content.replayable
    )

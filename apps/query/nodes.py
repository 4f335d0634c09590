"""The query app's calls to an element, on behalf of whoever downloads. No decisions."""

from apps.registry import credentials
from apps.registry.credentials import Caller
from apps.registry.models import StorageElement
from apps.registry.node_client import NodeClient


def client(element: StorageElement, subject: str) -> NodeClient:
    """A client that may read this element's files, and nothing else."""
    return credentials.client(element, _caller(subject))


def token(element: StorageElement, subject: str) -> str:
    """What such a client shows the element."""
    return credentials.token(element, _caller(subject))


def _caller(subject: str) -> Caller:
    return Caller(subject, "query", ("files:read",))

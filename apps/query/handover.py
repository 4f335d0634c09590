"""Handing a download over to the nginx in front: where it finds the file, and with which token.

The element has been asked with HEAD by then, so errors, conditions and lazy cleanup are done. nginx
keeps these headers to itself (deploy/nginx/handover.conf) and connects to the address that was
checked here. Nothing is handed to anybody who does not know the secret that Query and nginx share.
"""

import hmac
import ipaddress
import urllib.parse
import uuid
from collections.abc import Mapping

from django.conf import settings

from apps.query import nodes
from apps.registry import addresses, wire
from apps.registry.models import StorageElement

INTERNAL_PREFIX = "/_artstore_element"


def is_wanted(offered_secret: str) -> bool:
    """Whether the request came through an nginx that takes downloads over."""
    secret: str = settings.ARTSTORE_HANDOVER_SECRET
    return bool(secret) and hmac.compare_digest(offered_secret.encode(), secret.encode())


def is_possible(element: StorageElement) -> bool:
    """nginx compares certificates with names alone, so an element known by an address is not its."""
    host = urllib.parse.urlsplit(element.url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return element.url.startswith("https://")
    return False


def headers(element: StorageElement, file_id: uuid.UUID, subject: str) -> dict[str, str]:
    """What nginx has to know. Raises `ElementUrlRefused`, or `OSError` when nothing answers there."""
    url = urllib.parse.urlsplit(element.url)
    host, port = url.hostname or "", url.port or 443
    patience = settings.ARTSTORE_NODE_CONNECT_SECONDS
    address = addresses.reached(host, port, patience, wire.policy())
    shown = f"[{address}]" if ":" in address else address
    return {
        "X-Accel-Redirect": f"{INTERNAL_PREFIX}/api/v1/files/{file_id}/download",
        "X-ArtStore-Element-Address": f"{shown}:{port}",
        "X-ArtStore-Element-Host": host,
        "X-ArtStore-Element-Token": nodes.token(element, subject),
    }


def to_pass_on(answer: Mapping[str, str]) -> dict[str, str]:
    """What of our own answer nginx puts beside what the element says of the bytes. An error that
    comes between must not carry it, so it travels under names that nginx keeps to itself."""
    passed = {"X-ArtStore-Disposition": answer["Content-Disposition"]}
    if "Content-Security-Policy" in answer:
        passed["Content-Security-Policy"] = answer["Content-Security-Policy"]
    return passed

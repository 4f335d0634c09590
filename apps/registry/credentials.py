"""Clients for registered elements: an element's token is given only to what proved to be it.

Before a token is made for an element, its tokenless `/info` at its present URL has to answer with
the registered storage_id over a TLS connection that its pin accepts. The proof is remembered by
this process for as long as a token lives, and forgotten with any change of URL, pin or instance.
"""

import datetime as dt
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.admin import tokens
from apps.registry.models import StorageElement
from apps.registry.node_client import NodeAddress, NodeClient
from artstore import database

SYSTEM_SUBJECT = "artstore"

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom and from which module an element is called, and what the token may do there."""

    subject: str
    module: str
    scopes: tuple[str, ...]


def for_system(*scopes: str) -> Caller:
    """The registry's own calls, with no person behind them."""
    return Caller(SYSTEM_SUBJECT, "admin", scopes)


def address_of(element: StorageElement) -> NodeAddress:
    return NodeAddress(element.url, element.storage_id, element.instance_id, element.ca_pem)


def client(element: StorageElement, caller: Caller, clock: Clock = timezone.now) -> NodeClient:
    """A client whose calls carry a token for this element, made when the first one needs it."""
    address = address_of(element)
    return NodeClient(address, lambda: _token(address, caller, clock))


def token(element: StorageElement, caller: Caller, clock: Clock = timezone.now) -> str:
    """The token itself, for whoever calls the element in our place. It is a secret."""
    return _token(address_of(element), caller, clock)


def _token(address: NodeAddress, caller: Caller, clock: Clock) -> str:
    """The token; a connection that was opened to make it is given back, for the call comes next."""
    idle = connection.connection is None
    try:
        _proven.ensure(address)
        return tokens.element_token(
            address.storage_id, caller.subject, caller.module, caller.scopes, clock()
        )
    finally:
        if idle:
            database.release()


class _Proven:
    """Which addresses have proven to be which element, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def ensure(self, address: NodeAddress) -> None:
        """Ask without a token, unless that was done lately. Raises what `get_info` raises."""
        key = hashlib.sha256(repr(address).encode()).hexdigest()
        with self._lock:
            if self._until.get(key, 0.0) > time.monotonic():
                return
        NodeClient(address).get_info()
        with self._lock:
            self._until[key] = time.monotonic() + settings.ARTSTORE_ELEMENT_TOKEN_SECONDS

    def forget(self) -> None:
        with self._lock:
            self._until.clear()


_proven = _Proven()


def forget_proofs() -> None:
    """Ask every element again before its next token."""
    _proven.forget()

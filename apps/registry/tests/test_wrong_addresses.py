"""An element's URL leads somewhere else: the right code, no record touched, and no token that opens anything.

Each impostor records all it is sent. What a token taken from a *true* element would open is `test_hostile_elements`.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.utils import timezone

from apps.registry import cleanup, comparing, credentials, editing, elements, probing
from apps.registry.errors import ElementMismatch, ElementUrlRefused
from apps.registry.models import FileRecord, StorageElement
from apps.registry.tests import make
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from apps.registry.tests.site import Site
from artstore.errors import ArtStoreError
from storage_node.tests.node_process import Certificates

INFO = {"contract": 1, "mode": "edit", "status": "ok", "version": "9"}
METADATA = "https://169.254.169.254"


Script = Callable[[Line], None]


def another_element(_identity: str) -> Script:
    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", json.dumps(INFO), IDENTITY)

    return script


def html(_identity: str) -> Script:
    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", "<!doctype html><p>It works!</p>", "Content-Language: en\r\n")

    return script


def a_redirect(identity: str) -> Script:
    def script(line: Line) -> None:
        line.head()
        line.answer("302 Found", "", f"Location: {METADATA}/latest\r\n{identity}")

    return script


def an_endless_answer(identity: str) -> Script:
    def script(line: Line) -> None:
        line.head()
        line.send(f"HTTP/1.1 200 OK\r\n{identity}Content-Length: 99999999\r\n\r\n")
        ended = threading.Event()
        while not ended.wait(0.02):
            line.send(" ")

    return script


# The last two even know the element's names; all are under a certificate that its pin accepts.
WRONG: dict[str, Callable[[str], Script]] = {
    "another element": another_element,
    "HTML": html,
    "a redirect": a_redirect,
    "an endless answer": an_endless_answer,
}


def impostor(site: Site, what: str, certificates: Certificates) -> ScriptedServer:
    identity = (
        f"X-ArtStore-Storage-Id: {site.element.storage_id}\r\n"
        f"X-ArtStore-Instance-Id: {site.element.instance_id}\r\nX-ArtStore-Epoch: e-1\r\n"
    )
    return ScriptedServer(certificates, WRONG[what](identity))


@contextmanager
def led_astray(
    site: Site, what: str, certificates: Certificates
) -> Iterator[ScriptedServer | None]:
    """The element's row points at an impostor."""
    if what == "a link-local address":
        StorageElement.objects.filter(pk=site.element.pk).update(url=METADATA)
        site.element.refresh_from_db()
        yield None
        return
    with impostor(site, what, certificates) as server:
        StorageElement.objects.filter(pk=site.element.pk).update(url=server.url)
        site.element.refresh_from_db()
        yield server


@pytest.mark.parametrize("what", [*WRONG, "a link-local address"])
def test_a_url_that_leads_elsewhere_gets_no_token_and_touches_no_record(
    site: Site, certificates: Certificates, settings: Any, what: str
) -> None:
    settings.ARTSTORE_NODE_ANSWER_SECONDS = settings.ARTSTORE_PROBE_ANSWER_SECONDS = 1
    stored = site.put()
    site.sync()
    before = list(FileRecord.objects.values())
    with led_astray(site, what, certificates) as server:
        # As a process that has just started: nobody has proven to be anybody.
        credentials.forget_proofs()
        refused = [
            code_of(lambda: editing.delete_file(stored.file_id, make.principal(), timezone.now())),
            code_of(
                lambda: editing.edit_file(
                    stored.file_id,
                    editing.FileEdit({"tags": ["x"]}),
                    make.principal(),
                    timezone.now(),
                )
            ),
            code_of(lambda: comparing.compare(site.element)),
        ]
        run = site.sync(full=True, allow_mass_delete=True)
        verdict = cleanup.settle_missing(site.record(stored.file_id), timezone.now())
        probed = probing.probe(site.element, timezone.now())
        sent = b"" if server is None else server.received()
    assert refused == ["SE_UNAVAILABLE"] * 3, "the caller did not choose the address"
    assert run.status == "failed"
    assert run.error
    assert verdict is cleanup.Verdict.KEPT
    assert probed.status == "offline"
    assert list(FileRecord.objects.values()) == before
    assert b"authorization" not in sent.lower()
    if server is not None:
        assert b"/info" in sent, "it was asked who it is, and nothing else"
        assert b"/files" not in sent
        assert b"/changes" not in sent


@pytest.mark.parametrize("what", [*WRONG, "a link-local address"])
def test_such_a_url_is_not_accepted_when_it_is_given(
    site: Site, certificates: Certificates, settings: Any, what: str
) -> None:
    settings.ARTSTORE_NODE_ANSWER_SECONDS = settings.ARTSTORE_PROBE_ANSWER_SECONDS = 1
    before = StorageElement.objects.values().get()
    if what == "a link-local address":
        with pytest.raises(ElementUrlRefused):
            elements.discover(METADATA, "")
        change = elements.ElementEdit(url=METADATA)
        assert code_of(lambda: edit(site, change)) == "ELEMENT_URL_REFUSED"
    else:
        with impostor(site, what, certificates) as server:
            change = elements.ElementEdit(url=server.url)
            refused = code_of(lambda: edit(site, change))
            sent = server.received()
        assert refused == (ElementMismatch.code if what == "another element" else "SE_UNAVAILABLE")
        assert b"authorization" not in sent.lower()
    after = StorageElement.objects.values().get()
    assert (after["url"], after["instance_id"]) == (before["url"], before["instance_id"])


def edit(site: Site, change: elements.ElementEdit) -> None:
    elements.edit(site.element.pk, change, make.principal(), timezone.now())


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ArtStoreError) as caught:
        act()
    return caught.value.code

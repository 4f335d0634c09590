"""Probes: what an element answers becomes its row; a dead one delays nobody."""

import datetime as dt
import json
import threading
from typing import Any

import pytest
from django.utils import timezone

from apps.registry import elements, probing
from apps.registry.errors import NodeUnreachable
from apps.registry.models import StorageElement
from apps.registry.tests import make
from apps.registry.tests.fake_node import example
from apps.registry.tests.scripted import Line, ScriptedServer
from storage_node.tests.node_process import Certificates


def answering(certificates: Certificates, **changed: Any) -> ScriptedServer:
    """Says it is the element `se-fake`, instance `i-1`, with this info."""
    info = example("get_info-full")["response"]["body"] | changed

    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", json.dumps(info))

    return ScriptedServer(certificates, script)


def element_at(server: ScriptedServer, certificates: Certificates, **given: Any) -> StorageElement:
    values = {"instance_id": "i-1", "ca_pem": certificates.ca.read_text(), "url": server.url}
    return make.element("se-fake", **(values | given))


def test_a_probe_writes_down_what_the_node_says(site: Any) -> None:
    site.put(b"12345")
    before = timezone.now()
    element = probing.probe(site.element, timezone.now())
    assert element.status == "online"
    assert (element.mode, element.file_count) == ("edit", 1)
    assert 0 < element.used_bytes < element.capacity_bytes == 10 * 2**30
    assert element.available_bytes > 0
    assert element.version
    assert element.last_probe_at is not None
    assert abs(element.last_probe_at - before) < dt.timedelta(minutes=1)


@pytest.mark.parametrize("status", ["degraded", "starting"])
def test_a_node_that_is_not_well_is_degraded_with_its_reasons(
    keys: None, certificates: Certificates, status: str
) -> None:
    with answering(certificates, status=status, status_reasons=["disk failed"]) as server:
        element = probing.probe(element_at(server, certificates), timezone.now())
    assert (element.status, element.status_reason) == ("degraded", "disk failed")


def test_prior_art_24_an_element_once_degraded_is_asked_again_and_comes_back(site: Any) -> None:
    site.node.kill()
    assert probing.probe(site.element, timezone.now()).status == "offline"
    site.node.start()
    probing.probe_all(timezone.now())
    back = elements.get(site.element.pk)
    assert (back.status, back.status_reason) == ("online", "")


def test_silly_figures_are_no_figures(keys: None, certificates: Certificates) -> None:
    silly = {"capacity_bytes": -1, "used_bytes": "many", "available_bytes": 10**30}
    with answering(
        certificates, capacity=silly, counts={"active": {"files": None}}, mode="fast"
    ) as server:
        element = probing.probe(element_at(server, certificates), timezone.now())
    assert (element.capacity_bytes, element.used_bytes, element.file_count) == (0, 0, 0)
    assert element.available_bytes == 2**63 - 1
    assert element.mode == "edit"


def test_dead_elements_and_slow_ones_delay_nobody(
    site: Any, certificates: Certificates, settings: Any
) -> None:
    """Nothing answers at three; two send a byte now and then for ever; the real one is online."""
    settings.ARTSTORE_PROBE_ANSWER_SECONDS = 1
    settings.ARTSTORE_NODE_ANSWER_SECONDS = 1
    over = threading.Event()

    def trickle(line: Line) -> None:
        line.head()
        line.send("HTTP/1.1 200 OK\r\n")
        while not over.wait(0.05):
            line.send("X")

    dead = [make.element() for _ in range(3)]
    with ScriptedServer(certificates, trickle) as one, ScriptedServer(certificates, trickle) as two:
        slow = [
            make.element(url=server.url, instance_id="i-1", ca_pem=certificates.ca.read_text())
            for server in (one, two)
        ]
        report = probing.probe_all(timezone.now())
        over.set()
    assert (report.probed, report.online) == (6, 1)
    assert elements.get(site.element.pk).status == "online"
    for element in [*dead, *slow]:
        found = elements.get(element.pk)
        assert found.status == "offline"
        assert found.status_reason


def test_a_failed_call_counts_and_a_refusal_does_not(db: None) -> None:
    element = make.element()
    probing.note_failed_call(element, NodeUnreachable("gone"))
    assert elements.get(element.pk).status == "offline"


def test_no_elements_are_no_trouble(db: None) -> None:
    assert probing.probe_all(timezone.now()) == probing.ProbeReport(0, 0)

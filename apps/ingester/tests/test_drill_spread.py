"""Many uploads at once over elements of different size."""

import collections
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from apps.ingester.tests.site import Site
from apps.ingester.tests.test_upload_api import upload_url
from apps.ingester.tests.web_process import WebProcess
from storage_node.tests.drill_report import say

pytestmark = pytest.mark.django_db

MIB = 1024 * 1024
# The log and its spare room are on top of this on every element.
ROOMS_MIB = {"se-10": 10, "se-20": 20, "se-30": 30, "se-60": 60}


@pytest.fixture(scope="module")
def elements(site: Site) -> list[str]:
    """Four elements, the largest six times the smallest, and what they have room for."""
    for storage_id in ROOMS_MIB:
        site.add_node(storage_id, SE_MODE="rw")
    return list(ROOMS_MIB)


def set_rooms(site: Site, rooms_bytes: dict[str, int]) -> None:
    for storage_id, room_bytes in rooms_bytes.items():
        site.execute(
            "update registry_storageelement set available_bytes = %s, last_probe_at = now()"
            " where storage_id = %s",
            room_bytes,
            storage_id,
        )


def send(web: WebProcess, token: str, size: int) -> requests.Response:
    return requests.post(
        upload_url(web),
        params={"filename": f"{uuid.uuid4()}.bin", "retention_policy": "permanent"},
        data=os.urandom(size),
        headers={"Authorization": f"Bearer {token}"},
        timeout=120,
    )


@pytest.mark.parametrize("uploads", [100])
def test_uploads_spread_in_proportion_to_room_and_none_is_refused(
    site: Site, web: WebProcess, token: str, elements: list[str], uploads: int
) -> None:
    """Prior art 30: free space up to an hour old, and every upload went to one element."""
    size = 64 * 1024
    set_rooms(site, {name: mib * MIB for name, mib in ROOMS_MIB.items()})
    with site.elements_online(*elements), ThreadPoolExecutor(uploads) as pool:
        answers = list(pool.map(lambda _: send(web, token, size), range(uploads)))
    assert [answer.status_code for answer in answers] == [201] * uploads
    went = _where(site)
    for name, mib in ROOMS_MIB.items():
        expected = uploads * mib / sum(ROOMS_MIB.values())
        # Drawn by lot: four standard deviations around the share.
        spread = 4 * (expected * (1 - expected / uploads)) ** 0.5
        assert abs(went[name] - expected) <= spread, (name, went)
    say(f"{uploads} uploads at once over rooms {ROOMS_MIB}: went {dict(went)}, none refused")


def test_none_is_refused_while_any_element_has_room(
    site: Site, web: WebProcess, token: str, elements: list[str]
) -> None:
    """The registry believes in three elements that are full; every upload finds the fourth."""
    site.execute("truncate registry_filerecord cascade")
    full = ["se-full-1", "se-full-2", "se-full-3"]
    for storage_id in full:
        site.add_node(storage_id, SE_MODE="rw", SE_MAX_CAPACITY="500")
    set_rooms(site, dict.fromkeys(full, 10**12) | {"se-10": 10 * MIB})
    with site.elements_online(*full, "se-10"), ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: send(web, token, 64 * 1024), range(40)))
    assert [answer.status_code for answer in answers] == [201] * 40
    assert _where(site) == {"se-10": 40}


def _where(site: Site) -> "collections.Counter[Any]":
    rows = site.execute(
        "select e.storage_id, count(*) from registry_filerecord r join registry_storageelement e"
        " on e.id = r.storage_element_id where r.status = 'active' group by 1"
    )
    return collections.Counter(dict(rows))

"""Large files pass through without the process growing with them."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from apps.ingester.tests.web_process import WebProcess

pytestmark = [pytest.mark.django_db, pytest.mark.drill]

MIB = 1024 * 1024
SIZE_MIB = 1024
BLOCK = os.urandom(MIB)


def blocks() -> Iterator[bytes]:
    for _number in range(SIZE_MIB):
        yield BLOCK


def resident_bytes(web: WebProcess) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in web.workers())


def test_a_gigabyte_up_and_down_adds_less_than_64_mib(web: WebProcess, caller: Any) -> None:
    url = f"{web.base_url}/api/v1/files"
    caller.post(f"{url}/upload?filename=warm", data=BLOCK * 2, timeout=600)
    before = resident_bytes(web)
    stored = caller.post(f"{url}/upload?filename=big", data=blocks(), timeout=600)
    assert stored.status_code == 201, stored.text
    after_upload = resident_bytes(web)
    digest = hashlib.sha256()
    answer = caller.get(f"{url}/{stored.json()['file_id']}/download", stream=True, timeout=600)
    for block in answer.iter_content(MIB):
        digest.update(block)
    assert digest.hexdigest() == stored.json()["checksum"]
    assert max(after_upload, resident_bytes(web)) - before < 64 * MIB

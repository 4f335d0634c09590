"""How often one may knock: counted in the database, per address and per name."""

import datetime as dt
import os
import subprocess
import sys

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from apps.admin import throttling
from apps.admin.authentication import client_address
from apps.admin.errors import Throttled
from apps.admin.models import RequestRate
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)

KNOCKER = """
import sys
import django; django.setup()
from django.utils import timezone
from apps.admin import throttling
from apps.admin.errors import Throttled
passed = 0
for _ in range(20):
    try:
        throttling.admit("login", "10.0.0.1", None, timezone.now())
        passed += 1
    except Throttled:
        pass
print(passed)
"""


@pytest.fixture(autouse=True)
def limits(settings: object) -> None:
    settings.ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE = 6
    settings.ARTSTORE_THROTTLE_NAME_PER_MINUTE = 3


def passed(times: int, address: str, name: str | None, now: dt.datetime) -> int:
    count = 0
    for _ in range(times):
        try:
            throttling.admit("login", address, name, now)
            count += 1
        except Throttled:
            pass
    return count


def test_a_burst_of_a_minutes_requests_passes_and_no_more() -> None:
    assert passed(20, "10.0.0.1", None, NOW) == 6


def test_then_the_pace_is_kept() -> None:
    passed(20, "10.0.0.1", None, NOW)
    later = NOW + dt.timedelta(seconds=10)
    assert passed(5, "10.0.0.1", None, later) == 1
    assert passed(20, "10.0.0.1", None, NOW + dt.timedelta(minutes=2)) == 6


def test_a_name_is_counted_over_all_addresses_and_in_any_case() -> None:
    assert sum(passed(1, f"10.0.0.{n}", "Bob" if n % 2 else "bOB", NOW) for n in range(9)) == 3


def test_doors_and_addresses_do_not_share_a_count() -> None:
    passed(20, "10.0.0.1", None, NOW)
    assert passed(1, "10.0.0.2", None, NOW) == 1
    throttling.admit("token", "10.0.0.1", None, NOW)


def test_an_ipv6_network_is_one_address() -> None:
    assert sum(passed(1, f"2001:db8::{n:x}", None, NOW) for n in range(1, 20)) == 6
    assert passed(1, "2001:db8:0:1::1", None, NOW) == 1
    assert passed(20, "::ffff:10.0.0.1", None, NOW) == 6
    assert passed(1, "10.0.0.1", None, NOW) == 0


def test_a_refusal_says_how_long_to_wait(client: Client) -> None:
    answers = [
        make.post(client, "/admin-auth/login", username=f"nobody-{n}", password="x")
        for n in range(8)
    ]
    assert [answer.status_code for answer in answers] == [401] * 6 + [429] * 2
    assert answers[-1].json()["error"]["code"] == "THROTTLED"
    assert answers[-1].headers["Retry-After"] == "10"


def test_the_token_door_is_throttled_too_at_ten_times_the_pace(
    client: Client, settings: object
) -> None:
    settings.ARTSTORE_THROTTLE_NAME_PER_MINUTE = 1
    account = make.account()
    statuses = [
        make.post(
            client,
            "/auth/token",
            grant_type="client_credentials",
            client_id=account.account.client_id,
            client_secret=account.client_secret,
        ).status_code
        for _ in range(12)
    ]
    assert statuses == [200] * 10 + [429] * 2


def test_the_refresh_door_is_throttled_too(client: Client) -> None:
    statuses = [
        make.post(client, "/admin-auth/refresh", refresh_token=f"made up {n}").status_code
        for n in range(8)
    ]
    assert statuses == [401] * 6 + [429] * 2


@pytest.mark.django_db(transaction=True)
def test_processes_share_one_limit() -> None:
    url = os.environ["DATABASE_URL"].replace("/artstore?", f"/{connection.settings_dict['NAME']}?")
    limit = {"ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE": "10"}
    environment = os.environ | {"DATABASE_URL": url} | limit
    knockers = [
        subprocess.Popen([sys.executable, "-c", KNOCKER], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    begun = timezone.now()
    total = sum(int(knocker.communicate(timeout=120)[0]) for knocker in knockers)
    # One more for each six seconds that the processes took.
    allowance = (timezone.now() - begun).total_seconds() / 6 + 1
    assert 10 <= total <= 10 + allowance


def test_idle_rows_are_forgotten() -> None:
    passed(2, "10.0.0.1", None, NOW)
    passed(2, "10.0.0.2", None, NOW + dt.timedelta(hours=1))
    assert throttling.forget_idle(NOW + dt.timedelta(minutes=5)) == 1
    assert RequestRate.objects.count() == 1


def test_no_address_and_no_name_is_stored() -> None:
    passed(1, "10.0.0.1", "hunter2", NOW)
    stored = repr(list(RequestRate.objects.values()))
    assert "10.0.0" not in stored
    assert "hunter2" not in stored


@pytest.mark.parametrize(
    ("proxies", "header", "expected"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "forged, 1.1.1.1", "1.1.1.1"),
        (2, "forged, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (2, "1.1.1.1", "9.9.9.9"),
        (1, "", "9.9.9.9"),
    ],
)
def test_forwarded_addresses_are_believed_only_from_trusted_proxies(
    settings: object, proxies: int, header: str, expected: str
) -> None:
    settings.ARTSTORE_TRUSTED_PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="9.9.9.9", HTTP_X_FORWARDED_FOR=header)
    assert client_address(request) == expected

"""Wrong passwords are counted per submitted name, exactly, across processes."""

import datetime as dt
import itertools
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.admin import lockout, sessions
from apps.admin.errors import AccountLocked, InvalidCredentials
from apps.admin.models import AuditEvent, LoginThrottle
from apps.admin.sessions import SignIn
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
NOBODY = Client()
QUARTER = dt.timedelta(minutes=15)

# One of several processes, each with its own connections: tries one name from many threads.
GUESSER = """
import collections, json, sys
from concurrent.futures import ThreadPoolExecutor
import django; django.setup()
from django.utils import timezone
from apps.admin import sessions
from artstore.errors import ArtStoreError

def guess(number):
    attempt = sessions.SignIn(sys.argv[1], f"guess {number}", "127.0.0.1")
    try:
        sessions.sign_in(attempt, timezone.now())
    except ArtStoreError as refusal:
        return refusal.code
with ThreadPoolExecutor(12) as threads:
    print(json.dumps(collections.Counter(threads.map(guess, range(int(sys.argv[2]))))))
"""


def fail(username: str, times: int) -> list[int]:
    return [
        make.post(NOBODY, "/admin-auth/login", username=username, password="wrong").status_code
        for _ in range(times)
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("exists", [True, pytest.param(False, marks=pytest.mark.drill)])
def test_two_hundred_parallel_guesses_from_four_processes_try_exactly_five(exists: bool) -> None:
    name = make.user().username if exists else "nobody-here"
    environment = os.environ | {
        "DATABASE_URL": os.environ["DATABASE_URL"].replace(
            "/artstore?", f"/{connection.settings_dict['NAME']}?"
        )
    }
    guessers = [
        subprocess.Popen(
            [sys.executable, "-c", GUESSER, name, "50"], env=environment, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outcomes = [json.loads(guesser.communicate(timeout=120)[0]) for guesser in guessers]
    tried = sum(outcome.get("INVALID_CREDENTIALS", 0) for outcome in outcomes)
    locked = sum(outcome.get("ACCOUNT_LOCKED", 0) for outcome in outcomes)
    assert (tried, locked) == (5, 195)
    assert AuditEvent.objects.filter(action="session.lock").count() == 1


def test_five_failures_lock_and_even_the_right_password_waits() -> None:
    person = make.user()
    assert fail(person.username, 6) == [401] * 5 + [423]
    right = make.post(NOBODY, "/admin-auth/login", username=person.username, password=make.PASSWORD)
    assert right.status_code == 423
    assert right.json()["error"]["code"] == "ACCOUNT_LOCKED"
    assert 890 <= int(right.headers["Retry-After"]) <= 900


def test_prior_art_35_a_name_nobody_has_is_locked_just_the_same() -> None:
    person = make.user()
    fail(person.username, 5)
    fail("nobody-here", 5)
    known = make.post(NOBODY, "/admin-auth/login", username=person.username, password="x")
    unknown = make.post(NOBODY, "/admin-auth/login", username="nobody-here", password="x")
    assert known.status_code == unknown.status_code == 423
    assert known.json()["error"] == unknown.json()["error"]


def test_variants_of_a_name_share_its_count() -> None:
    make.user(username="grace")
    for variant in ("grace", "GRACE", "Grace", "gRACE", "ｇｒａｃｅ"):
        fail(variant, 1)
    assert fail("grace", 1) == [423]


def test_success_resets_the_count() -> None:
    person = make.user()
    fail(person.username, 4)
    make.login(person)
    assert fail(person.username, 5) == [401] * 5


def test_prior_art_35_after_a_lock_expires_the_count_starts_from_zero() -> None:
    """35: after a lock expired one more failure locked again."""
    person = make.user()
    fail(person.username, 5)
    later = timezone.now() + QUARTER + dt.timedelta(seconds=5)

    def attempt(password: str) -> None:
        sessions.sign_in(SignIn(person.username, password, "127.0.0.1"), later)

    for _ in range(4):
        with pytest.raises(InvalidCredentials):
            attempt("wrong")
    attempt(make.PASSWORD)


def test_a_lock_is_not_lengthened_by_more_attempts() -> None:
    person = make.user()
    fail(person.username, 5)
    until = LoginThrottle.objects.get().locked_until
    fail(person.username, 3)
    assert LoginThrottle.objects.get().locked_until == until


def test_unlocking_by_hand_works_at_once_and_once() -> None:
    person, admin = make.user(), make.bearer(make.user_token())
    fail(person.username, 5)
    shown = admin.get(f"/api/v1/admin-users/{person.id}").json()
    assert (shown["is_locked"], shown["failed_login_attempts"]) == (True, 5)
    assert shown["locked_until"]
    path = f"/admin-users/{person.id}/unlock"
    assert make.post(admin, path).status_code == 204
    assert make.login(person)
    again = make.post(admin, path)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "NOT_LOCKED")


def test_an_expired_lock_is_shown_as_none() -> None:
    person = make.user()
    fail(person.username, 5)
    LoginThrottle.objects.update(locked_until=timezone.now() - dt.timedelta(seconds=1))
    state = lockout.states([person.username], timezone.now())[person.username]
    assert (state.is_locked, state.failed_attempts) == (False, 0)


def test_what_was_typed_as_a_name_is_stored_nowhere() -> None:
    fail("hunter2-my-password", 6)
    with connection.cursor() as cursor:
        cursor.execute("select to_jsonb(t)::text from artstore_admin_loginthrottle t")
        rows = cursor.fetchall()
        cursor.execute("select to_jsonb(t)::text from artstore_admin_auditevent t")
        rows += cursor.fetchall()
    assert not [row for row in rows if "hunter2" in row[0]]
    assert AuditEvent.objects.get(action="session.lock").target == "(unknown name)"


def test_idle_names_are_forgotten_and_locked_ones_kept() -> None:
    make.user(username="grace")
    fail("grace", 1)
    fail("nobody-here", 5)
    LoginThrottle.objects.update(last_failure_at=timezone.now() - dt.timedelta(days=2))
    assert lockout.forget_idle(timezone.now()) == 1
    with pytest.raises(AccountLocked):
        sessions.sign_in(SignIn("nobody-here", "x", "127.0.0.1"), timezone.now())


def test_unknown_wrong_and_inactive_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal work by construction: one password hash and the same statements, whoever is named."""
    hashed: list[str] = []
    real = sessions.check_password

    def counted(password: str, encoded: str) -> bool:
        hashed.append(encoded.split("$")[1:4][-1])
        return real(password, encoded)

    monkeypatch.setattr(sessions, "check_password", counted)
    make.user(username="somebody")
    make.user(username="sleeper", is_active=False)
    make.post(NOBODY, "/admin-auth/login", username="warm-up", password="x")
    work = {}
    for name in ("somebody", "sleeper", "nobody-here"):
        hashed.clear()
        statements = Statements()
        with connection.execute_wrapper(statements):
            assert fail(name, 1) == [401]
        work[name] = (list(hashed), statements.seen)
    assert work["somebody"] == work["sleeper"] == work["nobody-here"]


class Statements:
    """Notes the beginning of every statement, without its values."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, execute: Callable, sql: str, *rest: object) -> object:
        self.seen.append(sql.split(maxsplit=1)[0])
        return execute(sql, *rest)


@pytest.mark.drill
def test_no_statistical_difference_in_time_between_unknown_wrong_and_inactive() -> None:
    """Two hundred attempts of each kind in random order; by rank, none tends to be the slower.

    Should two kinds differ by less than half their own spread, this many would still show it.
    """
    names = {"wrong": "somebody", "inactive": "sleeper", "unknown": "nobody"}
    make.user(username="somebody")
    make.user(username="sleeper", is_active=False)
    spent: dict[str, list[float]] = {kind: [] for kind in names}
    attempts = [kind for kind in names for _ in range(200)]
    random.Random(4).shuffle(attempts)
    for kind in attempts:
        lockout.unlock(names[kind])
        begun = time.perf_counter()
        assert fail(names[kind], 1) == [401]
        spent[kind].append(time.perf_counter() - begun)
    scores = {
        f"{one}/{other}": rank_score(spent[one], spent[other])
        for one, other in itertools.combinations(names, 2)
    }
    medians = {kind: f"{1000 * statistics.median(times):.1f} ms" for kind, times in spent.items()}
    say(f"login: medians {medians}, rank scores {scores} (4 would be a difference)")
    assert max(map(abs, scores.values())) < 4


def rank_score(one: list[float], other: list[float]) -> float:
    """Mann and Whitney: how many standard deviations `one` is from being as slow as `other`."""
    slower = sum((a > b) - (a < b) for a in one for b in other) / 2
    count, others = len(one), len(other)
    return round(slower / math.sqrt(count * others * (count + others + 1) / 12), 2)


def say(result: str) -> None:
    """A drill's one line, also for the file of results if there is one."""
    sys.stdout.write(result + "\n")
    if os.environ.get("DRILL_RESULTS"):
        with Path(os.environ["DRILL_RESULTS"]).open("a") as results:
            results.write(result + "\n")

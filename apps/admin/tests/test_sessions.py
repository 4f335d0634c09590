"""Login, refresh, logout and password change over the API."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.admin import sessions, users
from apps.admin.errors import InvalidRefreshToken
from apps.admin.models import AuditEvent, RefreshFamily, RefreshToken, User
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
NOBODY = Client()


def log_in(username: str, password: str = make.PASSWORD) -> object:
    return make.post(NOBODY, "/admin-auth/login", username=username, password=password)


def test_login_gives_a_pair_that_opens_the_api() -> None:
    person = make.user("readonly")
    answer = log_in(person.username)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1800)
    me = make.bearer(body["access_token"]).get("/api/v1/admin-auth/me").json()
    assert me["username"] == person.username
    assert me["last_login_at"] is not None
    assert me["is_locked"] is False


def test_the_name_is_found_in_any_case_and_kept_as_it_was_made() -> None:
    person = make.user("admin", username="Grace.Hopper")
    body = log_in("grace.hopper").json()
    me = make.bearer(body["access_token"]).get("/api/v1/admin-auth/me").json()
    assert me["username"] == person.username == "Grace.Hopper"


def test_prior_art_35_unknown_wrong_and_inactive_are_one_answer() -> None:
    make.user("admin", username="somebody")
    make.user("admin", username="sleeper", is_active=False)
    answers = [
        log_in("nobody-here"),
        log_in("somebody", "wrong password"),
        log_in("sleeper"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["error"]["code"] == "INVALID_CREDENTIALS"


def test_refresh_gives_a_new_pair_and_kills_the_old_token() -> None:
    pair = make.login(make.user())
    first = make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.refresh_token)
    assert first.status_code == 200
    assert first.json()["refresh_token"] != pair.refresh_token
    again = make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.refresh_token)
    assert again.status_code == 401
    assert again.json()["error"]["code"] == "INVALID_REFRESH_TOKEN"


def test_reuse_of_a_dead_refresh_token_kills_its_family() -> None:
    pair = make.login(make.user())
    other = make.login(User.objects.get())
    second = make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.refresh_token).json()
    make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.refresh_token)
    dead = make.post(NOBODY, "/admin-auth/refresh", refresh_token=second["refresh_token"])
    assert dead.status_code == 401
    assert make.bearer(second["access_token"]).get("/api/v1/admin-auth/me").status_code == 401
    assert make.bearer(other.access_token).get("/api/v1/admin-auth/me").status_code == 200
    assert AuditEvent.objects.filter(action="session.reuse").count() == 1


def test_an_expired_refresh_token_is_refused_without_ending_other_sessions() -> None:
    person = make.user()
    pair = make.login(person)
    later = timezone.now() + dt.timedelta(hours=25)
    with pytest.raises(InvalidRefreshToken):
        sessions.refresh(pair.refresh_token, "127.0.0.1", later)
    assert not AuditEvent.objects.filter(action="session.reuse").exists()


def test_logout_ends_the_session_at_once() -> None:
    pair = make.login(make.user("readonly"))
    me = make.bearer(pair.access_token)
    assert make.post(me, "/admin-auth/logout", refresh_token=pair.refresh_token).status_code == 204
    assert me.get("/api/v1/admin-auth/me").status_code == 401
    gone = make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.refresh_token)
    assert gone.status_code == 401


def test_logout_cannot_end_somebody_elses_session() -> None:
    mine, theirs = make.login(make.user()), make.login(make.user())
    make.post(
        make.bearer(mine.access_token), "/admin-auth/logout", refresh_token=theirs.refresh_token
    )
    assert make.bearer(theirs.access_token).get("/api/v1/admin-auth/me").status_code == 200


def test_changing_the_password_ends_the_other_sessions_and_keeps_this_one() -> None:
    person = make.user()
    here, there = make.login(person), make.login(person)
    changed = make.post(
        make.bearer(here.access_token),
        "/admin-auth/change-password",
        current_password=make.PASSWORD,
        new_password="quite another phrase",
    )
    assert changed.status_code == 204
    assert make.bearer(here.access_token).get("/api/v1/admin-auth/me").status_code == 200
    assert make.bearer(there.access_token).get("/api/v1/admin-auth/me").status_code == 401
    refreshed = make.post(NOBODY, "/admin-auth/refresh", refresh_token=there.refresh_token)
    assert refreshed.status_code == 401
    assert log_in(person.username).status_code == 401
    assert log_in(person.username, "quite another phrase").status_code == 200


def test_changing_the_password_ends_console_sessions() -> None:
    person = make.user()
    before = person.get_session_auth_hash()
    pair = make.login(person)
    make.post(
        make.bearer(pair.access_token),
        "/admin-auth/change-password",
        current_password=make.PASSWORD,
        new_password="quite another phrase",
    )
    assert User.objects.get(pk=person.pk).get_session_auth_hash() != before


def test_a_wrong_current_password_changes_nothing_and_counts() -> None:
    person = make.user()
    me = make.bearer(make.login(person).access_token)
    refused = make.post(
        me, "/admin-auth/change-password", current_password="no", new_password="quite another"
    )
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "INVALID_CREDENTIALS"
    assert me.get("/api/v1/admin-auth/me").json()["failed_login_attempts"] == 1


def test_a_weak_new_password_is_refused_with_the_reasons() -> None:
    me = make.bearer(make.user_token())
    refused = make.post(
        me, "/admin-auth/change-password", current_password=make.PASSWORD, new_password="short"
    )
    assert refused.status_code == 400
    assert "new_password" in refused.json()["error"]["details"]


def test_deactivating_ends_every_session_at_once() -> None:
    person, admin = make.user("readonly"), make.user("admin")
    pair = make.login(person)
    users.edit(person.id, {"is_active": False}, None, timezone.now())
    assert make.bearer(pair.access_token).get("/api/v1/admin-auth/me").status_code == 401
    users.edit(person.id, {"is_active": True}, None, timezone.now())
    assert make.bearer(pair.access_token).get("/api/v1/admin-auth/me").status_code == 401
    assert admin.is_active


def test_ended_sessions_are_forgotten_and_live_ones_kept() -> None:
    person = make.user()
    make.login(person)
    RefreshFamily.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    make.login(person)
    sessions.forget_ended(timezone.now())
    assert RefreshFamily.objects.count() == RefreshToken.objects.count() == 1


def test_prior_art_35_a_refresh_token_opens_nothing_as_an_access_token() -> None:
    pair = make.login(make.user())
    for path in ("/admin-auth/me", "/files", "/admin-users", "/storage-elements"):
        assert make.bearer(pair.refresh_token).get(f"/api/v1{path}").status_code == 401
    swapped = make.post(NOBODY, "/admin-auth/refresh", refresh_token=pair.access_token)
    assert swapped.status_code == 401
    assert swapped.json()["error"]["code"] == "INVALID_REFRESH_TOKEN"


@pytest.mark.parametrize(
    "garbage",
    ["", " ", "\0", "\ud800", "null", "é" * 300, "rt_" + "x" * 900_000],
    ids=["empty", "space", "nul", "half a character", "word", "not ASCII", "900 kB"],
)
def test_any_text_that_is_no_refresh_token_is_refused_as_one(garbage: str) -> None:
    refused = make.post(NOBODY, "/admin-auth/refresh", refresh_token=garbage)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "INVALID_REFRESH_TOKEN"


@pytest.mark.parametrize("misshapen", [None, 7, True, ["rt_x"], {"rt_x": 1}], ids=repr)
def test_what_is_no_text_is_no_refresh_token_and_a_malformed_request(misshapen: Any) -> None:
    refused = make.post(NOBODY, "/admin-auth/refresh", refresh_token=misshapen)
    assert refused.status_code == 400
    assert "refresh_token" in refused.json()["error"]["details"]

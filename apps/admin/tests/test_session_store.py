"""Console sessions: what the table holds opens nothing, what the cookie holds opens the console."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from apps.admin.session_store import SessionStore
from apps.admin.tests import make

pytestmark = pytest.mark.django_db


def signed_in() -> tuple[Client, str]:
    """A browser, and what its cookie says."""
    browser, person = Client(), make.user()
    form = {"username": person.username, "password": make.PASSWORD}
    assert browser.post("/console/login", form).status_code == 302
    return browser, browser.cookies["sessionid"].value


def opens(cookie: str) -> bool:
    stranger = Client()
    stranger.cookies["sessionid"] = cookie
    return stranger.get("/console/account").status_code == 200


def test_a_stolen_table_of_sessions_opens_the_console_for_nobody() -> None:
    _, cookie = signed_in()
    row = Session.objects.get()
    assert opens(cookie)
    assert cookie not in (row.session_key, row.session_data)
    assert not opens(row.session_key)


def test_logging_out_removes_the_row_and_the_cookie_is_worth_nothing() -> None:
    browser, cookie = signed_in()
    browser.post("/console/logout")
    assert not opens(cookie)
    assert not Session.objects.exists()


def test_signing_in_gives_a_new_key_so_that_a_planted_one_is_worth_nothing() -> None:
    browser, person = Client(), make.user()
    planted = SessionStore()
    planted["theme"] = "dark"
    planted.save()
    browser.cookies["sessionid"] = planted.session_key
    browser.post("/console/login", {"username": person.username, "password": make.PASSWORD})
    assert browser.cookies["sessionid"].value != planted.session_key
    assert not opens(planted.session_key)


def test_a_store_behaves_as_djangos_does() -> None:
    store = SessionStore()
    store["a"] = 1
    store.save()
    again = SessionStore(store.session_key)
    assert again["a"] == 1
    again["a"] = 2
    again.save()
    assert SessionStore(store.session_key)["a"] == 2
    assert store.exists(store.session_key)
    again.delete()
    assert not store.exists(store.session_key)
    SessionStore().delete()
    unknown = SessionStore("x" * 32)
    assert unknown.get("a") is None
    assert unknown.session_key is None

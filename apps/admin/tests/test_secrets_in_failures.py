"""A crash at a door that was told a secret: the log gets its traceback, and the secret stays out.

The crash is a real one: a table the door needs is gone.
"""

import io
import logging
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client

from apps.admin.models import AuditEvent
from apps.admin.tests import make

pytestmark = pytest.mark.django_db

SECRET = "hunter2-hunter2-hunter2"


def api(path: str, **body: str) -> Callable[[Client], object]:
    def call(client: Client) -> object:
        return client.post(f"/api/v1{path}", body, content_type="application/json")

    return call


def page(path: str, **form: str) -> Callable[[Client], object]:
    def call(client: Client) -> object:
        return client.post(f"/console{path}", form)

    return call


# What is asked, and the table whose absence crashes it.
CRASHES = {
    "login": (api("/admin-auth/login", username="ada", password=SECRET), "loginthrottle"),
    "login as a page": (page("/login", username="ada", password=SECRET), "loginthrottle"),
    "token": (
        api("/auth/token", grant_type="client_credentials", client_id="x", client_secret=SECRET),
        "serviceaccount",
    ),
    "refresh": (api("/admin-auth/refresh", refresh_token=SECRET), "refreshtoken"),
    "logout": (api("/admin-auth/logout", refresh_token=SECRET), "refreshtoken"),
    "new user": (api("/admin-users", username="bob", password=SECRET, role="admin"), "auditevent"),
    "own password": (
        api("/admin-auth/change-password", current_password=SECRET, new_password=SECRET + "2"),
        "loginthrottle",
    ),
}


def remove_table(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"alter table artstore_admin_{name} rename to gone")


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_shows_the_secret_neither_in_the_log_nor_in_the_answer(
    crash: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    call, table = CRASHES[crash]
    client = Client(
        raise_request_exception=False,
        headers={"Authorization": f"Bearer {make.user_token()}"},
    )
    remove_table(table)
    with caplog.at_level(logging.DEBUG):
        response = call(client)
    printed = capfd.readouterr()
    assert response.status_code == 500
    assert "Traceback" in caplog.text
    shown = caplog.text + response.content.decode() + printed.out + printed.err
    assert SECRET not in shown


def test_a_command_that_crashes_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
    remove_table("auditevent")
    with pytest.raises(DatabaseError) as crashed:
        call_command("create_user", "bob", "--password-stdin")
    printed = capfd.readouterr()
    assert SECRET not in f"{crashed.getrepr()}" + printed.out + printed.err


def test_no_audit_row_holds_what_was_typed_or_made() -> None:
    admin, account = make.bearer(make.user_token()), make.account()
    api("/admin-users", username="bob", password=SECRET, role="readonly")(admin)
    api("/admin-users", username=SECRET, password=SECRET, role="nobody")(admin)
    api("/admin-auth/login", username=SECRET, password=SECRET)(Client())
    path = f"/service-accounts/{account.account.pk}/rotate-secret"
    rotated = api(path)(admin).json()["client_secret"]
    with connection.cursor() as cursor:
        cursor.execute("select to_jsonb(e)::text from artstore_admin_auditevent e")
        rows = "".join(row[0] for row in cursor.fetchall())
    assert AuditEvent.objects.filter(action="user.create").exists()
    for secret in (SECRET, rotated, account.client_secret, make.PASSWORD):
        assert secret not in rows

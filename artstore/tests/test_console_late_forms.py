"""Forms that arrive too late or are too large: what was typed comes back, and strangers' stays out."""

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client, override_settings

from apps.admin.models import User
from apps.admin.tests import make as people

pytestmark = pytest.mark.django_db

OWN = {"Origin": "http://testserver"}
FORM = "application/x-www-form-urlencoded"
TYPED = {
    "username": "Мария",
    "email": "m@example.net",
    "role": "admin",
    "password": "a long one 12",
}


def post(client: Client, address: str, fields: dict[str, str], **headers: str) -> HttpResponse:
    """As a browser sends a form without a file."""
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return client.post(address, body, content_type=FORM, headers=headers)


def hidden(response: HttpResponse) -> dict[str, str]:
    page = response.content.decode()
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


def test_what_was_typed_when_the_session_had_ended_comes_back_after_the_login(db: None) -> None:
    person = people.user("admin")
    client = Client()
    late = post(client, "/console/users/create", TYPED, **OWN)
    assert late.status_code == 403
    assert "Your session had ended, so nothing was changed." in late.content.decode()
    kept = hidden(late)
    assert kept["carried-username"] == "Мария"
    login = {"username": person.username, "password": "wrong"}
    address = "/console/login?next=%2Fconsole%2Fusers%2Fcreate"
    assert f'action="{address}"' in late.content.decode()
    refused = client.post(address, kept | login)
    assert hidden(refused)["carried-email"] == "m@example.net"
    offered = client.post(address, hidden(refused) | login | {"password": people.PASSWORD})
    again = hidden(offered)
    assert offered.status_code == 200
    assert (again["username"], again["role"]) == ("Мария", "admin")
    assert "Мария</dd>" in offered.content.decode()
    assert not User.objects.filter(username="Мария").exists()
    form = client.post("/console/users/create", again)
    assert form.status_code == 422
    assert 'value="m@example.net"' in form.content.decode()


def test_a_password_is_carried_nowhere(db: None) -> None:
    late = post(Client(), "/console/users/create", TYPED, **OWN)
    assert TYPED["password"] not in late.content.decode()
    assert "carried-password" not in hidden(late)


def test_a_form_whose_token_is_of_another_login_is_offered_to_be_sent_again(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.user("admin"))
    client.get("/console/users/create")
    old = {"username": "Maria", "csrfmiddlewaretoken": "x" * 64}
    offered = post(client, "/console/users/create", old, **OWN)
    assert offered.status_code == 403
    again = hidden(offered)
    assert again["username"] == "Maria"
    assert again["csrfmiddlewaretoken"] != old["csrfmiddlewaretoken"]
    assert post(client, "/console/users/create", again, **OWN).status_code == 422


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", ""])
def test_what_another_site_sent_is_offered_to_nobody(origin: str, db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.user("admin"))
    client.get("/console/users/create")
    old = {"username": "Eve", "csrfmiddlewaretoken": "x" * 64}
    answer = post(client, "/console/users/create", old, Origin=origin)
    assert answer.status_code == 403
    assert "Eve" not in answer.content.decode()
    assert "came from elsewhere" in answer.content.decode()
    # The page that checks its token itself, and later: it carries nothing of strangers either.
    nobody = post(Client(), "/console/upload", old, Origin=origin)
    assert nobody.status_code == 302


def test_logging_in_twice_from_two_tabs_loses_neither_the_way_nor_the_text(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.user("admin"))
    client.get("/console/users/create")
    stale = {"username": "x", "password": "y", "csrfmiddlewaretoken": "x" * 64}
    address = "/console/login?next=/console/users/create"
    assert post(client, address, stale, **OWN).headers["Location"] == address
    offered = post(client, address, stale | {"carried-email": "m@example.net"}, **OWN)
    assert hidden(offered)["email"] == "m@example.net"
    assert 'action="/console/users/create"' in offered.content.decode()


def test_a_file_sent_after_the_session_had_ended_leads_to_a_login_that_says_so(db: None) -> None:
    client = Client()
    answer = client.post("/console/upload", {"file": SimpleUploadedFile("a.txt", b"a")})
    assert answer.status_code == 302
    page = client.get(answer.headers["Location"]).content.decode()
    assert "so no file was stored" in page


def test_the_login_leads_past_itself_however_often_it_is_named(db: None) -> None:
    client = Client()
    client.force_login(people.user("admin"))
    nested = "/console/login?next=/console/login%3Fnext%3D/console/files"
    assert client.get(nested).headers["Location"] == "/console/files"
    assert client.get("/console/login?next=/console/login").headers["Location"] == "/console/"


def test_a_form_over_the_limit_says_the_limit_and_what_to_do(db: None) -> None:
    client = Client()
    client.force_login(people.user("admin"))
    answer = post(client, "/console/users/create", {"username": "x" * 1_100_000})
    assert answer.status_code == 413
    assert "more than 1.00\u00a0MiB. Shorten its texts" in answer.content.decode()


@override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=3)
def test_a_form_of_too_many_fields_says_how_many_it_may_have(db: None) -> None:
    client = Client()
    client.force_login(people.user("admin"))
    answer = post(client, "/console/users/create", {f"file_{number}": "x" for number in range(5)})
    assert answer.status_code == 413
    assert "more than 3 fields" in answer.content.decode()

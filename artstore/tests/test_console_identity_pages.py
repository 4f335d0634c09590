"""The pages of users, service accounts, keys and the audit log, as the server gives them."""

import csv
import io
import re

import pytest
from django.test import Client
from django.utils import timezone

from apps.admin import lockout, sessions
from apps.admin.errors import AccountLocked, InvalidCredentials
from apps.admin.models import AuditEvent, KeyState, ServiceAccount, SigningKey, User
from apps.admin.tests import make
from artstore.tests.test_console_pages import MOST_BYTES, MOST_QUERIES, cost

pytestmark = pytest.mark.django_db

NEW = {"username": "Мария", "email": "", "role": "readonly", "password": "a long phrase 12"}
ACCOUNT = {
    "name": "nightly",
    "description": "builds",
    "scopes": ["files:read", "files:write"],
    "secret_expiration_days": "30",
}
SCOPE_LOST = {"scopes": ["files:read"]}


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user("admin"))
    return client


def secret_in(page: str) -> str:
    found = re.search(r'id="client-secret"[^>]*>([^<]+)<', page)
    assert found
    return found[1]


def test_a_person_is_created_edited_and_removed(admin: Client) -> None:
    assert admin.post("/console/users/create", NEW).status_code == 302
    person = User.objects.get(username=NEW["username"])
    address = f"/console/users/{person.pk}"
    form = {"email": "m@example.net", "role": "admin", "is_active": "on"}
    assert admin.post(address, form).status_code == 302
    person.refresh_from_db()
    assert (person.email, person.role) == ("m@example.net", "admin")
    assert "user.edit" in admin.get(address).content.decode()
    assert admin.post(f"{address}/remove").status_code == 302
    assert not User.objects.filter(pk=person.pk).exists()


def test_a_refused_person_is_explained_at_the_field(admin: Client) -> None:
    response = admin.post("/console/users/create", NEW | {"username": "sa_x", "password": "12345"})
    assert response.status_code == 422
    assert "reserved for programs" in response.content.decode()


def test_the_last_administrator_stays_and_the_page_says_why(admin: Client) -> None:
    own = User.objects.get()
    response = admin.post(f"/console/users/{own.pk}", {"role": "readonly", "is_active": "on"})
    assert response.status_code == 422
    assert (
        "you cannot remove, deactivate or change the role of yourself" in response.content.decode()
    )


def test_a_locked_person_is_shown_as_locked_and_unlocked(admin: Client) -> None:
    person = make.user("readonly")
    for _attempt in range(5):
        with pytest.raises(InvalidCredentials):
            sessions.sign_in(sessions.SignIn(person.username, "wrong", "127.0.0.1"), timezone.now())
    with pytest.raises(AccountLocked):
        sessions.sign_in(sessions.SignIn(person.username, make.PASSWORD, "::1"), timezone.now())
    address = f"/console/users/{person.pk}"
    assert "Locked" in admin.get(address).content.decode()
    assert admin.post(f"{address}/unlock").status_code == 302
    now = timezone.now()
    assert not lockout.states([person.username], now)[person.username].is_locked


def test_a_password_set_by_an_administrator_ends_the_persons_sessions(admin: Client) -> None:
    person = make.user("readonly")
    theirs = Client()
    theirs.force_login(person)
    form = {"new_password": "quite another phrase"}
    assert admin.post(f"/console/users/{person.pk}/password", form).status_code == 302
    assert theirs.get("/console/account").status_code == 302


def test_a_secret_is_shown_once_and_is_nowhere_afterwards(admin: Client) -> None:
    response = admin.post("/console/service-accounts/create", ACCOUNT)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "private, no-store"
    secret = secret_in(response.content.decode())
    account = ServiceAccount.objects.get(name="nightly")
    for address in ("", f"/{account.pk}", f"/{account.pk}/rotate"):
        assert secret not in admin.get(f"/console/service-accounts{address}").content.decode()
    assert not AuditEvent.objects.filter(details__icontains=secret).exists()


def test_the_curl_line_shown_names_the_client_and_not_the_secret(admin: Client) -> None:
    text = admin.post("/console/service-accounts/create", ACCOUNT).content.decode()
    line = re.search(r'id="curl">([^<]+)<', text)
    assert line
    assert ServiceAccount.objects.get().client_id in line[1]
    assert secret_in(text) not in line[1]


def test_rotating_with_overlap_shows_the_new_secret_and_when_the_old_one_ends(
    admin: Client,
) -> None:
    account = make.account(name="rotated").account
    address = f"/console/service-accounts/{account.pk}"
    text = admin.post(f"{address}/rotate", {"overlap_seconds": "3600"}).content.decode()
    assert secret_in(text).startswith("asc_")
    account.refresh_from_db()
    assert account.previous_secret_expires_at is not None
    assert "The old secret ends" in admin.get(address).content.decode()


def opened_at(client: Client, address: str) -> str:
    return opened_in(client.get(address).content.decode())


def test_two_administrators_do_not_undo_each_others_word_unasked(admin: Client) -> None:
    person = make.user("readonly")
    account = make.account(name="shared", scopes=["files:read", "admin:write"]).account
    of_person = {"email": "", "role": "admin", "is_active": "on"}
    of_account = ACCOUNT | {"name": "shared"}
    pages = (
        (f"/console/users/{person.pk}", of_person, User, {"is_active": False}),
        (f"/console/service-accounts/{account.pk}", of_account, ServiceAccount, SCOPE_LOST),
    )
    for address, form, kind, meanwhile in pages:
        before = {"opened_at": opened_at(admin, address)}
        theirs = kind.objects.filter(pk__in=(person.pk, account.pk))
        theirs.update(updated_at=timezone.now(), **meanwhile)
        refused = admin.post(address, form | before)
        assert refused.status_code == 422
        text = refused.content.decode()
        assert "Somebody changed this after you opened the page" in text
        assert "May log in: no" in text or "Scopes: files:read." in text
        assert admin.post(address, form | {"opened_at": opened_in(text)}).status_code == 302
    person.refresh_from_db()
    account.refresh_from_db()
    assert (person.is_active, account.scopes) == (True, ACCOUNT["scopes"])


def opened_in(page: str) -> str:
    found = re.search(r'name="opened_at" value="([^"]+)"', page)
    assert found
    return found[1]


def test_a_form_that_rotates_makes_one_secret_however_often_it_is_sent(admin: Client) -> None:
    account = make.account(name="rotated").account
    address = f"/console/service-accounts/{account.pk}/rotate"
    form = {"overlap_seconds": "3600", "opened_at": opened_at(admin, address)}
    secret_in(admin.post(address, form).content.decode())
    account.refresh_from_db()
    made = account.secret_digest
    assert admin.post(address, form).status_code == 302
    account.refresh_from_db()
    assert account.secret_digest == made


def test_an_account_is_edited_suspended_let_act_again_and_removed(admin: Client) -> None:
    account = make.account(name="programs").account
    address = f"/console/service-accounts/{account.pk}"
    form = {"name": "programs", "scopes": ["files:read"], "description": "x"}
    assert admin.post(address, form).status_code == 302
    account.refresh_from_db()
    assert account.scopes == ["files:read"]
    for status in ("suspended", "active"):
        admin.post(f"{address}/suspend", {"status": status})
        account.refresh_from_db()
        assert account.status == status
    assert admin.post(f"{address}/remove").status_code == 302
    assert not ServiceAccount.objects.exists()


def test_a_taken_name_and_no_scope_are_told(admin: Client) -> None:
    make.account(name="nightly")
    taken = admin.post("/console/service-accounts/create", ACCOUNT)
    assert taken.status_code == 422
    assert "exists" in taken.content.decode()
    no_scope = admin.post("/console/service-accounts/create", ACCOUNT | {"scopes": []})
    assert no_scope.status_code == 422


def test_the_key_is_rotated_and_the_retiring_one_counts_down(admin: Client) -> None:
    make.signing_keys()
    before = SigningKey.objects.get(state=KeyState.ACTIVE).kid
    assert admin.post("/console/keys/rotate", {}).status_code == 302
    assert SigningKey.objects.get(kid=before).state == KeyState.RETIRING
    text = admin.get("/console/keys").content.decode()
    assert "data-relative" in text
    assert "Retiring" in text


def test_the_audit_log_is_filtered_and_exported_as_it_is_shown(admin: Client) -> None:
    admin.post("/console/users/create", NEW)
    admin.post("/console/service-accounts/create", ACCOUNT | {"description": "=1+1"})
    shown = admin.get("/console/audit?action=user.").content.decode()
    assert "user.create" in shown
    assert "service_account.create" not in shown
    export = admin.get("/console/audit/export?action=user.create&target=Мария")
    rows = list(csv.reader(io.StringIO(b"".join(export.streaming_content).decode())))
    assert rows[0][0] == "at"
    assert [row[3:5] for row in rows[1:]] == [["user.create", "Мария"]]


@pytest.mark.parametrize("asked", ["after=yesterday", "before=9999-12-31"])
def test_an_audit_question_that_is_not_understood_is_not_answered_with_everything(
    admin: Client, asked: str
) -> None:
    admin.post("/console/users/create", NEW)
    for address in ("/console/audit", "/console/audit/export"):
        answer = admin.get(f"{address}?{asked}")
        assert "text/html" in answer.headers["Content-Type"]
        text = answer.content.decode()
        assert "invalid-feedback" in text
        assert "user.create" not in text


def test_a_cell_no_spreadsheet_runs(admin: Client) -> None:
    AuditEvent.objects.create(
        at=timezone.now(), actor="=cmd()", actor_kind="user", action="user.edit", target="@x"
    )
    export = admin.get("/console/audit/export")
    rows = list(csv.reader(io.StringIO(b"".join(export.streaming_content).decode())))
    assert ["'=cmd()", "'@x"] in [[row[1], row[4]] for row in rows]


def test_the_pages_cost_few_queries_and_few_bytes(admin: Client) -> None:
    make.signing_keys()
    now = timezone.now()
    for number in range(60):
        User.objects.create(
            username=f"{'ж' * 40}{number}", role="readonly", created_at=now, updated_at=now
        )
        AuditEvent.objects.create(
            at=now,
            actor="ж" * 100,
            actor_kind="user",
            action="x" * 60,
            target="ж" * 300,
            details={f"name {line}": "ж" * 400 for line in range(2)},
        )
    program = make.account(name="one").account
    person = User.objects.order_by("-username")[0]
    for address in (
        "users",
        f"users/{person.pk}",
        "service-accounts",
        f"service-accounts/{program.pk}",
        "keys",
        "audit",
    ):
        queries, size_bytes = cost(admin, f"/console/{address}")
        assert queries <= MOST_QUERIES, address
        assert size_bytes < MOST_BYTES, address

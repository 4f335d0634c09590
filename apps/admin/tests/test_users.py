"""Users over the API: what is created, shown, changed and refused."""

import threading
import uuid
from collections.abc import Callable

import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from apps.admin import users
from apps.admin.models import AuditEvent, User
from apps.admin.tests import make
from artstore.errors import Conflict

pytestmark = pytest.mark.django_db
FIELDS = {
    "id",
    "username",
    "email",
    "role",
    "is_active",
    "is_locked",
    "locked_until",
    "failed_login_attempts",
    "last_login_at",
    "created_at",
    "updated_at",
}


@pytest.fixture
def admin() -> Client:
    return make.bearer(make.login(make.user("admin", username="root-admin")).access_token)


def create(admin: Client, **changes: object) -> object:
    body = {"username": "bob", "password": make.PASSWORD, "role": "readonly"} | changes
    return make.post(admin, "/admin-users", **body)


def test_a_created_user_is_shown_with_every_field_and_no_password(admin: Client) -> None:
    made = create(admin, email="bob@example.org")
    assert made.status_code == 201
    assert set(made.json()) == FIELDS
    got = admin.get(f"/api/v1/admin-users/{made.json()['id']}")
    assert got.json() == made.json()
    assert got.json()["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": "ab"}, "username"),
        ({"username": "x" * 51}, "username"),
        ({"username": "with space"}, "username"),
        ({"username": "sa_bob"}, "username"),
        ({"username": "SA_bob"}, "username"),
        ({"username": "artstore"}, "username"),
        ({"username": "new\nline"}, "username"),
        ({"username": "nul\x00"}, "username"),
        ({"username": "\ud800abc"}, "username"),
        ({"username": None}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "password1"}, "password"),
        ({"password": "12345678901"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"role": "root"}, "role"),
        ({"email": "not an address"}, "email"),
        ({"is_active": True}, "is_active"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(
    admin: Client, change: dict, field: str
) -> None:
    refused = create(admin, **change)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "VALIDATION_ERROR"
    assert field in refused.json()["error"]["details"]


def test_a_name_is_taken_in_any_case(admin: Client) -> None:
    assert create(admin).status_code == 201
    for name in ("bob", "BOB", "Ｂob"):
        refused = create(admin, username=name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")


def test_names_of_any_script_are_welcome(admin: Client) -> None:
    assert create(admin, username="Мария").json()["username"] == "Мария"


def test_a_password_is_never_stored_in_clear_and_is_argon2(admin: Client) -> None:
    create(admin)
    stored = User.objects.get(username="bob").password
    assert stored.startswith("argon2$argon2id$")
    assert make.PASSWORD not in stored


def test_the_list_pages_without_repeating_or_skipping(admin: Client) -> None:
    for number in range(5):
        make.user("readonly", username=f"reader-{number}")
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = admin.get("/api/v1/admin-users", query).json()
        assert page["total"] == 6
        seen += [item["username"] for item in page["items"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "offset=-1", "offset=x", "cursor=zz"])
def test_a_page_out_of_range_is_refused(admin: Client, query: str) -> None:
    assert admin.get(f"/api/v1/admin-users?{query}").status_code == 400


def test_role_email_and_activity_can_be_changed(admin: Client) -> None:
    person = make.user("readonly")
    path = f"/admin-users/{person.id}"
    changed = make.patch(admin, path, role="admin", email="new@example.org", is_active=False)
    assert changed.status_code == 200
    body = changed.json()
    assert (body["role"], body["email"], body["is_active"]) == ("admin", "new@example.org", False)
    assert body["updated_at"] > body["created_at"]
    assert make.patch(admin, path, email=None).json()["email"] is None


def test_the_username_never_changes(admin: Client) -> None:
    person = make.user("readonly")
    refused = make.patch(admin, f"/admin-users/{person.id}", username="other")
    assert refused.status_code == 400


def test_prior_art_37_a_changed_role_counts_at_the_next_request(admin: Client) -> None:
    """37: the role was frozen in the cookie."""
    person = make.user("admin")
    theirs = make.bearer(make.login(person).access_token)
    assert make.post(theirs, "/jwt-keys/rotate").status_code == 200
    make.patch(admin, f"/admin-users/{person.id}", role="readonly")
    assert make.post(theirs, "/jwt-keys/rotate").status_code == 403
    assert theirs.get("/api/v1/jwt-keys/status").status_code == 200


def test_one_cannot_remove_deactivate_or_demote_oneself(admin: Client) -> None:
    make.user("admin")
    me = User.objects.get(username="root-admin")
    path = f"/admin-users/{me.id}"
    assert admin.delete(f"/api/v1{path}").status_code == 409
    assert make.patch(admin, path, is_active=False).status_code == 409
    assert make.patch(admin, path, role="readonly").status_code == 409
    assert make.patch(admin, path, email="me@example.org").status_code == 200


def test_the_last_active_admin_stays_whoever_asks() -> None:
    last = make.user("admin")
    make.user("admin", is_active=False)
    program = make.bearer(make.service_token(["admin:write"]))
    path = f"/admin-users/{last.id}"
    for refused in (
        program.delete(f"/api/v1{path}"),
        make.patch(program, path, role="readonly"),
        make.patch(program, path, is_active=False),
    ):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    last.refresh_from_db()
    assert (last.is_active, last.role) == (True, "admin")


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_at_once_leave_one() -> None:
    pair = [make.user("admin"), make.user("admin")]
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def demote(target: User) -> None:
        barrier.wait()
        try:
            users.edit(target.id, {"role": "readonly"}, None, timezone.now())
            outcomes.append("done")
        except Conflict:
            outcomes.append("refused")
        connections.close_all()

    threads = [threading.Thread(target=demote, args=(target,)) for target in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "refused"]
    assert User.objects.filter(role="admin").count() == 1


def test_a_removed_user_is_gone_at_once_and_a_namesake_is_somebody_else(admin: Client) -> None:
    person = make.user("readonly", username="bob")
    theirs = make.bearer(make.login(person).access_token)
    assert admin.delete(f"/api/v1/admin-users/{person.id}").status_code == 204
    assert theirs.get("/api/v1/admin-auth/me").status_code == 401
    assert admin.get(f"/api/v1/admin-users/{person.id}").status_code == 404
    create(admin)
    assert theirs.get("/api/v1/admin-auth/me").status_code == 401


def test_a_reset_password_works_and_ends_the_users_sessions(admin: Client) -> None:
    person = make.user("readonly")
    theirs = make.bearer(make.login(person).access_token)
    path = f"/admin-users/{person.id}/reset-password"
    assert make.post(admin, path, new_password="short").status_code == 400
    assert theirs.get("/api/v1/admin-auth/me").status_code == 200
    assert make.post(admin, path, new_password="a new long phrase").status_code == 204
    assert theirs.get("/api/v1/admin-auth/me").status_code == 401
    assert make.login(person, "a new long phrase")


@pytest.mark.parametrize("call", ["", "/reset-password", "/unlock"])
def test_somebody_who_does_not_exist_is_404(admin: Client, call: str) -> None:
    path = f"/admin-users/{uuid.uuid4()}{call}"
    if call:
        answer = make.post(admin, path, **({"new_password": "x" * 20} if "reset" in call else {}))
        assert answer.status_code == 404
    else:
        assert admin.get(f"/api/v1{path}").status_code == 404
        assert admin.delete(f"/api/v1{path}").status_code == 404
        assert make.patch(admin, path, email=None).status_code == 404


def test_every_act_is_in_the_audit_log(admin: Client) -> None:
    made = create(admin).json()
    path = f"/admin-users/{made['id']}"
    make.patch(admin, path, role="admin")
    make.post(admin, f"{path}/reset-password", new_password="a new long phrase")
    admin.delete(f"/api/v1{path}")
    events = list(
        AuditEvent.objects.filter(actor="root-admin", target="bob")
        .order_by("sequence")
        .values_list("action", "details")
    )
    assert events == [
        ("user.create", {"role": "readonly"}),
        ("user.edit", {"role": "admin"}),
        ("user.reset_password", {}),
        ("user.delete", {"role": "admin"}),
    ]


def test_an_edit_that_changes_nothing_writes_nothing(admin: Client) -> None:
    person = make.user("readonly")
    make.patch(admin, f"/admin-users/{person.id}", role="readonly")
    assert not AuditEvent.objects.filter(action="user.edit").exists()


def test_prior_art_35_the_first_admin_is_made_once_with_a_generated_password() -> None:
    password = users.ensure_first_admin("admin", None, timezone.now())
    assert make.login(User.objects.get(username="admin"), str(password))
    assert users.ensure_first_admin("admin", None, timezone.now()) is None
    assert User.objects.count() == 1


def test_the_first_admins_password_may_come_from_settings() -> None:
    assert users.ensure_first_admin("admin", "from the settings", timezone.now()) is None
    assert make.login(User.objects.get(username="admin"), "from the settings")


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_make_one_first_admin() -> None:
    barrier = threading.Barrier(4)
    made: list[str | None] = []

    def start() -> None:
        barrier.wait()
        made.append(users.ensure_first_admin("admin", None, timezone.now()))
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert User.objects.count() == 1
    assert len([password for password in made if password]) == 1


@pytest.mark.parametrize("name", ["аdmin", "bοb", "Маriа"])
def test_a_name_of_two_look_alike_alphabets_is_refused(admin: Client, name: str) -> None:
    """Nobody is created to be mistaken for somebody in the audit log or as an uploader."""
    refused = make.post(
        admin, "/admin-users", username=name, password=make.PASSWORD, role="readonly"
    )
    assert refused.status_code == 400
    assert "one alphabet" in refused.json()["error"]["details"]["username"][0]


@pytest.mark.parametrize("name", ["Мария", "Мария-2", "Μαρία", "張偉明", "x.y@z"])
def test_a_name_of_one_alphabet_is_taken_whatever_that_is(admin: Client, name: str) -> None:
    made = make.post(admin, "/admin-users", username=name, password=make.PASSWORD, role="readonly")
    assert made.status_code == 201


def test_a_taken_name_is_refused_before_a_statement_holds_the_hash(admin: Client) -> None:
    """PostgreSQL logs statements that fail, with their values."""
    make.user(username="bob")
    statements: list[str] = []

    def note(execute: Callable, sql: str, params: object, *rest: object) -> object:
        statements.append(f"{sql} {params}")
        return execute(sql, params, *rest)

    with connection.execute_wrapper(note):
        body = {"username": "bob", "password": make.PASSWORD, "role": "readonly"}
        assert make.post(admin, "/admin-users", **body).status_code == 409
    assert not [text for text in statements if "argon2" in text]

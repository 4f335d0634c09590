"""Service accounts over the API."""

import uuid

import pytest
from django.test import Client

from apps.admin.models import AuditEvent, ServiceAccount
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
FIELDS = {
    "id",
    "client_id",
    "name",
    "description",
    "scopes",
    "status",
    "element_tokens",
    "secret_expires_at",
    "last_used_at",
    "created_at",
    "updated_at",
}


@pytest.fixture
def admin() -> Client:
    return make.bearer(make.user_token())


def create(admin: Client, **changes: object) -> object:
    body = {"name": "ci-bot", "scopes": ["files:read"]} | changes
    return make.post(admin, "/service-accounts", **body)


def token_of(credentials: dict) -> str:
    answer = make.post(
        Client(),
        "/auth/token",
        grant_type="client_credentials",
        client_id=credentials["client_id"],
        client_secret=credentials["client_secret"],
    )
    assert answer.status_code == 200, answer.content
    return str(answer.json()["access_token"])


def test_a_created_account_shows_its_secret_this_once(admin: Client) -> None:
    made = create(admin)
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    body = made.json()
    assert set(body) == FIELDS | {"client_secret"}
    assert body["client_id"].startswith("sa_ci-bot_")
    assert len(body["client_secret"]) >= 43
    got = admin.get(f"/api/v1/service-accounts/{body['id']}").json()
    assert set(got) == FIELDS
    assert body["client_secret"] not in ServiceAccount.objects.values_list().get()


def test_a_secret_lives_ninety_days_or_as_asked_or_for_ever(admin: Client) -> None:
    usual = create(admin, name="usual").json()
    never = create(admin, name="never", secret_expiration_days=0).json()
    assert usual["secret_expires_at"] is not None
    assert never["secret_expires_at"] is None


def test_a_name_that_is_unsafe_in_a_header_still_makes_a_plain_client_id(admin: Client) -> None:
    for name in ("build: host/7", "Сборка", "a\u202eb"):
        made = create(admin, name=name)
        if made.status_code == 201:
            assert made.json()["client_id"].isascii()
            assert ":" not in made.json()["client_id"]
            assert token_of(made.json())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x"}, "name"),
        ({"name": "x" * 51}, "name"),
        ({"name": "tab\there"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["files:destroy"]}, "scopes"),
        ({"scopes": "files:read"}, "scopes"),
        ({"description": "x" * 501}, "description"),
        ({"secret_expiration_days": -1}, "secret_expiration_days"),
        ({"secret_expiration_days": 3651}, "secret_expiration_days"),
        ({"client_secret": "mine"}, "client_secret"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(
    admin: Client, change: dict, field: str
) -> None:
    refused = create(admin, **change)
    assert refused.status_code == 400
    assert any(name.startswith(field) for name in refused.json()["error"]["details"])


def test_a_name_is_taken_once(admin: Client) -> None:
    create(admin)
    assert create(admin).status_code == 409
    other = create(admin, name="other").json()
    assert make.patch(admin, f"/service-accounts/{other['id']}", name="ci-bot").status_code == 409


def test_the_list_can_be_narrowed_to_a_status(admin: Client) -> None:
    first, second = create(admin).json(), create(admin, name="second").json()
    make.patch(admin, f"/service-accounts/{second['id']}", status="suspended")

    def named(query: str) -> list[str]:
        page = admin.get(f"/api/v1/service-accounts{query}").json()
        assert page["total"] == len(page["items"])
        return [item["client_id"] for item in page["items"]]

    assert named("") == [first["client_id"], second["client_id"]]
    assert named("?status=suspended") == [second["client_id"]]
    assert admin.get("/api/v1/service-accounts?status=odd").status_code == 400


def test_suspension_stops_tokens_at_once_and_resuming_brings_them_back(admin: Client) -> None:
    made = create(admin, scopes=["admin:read"]).json()
    program = make.bearer(token_of(made))
    path = f"/service-accounts/{made['id']}"
    assert program.get("/api/v1/admin-users").status_code == 200
    make.patch(admin, path, status="suspended")
    assert program.get("/api/v1/admin-users").status_code == 401
    make.patch(admin, path, status="active")
    assert program.get("/api/v1/admin-users").status_code == 200


def test_scopes_taken_away_stop_counting_in_tokens_already_issued(admin: Client) -> None:
    made = create(admin, scopes=["admin:read", "files:read"]).json()
    program = make.bearer(token_of(made))
    make.patch(admin, f"/service-accounts/{made['id']}", scopes=["files:read"])
    assert program.get("/api/v1/admin-users").status_code == 403
    assert program.get("/api/v1/files").status_code == 200


def test_scopes_added_later_need_a_new_token(admin: Client) -> None:
    made = create(admin, scopes=["files:read"]).json()
    program = make.bearer(token_of(made))
    make.patch(admin, f"/service-accounts/{made['id']}", scopes=["admin:read", "files:read"])
    assert program.get("/api/v1/admin-users").status_code == 403
    assert make.bearer(token_of(made)).get("/api/v1/admin-users").status_code == 200


def test_a_deleted_accounts_tokens_stop_at_once(admin: Client) -> None:
    made = create(admin).json()
    program = make.bearer(token_of(made))
    assert admin.delete(f"/api/v1/service-accounts/{made['id']}").status_code == 204
    assert program.get("/api/v1/files").status_code == 401


def test_rotation_answers_the_new_secret_and_refuses_a_long_overlap(admin: Client) -> None:
    made = create(admin).json()
    path = f"/service-accounts/{made['id']}/rotate-secret"
    rotated = make.post(admin, path, overlap_seconds=60)
    assert set(rotated.json()) == {"client_id", "client_secret", "secret_expires_at"}
    assert token_of(rotated.json())
    assert token_of(made)
    assert make.post(admin, path, overlap_seconds=86_401).status_code == 400
    assert make.post(admin, path).status_code == 200


@pytest.mark.parametrize("call", ["", "/rotate-secret"])
def test_an_account_that_does_not_exist_is_404(admin: Client, call: str) -> None:
    path = f"/service-accounts/{uuid.uuid4()}{call}"
    if call:
        assert make.post(admin, path).status_code == 404
    else:
        assert admin.get(f"/api/v1{path}").status_code == 404
        assert admin.delete(f"/api/v1{path}").status_code == 404
        assert make.patch(admin, path, description="x").status_code == 404


def test_every_act_is_in_the_audit_log_and_no_secret_is(admin: Client) -> None:
    made = create(admin).json()
    path = f"/service-accounts/{made['id']}"
    make.patch(admin, path, status="suspended")
    rotated = make.post(admin, f"{path}/rotate-secret").json()
    admin.delete(f"/api/v1{path}")
    events = AuditEvent.objects.filter(target=made["client_id"]).order_by("sequence")
    assert [event.action for event in events] == [
        "service_account.create",
        "service_account.edit",
        "service_account.rotate_secret",
        "service_account.delete",
    ]
    written = repr(list(AuditEvent.objects.values()))
    assert made["client_secret"] not in written
    assert rotated["client_secret"] not in written

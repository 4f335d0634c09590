"""Who may: the policy, its defaults, and what happens to refusals."""

import uuid

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin import permissions
from apps.admin.authentication import principal_of
from apps.admin.models import AuditEvent, User
from apps.admin.permissions import Act
from apps.admin.principals import Principal
from apps.admin.tests import make
from artstore import urls as system_urls

pytestmark = pytest.mark.django_db


class Forgotten(APIView):
    """A door whose author named no act."""

    def get(self, request: Request) -> Response:
        return Response("in")


class Rolled(APIView):
    """A door whose verb refuses in the middle of its transaction."""

    permission_classes = (permissions.allow(POST=Act.FILES_READ),)

    def post(self, request: Request) -> Response:
        with transaction.atomic():
            User.objects.update(email="rolled@back.example")
            permissions.require(principal_of(request), Act.ELEMENTS_ADMIN)
        return Response("in")


class Partial(APIView):
    """A door that serves a method it names no act for."""

    permission_classes = (permissions.allow(GET=Act.FILES_READ),)

    def get(self, request: Request) -> Response:
        return Response("in")

    def delete(self, request: Request) -> Response:
        return Response("in")


@permissions.page(Act.FILES_READ, POST=Act.FILES_WRITE)
def a_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(principal_of(request).subject)


urlpatterns = [
    *system_urls.urlpatterns,
    path("api/v1/forgotten", Forgotten.as_view()),
    path("api/v1/rolled", Rolled.as_view()),
    path("api/v1/partial", Partial.as_view()),
    path("page", a_page),
]


def program(*scopes: str) -> Principal:
    return Principal("service_account", "sa_x", uuid.uuid4(), scopes=frozenset(scopes))


def person(role: str) -> Principal:
    return Principal("user", "ada", uuid.uuid4(), role=role)


def test_every_act_has_a_rule() -> None:
    assert set(permissions.ALLOWED) == set(Act)


def test_an_admin_may_everything_and_a_reader_never_writes() -> None:
    assert all(permissions.may(person("admin"), act) for act in Act)
    writing = {act for act in Act if act.name.endswith(("WRITE", "REGISTER", "ADMIN", "OPERATE"))}
    writing |= {Act.KEYS_ROTATE}
    for act in Act:
        assert permissions.may(person("readonly"), act) == (act not in writing)


def test_registering_a_file_needs_both_scopes_at_once() -> None:
    assert not permissions.may(program("files:write"), Act.FILES_REGISTER)
    assert not permissions.may(program("storage:write"), Act.FILES_REGISTER)
    assert permissions.may(program("files:write", "storage:write"), Act.FILES_REGISTER)


def test_admin_write_never_suffices_for_storage_or_files() -> None:
    powerful = program("admin:write", "admin:read")
    for act in (Act.FILES_READ, Act.FILES_WRITE, Act.ELEMENTS_READ, Act.ELEMENTS_ADMIN):
        assert not permissions.may(powerful, act)
    assert permissions.may(powerful, Act.IDENTITY_WRITE)


def test_writing_does_not_include_reading() -> None:
    assert not permissions.may(program("files:write"), Act.FILES_READ)
    assert not permissions.may(program("admin:write"), Act.IDENTITY_READ)


def test_where_a_file_is_shows_only_to_whom_it_concerns() -> None:
    for scopes, sees in (
        (("files:read",), False),
        (("files:write", "storage:write"), False),
        (("storage:read",), True),
        (("admin:read",), True),
    ):
        assert permissions.may(program(*scopes), Act.SEE_ELEMENT_ID) == sees
    assert not permissions.may(program("storage:read", "admin:read"), Act.SEE_ELEMENT_URL)
    assert permissions.may(person("readonly"), Act.SEE_ELEMENT_URL)


def test_a_role_nobody_knows_may_nothing() -> None:
    assert not any(permissions.may(person("root"), act) for act in Act)


@pytest.mark.urls(__name__)
def test_a_door_that_names_no_act_is_open_to_nobody() -> None:
    assert Client().get("/api/v1/forgotten").status_code == 401
    assert make.bearer(make.user_token()).get("/api/v1/forgotten").status_code == 403


@pytest.mark.urls(__name__)
def test_a_method_without_an_act_is_refused_even_where_the_view_serves_it() -> None:
    admin = make.bearer(make.user_token())
    assert admin.get("/api/v1/partial").status_code == 200
    assert admin.head("/api/v1/partial").status_code == 200
    assert admin.delete("/api/v1/partial").status_code == 403
    assert admin.put("/api/v1/partial").status_code == 405
    assert admin.options("/api/v1/partial").status_code == 405


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_written_after_the_rollback() -> None:
    reader = make.bearer(make.user_token("readonly"))
    assert make.post(reader, "/rolled").status_code == 403
    assert not User.objects.filter(email="rolled@back.example").exists()
    event = AuditEvent.objects.get(action="access.refused")
    assert event.target == "POST /api/v1/rolled"
    assert event.actor == User.objects.get().username


def test_a_refusal_names_no_query_string() -> None:
    program_client = make.bearer(make.service_token(["files:read"]))
    program_client.get("/api/v1/admin-users?password=hunter2")
    assert AuditEvent.objects.get(action="access.refused").target == "GET /api/v1/admin-users"


def test_nobody_is_refused_without_a_word_in_the_audit_log() -> None:
    before = AuditEvent.objects.count()
    assert Client().get("/api/v1/admin-users").status_code == 401
    assert AuditEvent.objects.count() == before


def browser(role: str) -> Client:
    client = Client()
    client.force_login(make.user(role), backend="apps.admin.authentication.SessionBackend")
    return client


@pytest.mark.urls(__name__)
def test_prior_art_37_a_page_checks_the_role_on_the_server() -> None:
    """37: the role was checked by hiding buttons, and frozen in the cookie."""
    client = browser("admin")
    assert client.post("/page").status_code == 200
    User.objects.update(role="readonly")
    assert client.get("/page").status_code == 200
    assert client.post("/page").status_code == 403
    assert AuditEvent.objects.get(action="access.refused").target == "POST /page"
    User.objects.update(is_active=False)
    assert client.get("/page").status_code == 302


@pytest.mark.urls(__name__)
def test_somebody_without_a_session_is_sent_to_the_login_and_back() -> None:
    response = Client().get("/page?tab=2")
    assert response.headers["Location"] == "/console/login?next=/page%3Ftab%3D2"
    fragment = Client().get(
        "/page", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/page"}
    )
    assert fragment.headers["HX-Redirect"].startswith("/console/login?next=/page")


@pytest.mark.urls(__name__)
def test_a_bearer_token_opens_no_page() -> None:
    assert make.bearer(make.user_token()).get("/page").status_code == 302


def test_a_session_opens_no_api_door() -> None:
    assert browser("admin").get("/api/v1/admin-users").status_code == 401


def test_prior_art_37_a_page_form_without_its_csrf_token_is_refused() -> None:
    """37: no CSRF."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(make.user("admin"), backend="apps.admin.authentication.SessionBackend")
    assert client.post("/console/logout").status_code == 403


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "bearer ", "Bearer \xff", "Bearer ."])
def test_a_malformed_header_is_401_with_the_envelope(header: str) -> None:
    answer = Client(headers={"Authorization": header}).get("/api/v1/admin-users")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == "UNAUTHORIZED"


def test_the_principal_of_a_page_and_of_a_token_is_the_same_person() -> None:
    user = make.user("readonly")
    request = RequestFactory().get("/")
    request.user = user
    assert principal_of(request).subject == user.username
    assert principal_of(request).role == "readonly"

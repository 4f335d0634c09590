"""The REST doors of elements, sync runs and files: codes, shapes, who sees what."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.admin.models import AuditEvent
from apps.registry import tasks
from apps.registry.models import FileRecord, StorageElement, SyncRun
from apps.registry.tests import make

pytestmark = pytest.mark.django_db


class Api:
    """JSON over the test client with one token."""

    def __init__(self, token: str) -> None:
        self._client = Client()
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        response = self._client.generic(
            method,
            f"/api/v1{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers=self._headers,
        )
        assert response.status_code < 500 or response.status_code == 502, response.content
        return response


@pytest.fixture
def admin(admin_token: str) -> Api:
    return Api(admin_token)


@pytest.fixture
def program(service_token: Callable[..., str]) -> Api:
    """Reads and writes files, and sees no elements."""
    return Api(service_token("files:read", "files:write"))


@pytest.fixture
def operator(service_token: Callable[..., str]) -> Api:
    return Api(service_token("storage:read", "storage:write", "files:read", "files:write"))


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- files ---


def test_a_file_has_the_fields_of_the_contract(program: Api) -> None:
    row = make.record(make.element(), description="d", tags=("t",), metadata={"a": 1})
    shown = program("GET", f"/files/{row.pk}").json()
    assert shown == {
        "file_id": str(row.pk),
        "original_filename": row.original_filename,
        "content_type": "application/pdf",
        "size": row.size,
        "checksum": row.checksum,
        "uploaded_by": "someone",
        "uploaded_at": shown["uploaded_at"],
        "updated_at": shown["updated_at"],
        "description": "d",
        "tags": ["t"],
        "metadata": {"a": 1},
        "status": "active",
        "retention_policy": "permanent",
        "ttl_days": None,
        "expires_at": None,
    }
    assert shown["uploaded_at"].endswith("Z")


def test_the_element_of_a_file_shows_only_to_those_who_may_see_elements(
    program: Api, operator: Api, admin: Api, service_token: Callable[..., str]
) -> None:
    element = make.element()
    row = make.record(element)
    inspector = Api(service_token("files:read", "admin:read"))
    for sees in (operator, admin, inspector):
        assert sees("GET", f"/files/{row.pk}").json()["storage_element_id"] == str(element.pk)
        assert sees("GET", f"/files?storage_element_id={element.pk}").json()["total"] == 1
    assert "storage_element_id" not in program("GET", f"/files/{row.pk}").json()
    assert "storage_element_id" not in program("GET", "/files").json()["items"][0]
    assert code(program("GET", f"/files?storage_element_id={element.pk}")) == (403, "FORBIDDEN")


def test_uploading_rows_appear_nowhere(program: Api) -> None:
    row = make.record(make.element())
    FileRecord.objects.update(status="uploading")
    assert code(program("GET", f"/files/{row.pk}")) == (404, "NOT_FOUND")
    assert program("GET", "/files").json()["items"] == []
    assert code(program("GET", "/files?status=uploading")) == (400, "VALIDATION_ERROR")


def test_deleted_files_are_shown_with_their_status(program: Api) -> None:
    row = make.record(make.element(), status="deleted")
    assert program("GET", f"/files/{row.pk}").json()["status"] == "deleted"
    assert code(program("PATCH", f"/files/{row.pk}", {"tags": []})) == (404, "NOT_FOUND")
    assert code(program("DELETE", f"/files/{row.pk}")) == (404, "NOT_FOUND")


def test_filters_choose_and_bad_ones_are_errors(program: Api) -> None:
    element = make.element()
    make.record(element, uploaded_by="one", retention_policy="temporary")
    make.record(element, uploaded_by="two", status="expired")
    for query, total in (
        ("status=expired", 1),
        ("retention_policy=temporary", 1),
        ("uploaded_by=two", 1),
        ("uploaded_by=two&status=active", 0),
        ("", 2),
    ):
        assert program("GET", f"/files?{query}").json()["total"] == total
    for query in ("status=gone", "retention_policy=x", "colour=red", "uploaded_by=%00", "limit=0"):
        assert code(program("GET", f"/files?{query}")) == (400, "VALIDATION_ERROR")


def test_pages_neither_repeat_nor_skip(program: Api) -> None:
    element = make.element()
    ids = {str(make.record(element).pk) for _ in range(7)}
    found: list[str] = []
    path = "/files?limit=3"
    while True:
        page = program("GET", path).json()
        found += [item["file_id"] for item in page["items"]]
        assert page["total"] == 7
        if not page["has_more"]:
            break
        path = f"/files?limit=3&cursor={page['next_cursor']}"
    assert len(found) == 7
    assert set(found) == ids


def test_counts_beyond_ten_thousand_are_estimates(program: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr("apps.registry.totals.EXACT_ROWS", 3)
    element = make.element()
    for _ in range(5):
        make.record(element)
    page = program("GET", "/files?limit=1").json()
    assert page["total_is_estimate"] is True
    assert page["total"] >= 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "new"},
        {"tags": "a"},
        {"tags": ["x" * 65]},
        {"tags": [1]},
        {"tags": [str(n) for n in range(51)]},
        {"tags": ["a\x00"]},
        {"description": "x" * 1001},
        {"description": 5},
        {"metadata": []},
        {"metadata": None},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"a": "x" * 13_000}},
        [],
        "text",
    ],
)
def test_edits_that_are_not_valid_are_refused_before_the_element_is_asked(
    program: Api, body: Any
) -> None:
    row = make.record(make.element())
    assert code(program("PATCH", f"/files/{row.pk}", body)) == (400, "VALIDATION_ERROR")


def test_a_file_is_edited_and_deleted_through_its_element(
    site: Any, service_token: Callable[..., str]
) -> None:
    program = Api(service_token("files:read", "files:write"))
    stored = site.put()
    site.sync()
    edited = program("PATCH", f"/files/{stored.file_id}", {"description": None, "tags": ["a"]})
    assert (edited.status_code, edited.json()["tags"]) == (200, ["a"])
    assert program("DELETE", f"/files/{stored.file_id}").status_code == 204
    assert site.client().get_info().body["counts"]["deleted"]["files"] == 1


def test_a_dead_element_is_502(program: Api) -> None:
    row = make.record(make.element())
    assert code(program("PATCH", f"/files/{row.pk}", {"tags": []})) == (502, "SE_UNAVAILABLE")


def test_files_are_registered_with_both_scopes(site: Any, service_token: Any) -> None:
    stored = site.put()
    body = {"file_id": str(stored.file_id), "storage_element_id": str(site.element.pk)}
    assert code(Api(service_token("files:write"))("POST", "/files", body)) == (403, "FORBIDDEN")
    both = Api(service_token("files:write", "storage:write"))
    assert both("POST", "/files", body).status_code == 201
    assert both("POST", "/files", body).status_code == 200
    unknown = body | {"file_id": str(uuid.uuid4())}
    assert code(both("POST", "/files", unknown)) == (404, "NOT_FOUND")
    nowhere = body | {"storage_element_id": str(uuid.uuid4())}
    assert code(both("POST", "/files", nowhere)) == (404, "NOT_FOUND")


# --- elements ---


def test_an_element_has_the_fields_of_the_contract_and_its_url_is_for_roles(
    admin: Api, operator: Api
) -> None:
    element = make.element()
    shown = admin("GET", f"/storage-elements/{element.pk}").json()
    assert set(shown) == {
        *("id", "name", "url", "storage_id", "instance_id", "mode", "status", "status_reason"),
        *("capacity_bytes", "used_bytes", "available_bytes", "file_count", "version"),
        *("last_probe_at", "last_sync_at", "last_file_sync_at", "created_at", "updated_at"),
    }
    assert "url" not in operator("GET", f"/storage-elements/{element.pk}").json()
    assert "url" not in operator("GET", "/storage-elements").json()["items"][0]


def test_elements_are_listed_and_filtered(admin: Api) -> None:
    make.element("se-a", name="North", mode="rw")
    make.element("se-b", name="South", status="offline")
    for query, total in (("mode=rw", 1), ("status=offline", 1), ("q=nor", 1), ("q=se-", 2)):
        assert admin("GET", f"/storage-elements?{query}").json()["total"] == total
    assert code(admin("GET", "/storage-elements?mode=fast")) == (400, "VALIDATION_ERROR")


def test_the_whole_life_of_an_element_over_the_api(
    start_site: Callable[..., Any],
    admin_token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admin = Api(admin_token)
    enqueued: list[str] = []
    monkeypatch.setattr(tasks.run_sync, "delay", enqueued.append)
    site = start_site(SE_MODE="rw")
    site.put()
    StorageElement.objects.all().delete()
    address = {"url": site.element.url, "ca_pem": site.element.ca_pem}
    found = admin("POST", "/storage-elements/discover", address).json()
    assert (found["storage_id"], found["mode"], found["registered"]) == ("se-test", "rw", False)
    created = admin("POST", "/storage-elements", {"name": "One", **address})
    assert created.status_code == 201
    path = f"/storage-elements/{created.json()['id']}"
    assert len(enqueued) == 1
    tasks.run_sync(enqueued[0])
    assert admin("GET", "/files").json()["total"] == 1
    assert code(admin("POST", "/storage-elements", {"name": "Two", **address})) == (409, "CONFLICT")
    renamed = admin("PATCH", path, {"name": "Renamed", "status": "maintenance"}).json()
    assert (renamed["name"], renamed["status"]) == ("Renamed", "maintenance")
    assert admin("PATCH", path, {"status": "online"}).json()["status"] == "online"
    moved = admin("POST", f"{path}/mode", {"target_mode": "ro"}).json()
    assert (moved["previous_mode"], moved["current_mode"]) == ("rw", "ro")
    assert code(admin("POST", f"{path}/mode", {"target_mode": "rw"})) == (
        409,
        "CONFIRMATION_REQUIRED",
    )
    assert admin("POST", f"{path}/reconcile").status_code == 202
    waited = admin("POST", f"{path}/sync?wait=true", {"full": True})
    assert (waited.status_code, waited.json()["status"]) == (200, "succeeded")
    accepted = admin("POST", f"{path}/sync")
    assert (accepted.status_code, accepted.json()["status"]) == (202, "running")
    assert code(admin("POST", f"{path}/sync")) == (409, "SYNC_IN_PROGRESS")
    runs = admin("GET", f"{path}/sync-runs").json()
    assert runs["total"] == 3
    assert admin("GET", f"/sync-runs/{runs['items'][0]['id']}").json() == runs["items"][0]
    assert code(admin("DELETE", path)) == (409, "CONFLICT")
    assert admin("DELETE", f"{path}?force=true").status_code == 204
    assert code(admin("GET", path)) == (404, "NOT_FOUND")
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"element.register", "element.edit", "element.mode", "element.remove"} <= actions


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/storage-elements", {"name": "", "url": "https://node.example"}),
        ("POST", "/storage-elements", {"name": "x" * 101, "url": "https://node.example"}),
        ("POST", "/storage-elements", {"name": "x"}),
        ("POST", "/storage-elements", {"name": "x", "url": "https://a", "colour": "red"}),
        ("POST", "/storage-elements/discover", {}),
        ("PATCH", "/storage-elements/{id}", {}),
        ("PATCH", "/storage-elements/{id}", {"status": "offline"}),
        ("PATCH", "/storage-elements/{id}", {"mode": "rw"}),
        ("POST", "/storage-elements/{id}/mode", {"target_mode": "fast"}),
        ("POST", "/storage-elements/{id}/sync", {"full": "perhaps"}),
        ("POST", "/storage-elements/{id}/sync?wait=perhaps", {}),
        ("DELETE", "/storage-elements/{id}?force=perhaps", None),
    ],
)
def test_input_that_is_not_valid_is_refused(
    admin: Api, method: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.run_sync, "delay", lambda _run: None)
    element = make.element()
    assert code(admin(method, path.format(id=element.pk), body)) == (400, "VALIDATION_ERROR")
    assert StorageElement.objects.filter(pk=element.pk).exists()
    assert not SyncRun.objects.exists(), "a refused request claims nothing"


def test_urls_that_are_refused_say_so(admin: Api) -> None:
    for url in ("http://127.0.0.1:1", "https://169.254.169.254/", "https://u:p@node.example"):
        body = {"name": "x", "url": url}
        assert code(admin("POST", "/storage-elements", body)) == (400, "ELEMENT_URL_REFUSED")
        assert code(admin("POST", "/storage-elements/discover", {"url": url})) == (
            400,
            "ELEMENT_URL_REFUSED",
        )


def test_nobody_behind_a_url_is_502(admin: Api) -> None:
    body = {"url": "https://127.0.0.1:1"}
    assert code(admin("POST", "/storage-elements/discover", body)) == (502, "SE_UNAVAILABLE")


def test_what_is_not_there_is_404(admin: Api) -> None:
    nothing = uuid.uuid4()
    for method, path in (
        ("GET", f"/storage-elements/{nothing}"),
        ("PATCH", f"/storage-elements/{nothing}"),
        ("DELETE", f"/storage-elements/{nothing}"),
        ("POST", f"/storage-elements/{nothing}/sync"),
        ("POST", f"/storage-elements/{nothing}/reconcile"),
        ("GET", f"/storage-elements/{nothing}/sync-runs"),
        ("GET", f"/sync-runs/{nothing}"),
        ("GET", f"/files/{nothing}"),
        ("DELETE", f"/files/{nothing}"),
    ):
        body = {"name": "x"} if method == "PATCH" else None
        assert code(admin(method, path, body)) == (404, "NOT_FOUND"), path


def test_a_sync_run_has_the_fields_of_the_contract(admin: Api) -> None:
    run = SyncRun.objects.create(
        storage_element=make.element(), trigger="manual", kind="full", status="failed", error="e"
    )
    shown = admin("GET", f"/sync-runs/{run.pk}").json()
    assert {
        *("id", "storage_element_id", "trigger", "kind", "status", "files_seen", "files_added"),
        *("files_updated", "files_unchanged", "files_marked_deleted", "files_rejected", "error"),
        *("started_at", "finished_at"),
    } <= set(shown)
    assert (shown["error"], shown["finished_at"]) == ("e", None)

"""The console's pages as the server gives them: what they cost, whom they let in, what they answer."""

import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse

from apps.admin.models import User
from apps.admin.tests import make as people
from apps.registry.forms.files import FileForm
from apps.registry.models import FileRecord, StorageElement, SyncRun
from apps.registry.tests import make
from artstore import pages

MOST_QUERIES = 12
MOST_BYTES = 100 * 1024
LONGEST = {
    "original_filename": "報" * 251 + ".pdf",
    "description": "告" * 1000,
    "tags": tuple(f"{number:02}" + "标" * 62 for number in range(50)),
    "metadata": {"key": "値" * 500},
}


@pytest.fixture
def admin(db: None, client: Client) -> Client:
    client.force_login(people.user("admin"))
    return client


@pytest.fixture
def reader(db: None) -> Client:
    client = Client()
    client.force_login(people.user("readonly"))
    return client


@pytest.fixture
def full_registry(db: None) -> StorageElement:
    """More of everything than fits on a page, with texts as long as they may be."""
    element = None
    for number in range(12):
        status = ("online", "offline", "degraded")[number % 3]
        element = make.element(status=status, status_reason="r" * 500, name="ж" * 100)
        for _run in range(6):
            SyncRun.objects.create(
                storage_element=element,
                trigger="manual",
                kind="full",
                status="failed",
                error="e" * 500,
            )
    for _file in range(60):
        make.record(element, **LONGEST)
    assert element is not None
    return element


def cost(client: Client, address: str) -> tuple[int, int]:
    """Queries and bytes of a page."""
    with CaptureQueriesContext(connection) as queries:
        response = client.get(address)
    assert response.status_code == 200, response.content
    return len(queries), len(response.content)


PAGES = ["dashboard", "files", "upload", "elements", "elements-register", "runs", "account"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_costs_few_queries_and_few_bytes(
    name: str, admin: Client, full_registry: StorageElement
) -> None:
    queries, size_bytes = cost(admin, reverse(f"console:{name}"))
    assert queries <= MOST_QUERIES
    assert size_bytes < MOST_BYTES


@pytest.mark.parametrize("name", ["elements-detail", "elements-edit", "elements-remove"])
def test_a_page_of_one_element_costs_few_queries_and_few_bytes(
    name: str, admin: Client, full_registry: StorageElement
) -> None:
    queries, size_bytes = cost(admin, reverse(f"console:{name}", args=[full_registry.pk]))
    assert queries <= MOST_QUERIES
    assert size_bytes < MOST_BYTES


@pytest.mark.parametrize("name", ["files-detail", "files-edit", "files-delete"])
def test_a_page_of_one_file_costs_few_queries_and_few_bytes(
    name: str, admin: Client, full_registry: StorageElement
) -> None:
    file = FileRecord.objects.all()[0]
    queries, size_bytes = cost(admin, reverse(f"console:{name}", args=[file.pk]))
    assert queries <= MOST_QUERIES
    assert size_bytes < MOST_BYTES


# --- who gets in ------------------------------------------------------------------------------


def test_nobody_is_sent_to_the_login_page_and_back(client: Client, db: None) -> None:
    response = client.get("/console/files?query=a")
    assert response.status_code == 302
    assert response.headers["Location"] == "/console/login?next=/console/files%3Fquery%3Da"


def test_a_fragment_for_nobody_leads_the_whole_page_to_the_login(client: Client, db: None) -> None:
    response = client.get("/console/", headers={"HX-Request": "true"})
    assert response.headers["HX-Redirect"].startswith("/console/login")
    assert b"<form" not in response.content


def test_login_returns_only_to_this_site(client: Client, db: None) -> None:
    person = people.user()
    for wanted in ("https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"):
        client.logout()
        response = client.post(
            "/console/login",
            {"username": person.username, "password": people.PASSWORD, "next": wanted},
        )
        assert response.headers["Location"] == "/console/"


def test_a_deactivated_person_is_out_at_once(admin: Client) -> None:
    assert admin.get("/console/").status_code == 200
    User.objects.update(is_active=False)
    assert admin.get("/console/").status_code == 302


def test_a_changed_role_counts_at_once(admin: Client) -> None:
    assert admin.get("/console/upload").status_code == 200
    User.objects.update(role="readonly")
    assert admin.get("/console/upload").status_code == 403


MUTATING = [
    "elements-register",
    "elements-edit",
    "elements-remove",
    "elements-probe",
    "elements-sync",
    "elements-mode",
    "elements-maintenance",
    "elements-instance",
    "elements-reconcile",
    "elements-garbage",
    "files-edit",
    "files-delete",
    "account",
    "account-sessions",
    "theme",
    "language",
    "logout",
    "login",
    "upload",
]


@pytest.mark.parametrize("name", MUTATING)
def test_a_form_from_elsewhere_changes_nothing(name: str, db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.user("admin"))
    response = client.post(any_address(name), {"file": SimpleUploadedFile("a.txt", b"a")})
    assert response.status_code == 403
    assert "too old or came from elsewhere" in response.content.decode()


def any_address(name: str) -> str:
    for arguments in ([], [uuid.uuid4()]):
        try:
            return reverse(f"console:{name}", args=arguments)
        except NoReverseMatch:
            continue
    raise AssertionError(name)


def test_an_upload_from_elsewhere_is_refused_before_its_file_is_read(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.user("admin"))
    client.get("/console/upload")
    form = {"csrfmiddlewaretoken": "x" * 64, "file": SimpleUploadedFile("a.txt", b"a")}
    response = client.post("/console/upload", form)
    assert response.status_code == 403
    assert FileRecord.objects.count() == 0


# --- what they answer -------------------------------------------------------------------------


def test_a_failure_is_a_page_without_the_database(rf: RequestFactory) -> None:
    # No `db` fixture: pytest-django refuses every query here.
    response = pages.error_page(rf.get("/console/"), 500, "The disk of the database is full.")
    assert response.status_code == 500
    assert "The disk of the database is full." in response.content.decode()


def test_htmx_gets_the_part_of_the_page_and_a_restored_history_the_whole(
    admin: Client, full_registry: StorageElement
) -> None:
    part = admin.get("/console/files", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section")
    assert "<html" not in part
    restored = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in admin.get("/console/files", headers=restored).content.decode()


def test_a_missing_file_and_a_missing_element_are_404_pages(admin: Client) -> None:
    for name in ("files-detail", "elements-detail", "runs-detail"):
        response = admin.get(reverse(f"console:{name}", args=[uuid.uuid4()]))
        assert response.status_code == 404
        assert 'id="failure"' in response.content.decode()


def test_a_day_after_which_there_is_none_is_refused(admin: Client) -> None:
    for address in ("/console/files", "/console/files/export"):
        assert admin.get(f"{address}?uploaded_before=9999-12-31").status_code == 422


def test_a_search_with_a_bad_value_is_422_and_says_which(admin: Client) -> None:
    response = admin.get("/console/files?min_size=lots&checksum=xyz")
    assert response.status_code == 422
    text = response.content.decode()
    assert "Write a size such as 10 MiB." in text
    assert "A checksum has 64 hexadecimal digits." in text


def test_deleted_files_show_why_and_offer_nothing(
    admin: Client, full_registry: StorageElement
) -> None:
    file = make.record(full_registry, status="deleted")
    FileRecord.objects.filter(pk=file.pk).update(deletion_reason="missing_on_element")
    text = admin.get(reverse("console:files-detail", args=[file.pk])).content.decode()
    assert "Missing on its element" in text
    assert "/edit" not in text


def test_texts_of_files_are_never_markup(admin: Client, full_registry: StorageElement) -> None:
    evil = "<img src=x onerror=alert(1)>"
    file = make.record(
        full_registry, original_filename=evil, description=evil, tags=(evil,), metadata={evil: evil}
    )
    for address in (
        "/console/files",
        f"/console/files/{file.pk}",
        f"/console/files/{file.pk}/edit",
    ):
        assert evil not in admin.get(address).content.decode()


def test_a_field_nobody_typed_in_is_not_sent_whatever_another_tab_stored() -> None:
    opened = FileForm.of(FileRecord(description="one\ntwo", tags=["a,b"], metadata={"k": 1}))
    sent = {name: text.replace("\n", "\r\n") for name, text in opened.opened_with()}
    sent |= {name.removeprefix("initial-"): text for name, text in sent.items()}
    stored_elsewhere = FileRecord(description="of the other tab", tags=["new"], metadata={})
    cases: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {}),
        ({"description": "one\r\n3"}, {"description": "one\n3"}),
        ({"description": ""}, {"description": None}),
        ({"tags": "new"}, {}),
        ({"tags": "x, y"}, {"tags": ["x", "y"]}),
        ({"metadata": ""}, {}),
    ]
    for typed, wanted in cases:
        form = FileForm.of(stored_elsewhere, sent | typed)
        assert form.is_valid()
        assert form.changes() == wanted


def test_a_field_that_somebody_else_stored_meanwhile_is_a_clash_that_shows_both() -> None:
    sent = {"initial-description": "one", "initial-tags": "a", "initial-metadata": ""}
    sent |= {"description": "mine", "tags": "a", "metadata": '{"k": 1}'}
    stored = FileRecord(description="theirs", tags=["b", "c, d"], metadata={})
    form = FileForm.of(stored, sent)
    assert form.is_valid()
    [clash] = form.clashes(form.changes())
    assert (clash.label, clash.stored, clash.typed) == ("Description", "theirs", "mine")
    again = form.over_what_is_stored()
    assert again.is_valid()
    assert again.clashes(again.changes()) == []
    assert again.changes() == {"description": "mine", "metadata": {"k": 1}}
    # Who typed nothing there sees what is stored now.
    assert again["tags"].value() == 'b, "c, d"'
    # The same text from two people is no clash.
    same = FileForm.of(stored, sent | {"description": "theirs"})
    assert same.is_valid()
    assert same.clashes(same.changes()) == []


def test_two_people_in_one_field_are_told_of_each_other_before_anything_is_stored(
    admin: Client, full_registry: StorageElement
) -> None:
    file = make.record(full_registry, description="theirs")
    address = f"/console/files/{file.pk}/edit"
    answer = admin.post(address, {"initial-description": "old", "description": "mine"})
    assert answer.status_code == 409
    text = answer.content.decode()
    assert ">theirs</td>" in text
    assert ">mine</td>" in text
    assert '<input type="hidden" name="initial-description" value="theirs">' in text
    assert FileRecord.objects.get(pk=file.pk).description == "theirs"


def test_two_people_editing_one_element_are_told_of_each_other(
    admin: Client, full_registry: StorageElement
) -> None:
    element = full_registry
    address = f"/console/elements/{element.pk}/edit"
    opened = admin.get(address).content.decode()
    assert f'name="initial-url" value="{element.url}"' in opened
    form = {
        "initial-name": "old",
        "name": "mine",
        "initial-url": "https://old",
        "url": "https://old",
    }
    answer = admin.post(address, form | {"ca_pem": ""})
    assert answer.status_code == 409
    # Only the field both changed; the address nobody typed in stays what somebody else stored.
    clashes = [clash.label for clash in answer.context["clashes"]]
    assert clashes == ["Name"]
    assert answer.context["form"]["url"].value() == element.url
    element.refresh_from_db()
    assert element.name != "mine"


def test_the_page_of_an_edit_carries_what_it_was_opened_with(
    admin: Client, full_registry: StorageElement
) -> None:
    file = make.record(full_registry, tags=("a,b",))
    text = admin.get(f"/console/files/{file.pk}/edit").content.decode()
    assert '<input type="hidden" name="initial-tags" value="&quot;a,b&quot;">' in text


def test_the_theme_and_language_are_kept_in_the_browser_and_nothing_else_is(client: Client) -> None:
    response = client.post("/console/theme", {"theme": "dark", "next": "/console/login"})
    assert response.headers["Location"] == "/console/login"
    assert client.cookies["artstore_theme"].value == "dark"
    assert client.cookies["artstore_theme"]["httponly"]
    client.post("/console/theme", {"theme": "<script>"})
    assert client.cookies["artstore_theme"].value == "dark"


def test_ones_password_is_changed_with_the_old_one_and_other_sessions_end(db: None) -> None:
    person = people.user("readonly")
    here, elsewhere = Client(), Client()
    for each in (here, elsewhere):
        each.force_login(person)
    new = "another long phrase 7"
    form = {"current_password": "wrong", "new_password": new, "repeated": new}
    refused = here.post("/console/account", form)
    assert refused.status_code == 422
    assert "current password is not right" in refused.content.decode()
    answer = here.post("/console/account", form | {"current_password": people.PASSWORD})
    assert answer.status_code == 302
    assert here.get("/console/account").status_code == 200
    assert elsewhere.get("/console/account").status_code == 302


def test_all_other_sessions_end_on_request(db: None) -> None:
    person = people.user("readonly")
    here, elsewhere = Client(), Client()
    for each in (here, elsewhere):
        each.force_login(person)
    assert here.post("/console/account/end-other-sessions").status_code == 302
    assert here.get("/console/account").status_code == 200
    assert elsewhere.get("/console/account").status_code == 302


@pytest.mark.parametrize("language", ["en", "ru"])
def test_every_page_speaks_the_language_chosen(
    language: str, admin: Client, full_registry: StorageElement
) -> None:
    admin.cookies["django_language"] = language
    for name in PAGES:
        text = admin.get(reverse(f"console:{name}")).content.decode()
        assert f'<html lang="{language}"' in text
        assert ("Главное меню" in text) == (language == "ru")


def test_a_bulk_act_leads_back_to_the_search_its_files_were_chosen_from(
    admin: Client, full_registry: StorageElement
) -> None:
    search = "/console/files?query=pdf&status=active"
    listed = admin.get(f"{search}&offset=25").content.decode()
    assert f'name="next" value="{search.replace("&", "&amp;")}"' in listed
    nothing = "/console/files/bulk/delete"
    assert admin.post(nothing, {"next": search}).headers["Location"] == search
    for elsewhere in ("https://evil.example/console/files", "//evil.example", "/console/users"):
        answer = admin.post(nothing, {"next": elsewhere})
        assert answer.headers["Location"] == "/console/files"


def test_readers_are_shown_no_way_to_change_anything(
    reader: Client, full_registry: StorageElement
) -> None:
    file = FileRecord.objects.all()[0]
    addresses = [reverse(f"console:{name}") for name in ("dashboard", "files", "elements", "runs")]
    addresses += [f"/console/files/{file.pk}", f"/console/elements/{full_registry.pk}"]
    own = {"/console/logout", "/console/theme", "/console/language"}
    for address in addresses:
        text = reader.get(address).content.decode()
        posts = [part.split('"')[0] for part in text.split('method="post" action="')[1:]]
        assert set(posts) <= own, address
        assert "/upload" not in text
        assert "/register" not in text

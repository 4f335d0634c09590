"""Names of files as pages print them: nothing hidden in them, nothing turned round by them."""

import pytest
from django.test import Client
from django.urls import reverse

from apps.admin.tests import make as people
from apps.registry.models import FileRecord
from apps.registry.templatetags.files import curl_line
from apps.registry.tests import make
from artstore.shown import shown

NAME = "invoice\u202egpj.exe\u2066\u200b\n.txt"
SHOWN = "invoice[U+202E]gpj.exe[U+2066][U+200B][U+000A].txt"
RAW = ("\u202e", "\u2066", "\u200b")


@pytest.mark.parametrize(
    "name", ["Годовой отчёт.txt", "季度報告.pdf", "👩\u200d🔧 fixed.txt", "שלום.txt", "a & <b>.txt"]
)
def test_names_without_hidden_characters_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == name


def test_hidden_characters_are_written_out() -> None:
    assert shown(NAME) == SHOWN


@pytest.mark.django_db
def test_no_page_prints_a_hidden_character_of_a_name(client: Client) -> None:
    client.force_login(people.user("admin"))
    element = make.element()
    file = make.record(element, original_filename=NAME)
    pages = [reverse(f"console:{name}", args=[file.pk]) for name in FILE_PAGES]
    pages += ["/console/files", reverse("console:elements-files", args=[element.pk])]
    texts = {page: client.get(page).content.decode() for page in pages}
    for act in ("delete", "tags"):
        page = f"/console/files/bulk/{act}"
        texts[page] = client.post(page, {"file_ids": [file.pk]}).content.decode()
    for page, text in texts.items():
        assert SHOWN in text, page
        assert not any(sign in text for sign in RAW), page
    assert f"<bdi>{SHOWN}</bdi>" in texts[pages[0]]
    assert FileRecord.objects.get(pk=file.pk).original_filename == NAME


FILE_PAGES = ("files-detail", "files-edit", "files-delete", "files-verified")


def test_the_curl_line_names_a_file_whose_name_hides_nothing() -> None:
    line = curl_line("https://store/x", NAME)
    assert "-o invoice_gpj.exe___.txt" in line

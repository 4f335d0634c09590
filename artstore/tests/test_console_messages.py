"""Guards: every sentence of the console has its words in every language, and they are compiled."""

import pytest

from artstore import catalogue
from artstore.catalogue import Sentence

LANGUAGES = catalogue.languages()


def sentences_of(language: str) -> set[Sentence]:
    found = set()
    for message in catalogue.read(language):
        if message.id:
            text, plural = message.id if isinstance(message.id, tuple) else (message.id, "")
            found.add(Sentence(message.context or "", text, plural))
    return found


def test_there_is_a_catalogue_for_every_language_but_the_sources(settings: object) -> None:
    offered = {code for code, _name in settings.LANGUAGES}
    assert offered == {"en", *LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_holds_every_sentence_and_no_other(language: str) -> None:
    gathered = set(catalogue.gather())
    assert gathered
    kept = sentences_of(language)
    assert sorted(gathered - kept) == [], "run `make messages`"
    assert sorted(kept - gathered) == [], "run `make messages`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_translated(language: str) -> None:
    assert catalogue.untranslated(catalogue.read(language)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_django_reads_is_compiled_from_the_catalogue(language: str) -> None:
    compiled = catalogue.po_file(language).with_suffix(".mo").read_bytes()
    assert compiled == catalogue.as_mo(catalogue.read(language)), "run `make messages`"


def test_templates_and_python_are_both_read() -> None:
    gathered = catalogue.gather()
    assert any(place.endswith(".html") for place in gathered[Sentence("", "Dashboard", "")])
    assert any(place.endswith(".py") for place in gathered[Sentence("", "Offline", "")])
    assert Sentence("", "%(n)s file", "%(n)s files") in gathered
    assert Sentence("file", "Active", "") in gathered

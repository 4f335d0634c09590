"""The generated search vector: what of a file can be found, in every corner."""

from typing import Any

import pytest
from django.contrib.postgres.search import SearchQuery
from django.db import connection

from apps.registry.models import FileRecord
from apps.registry.search_text import SEARCH_CONFIG, as_indexed
from apps.registry.tests import make

pytestmark = pytest.mark.django_db


def finds(record: FileRecord, words: str) -> bool:
    query = SearchQuery(as_indexed(words), config=SEARCH_CONFIG, search_type="websearch")
    return FileRecord.objects.filter(pk=record.pk, search_vector=query).exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annual_report-2026.PDF", "report"),
        ("annual_report-2026.PDF", "2026"),
        ("annual_report-2026.PDF", "pdf"),
        ("annual_report-2026.PDF", "PDF reports annual"),
        ("annual_report-2026.PDF", '"annual report"'),
        ("annual_report-2026.PDF", '"annual report 2026 pdf"'),
        ("AnnualReport2026.docx", "annual"),
        ("AnnualReport2026.docx", "report"),
        ("AnnualReport2026.docx", "annualreport2026"),
        ("HTTPServerLog.txt", "server"),
        ("HTTPServerLog.txt", "http"),
        ("IMG20260102.jpg", "20260102"),
        ("backup.tar.gz", "gz"),
        ("backup.tar.gz", "tar"),
        ("v1.2.3-rc1.zip", "rc1"),
        ("годовой_отчёт-2026.pdf", "отчёты"),
        ("годовой_отчёт-2026.pdf", "отчет"),
        ("годовой_отчет-2026.pdf", "отчёт"),
        ("ГодовойОтчет2026.pdf", "годовые"),
        ("e\u0301te\u0301-notes.txt", "\u00e9t\u00e9"),
        ("отче\u0308т.pdf", "отчёт"),
        ("a b c.txt", "txt"),
        ("[draft] (final)!.md", "final"),
        ("报告.pdf", "报告"),
    ],
)
def test_a_name_is_found_by_its_parts(name: str, words: str) -> None:
    assert finds(make.record(None, original_filename=name), words)


@pytest.mark.parametrize("before", ["\n", "\t", "\x01", "\x1f", '"', "\\", "\\n", "e"])
def test_metadata_may_hold_a_combining_mark_behind_anything(before: str) -> None:
    """Of a control character JSON makes an escape that ends in a letter, which is none to compose."""
    record = make.record(None, metadata={"note": f"coral{before}\u0301 x\u0308 reef"})
    assert finds(record, "reef")
    assert finds(record, f"coral{before}\u0301")


def test_tags_description_and_metadata_values_are_found() -> None:
    record = make.record(
        None,
        original_filename="x.bin",
        tags=("sensor_data", "Измерения"),
        description="Calibrated devices of the Northern station",
        metadata={"site": "Мурманск", "depth": {"list": ["coral", 17, True]}},
    )
    for words in ("sensor", "data", "измерение", "calibration device", "station", "мурманска"):
        assert finds(record, words)
    for words in ("coral", "17", "true"):
        assert finds(record, words)
    assert not finds(record, "site"), "keys of metadata are not its values"
    assert not finds(record, "station -calibrated")


def test_weights_rank_name_over_tags_over_description_over_metadata() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select artstore_search_vector('alpha', array['beta'], 'gamma', '{\"k\": \"delta\"}')"
        )
        vector: str = cursor.fetchone()[0]
    assert vector.split() == ["'alpha':1A", "'beta':2B", "'delta':4", "'gamma':3C"]


@pytest.mark.parametrize(
    "values",
    [
        {"description": None},
        {"description": ""},
        {"tags": ()},
        {"metadata": {}},
        {"metadata": {"null": None, "empty": {}, "list": []}},
        {"original_filename": "....----____"},
        {"original_filename": "x" * 255},
        {"original_filename": "👩‍👩‍👧‍👦🏳️‍🌈.png"},
        {"original_filename": "\u202egnp.exe"},
        {"original_filename": "\\%_'\"`$1;--"},
        {"tags": tuple("т" * 64 for _ in range(50))},
        {"description": "слово " * 166},
        {"metadata": {"k": "v" * 12_000}},
    ],
)
def test_nothing_voids_the_vector_or_breaks_the_row(values: dict[str, Any]) -> None:
    values = {"original_filename": "anchor.txt"} | values
    record = make.record(None, **values)
    record.refresh_from_db()
    assert record.search_vector is not None
    if values["original_filename"] == "anchor.txt":
        assert finds(record, "anchor")


def test_the_vector_follows_an_edit() -> None:
    record = make.record(None, tags=("walnut",))
    FileRecord.objects.filter(pk=record.pk).update(tags=["hazel"])
    assert finds(record, "hazel")
    assert not finds(record, "walnut")


def test_the_function_needs_no_search_path() -> None:
    with connection.cursor() as cursor:
        cursor.execute("set local search_path = ''")
        cursor.execute("select public.artstore_search_vector('A_b', '{ё}', 'в', '{\"a\": \"ё\"}')")
        assert cursor.fetchone()[0]
        cursor.execute(
            "select provolatile from pg_catalog.pg_proc where proname = %s",
            ["artstore_search_vector"],
        )
        assert cursor.fetchone()[0] == "i"

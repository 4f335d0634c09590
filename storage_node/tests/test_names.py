"""Names on disk: any original name fits, stays readable, is safe, and comes back from the attributes untouched."""

import unicodedata
import uuid
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage_node.names import ATTRIBUTES_SUFFIX, cut, id_in_name, safe, stored_name
from storage_node.tests.small_element import START, SmallElement

ID = "0b5f4c9e-8c2d-4a5b-9a43-6f7c1d2e3a4b"
HARD_NAMES = [
    "отчёт за 2026 год.pdf",
    "年度报告.docx",
    "👩‍👩‍👧‍👦 семья.jpg",
    "👩‍👩‍👧‍👦" * 30 + ".png",
    "e\u0301" * 125 + ".txt",
    "שלום עולם.txt",
    "مرحبا" * 40 + ".txt",
    "\u202etxt.exe",
    "ж" * 255,
    "字" * 250 + ".txt",
    "𝒳" * 255,
    "a" * 255,
    "quo\"tes 'and' <brackets>|?*:\\.txt",
    " leading and trailing. ",
    "...",
    ".hidden",
    "no extension",
    "many.dots.tar.gz",
    "CON",
    "a.attr.json",
    "name." + "x" * 200,
    "нет.расширение",
]

any_name = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"),
    min_size=1,
    max_size=255,
).filter(lambda name: name not in (".", ".."))


@settings(max_examples=150, deadline=None)
@given(name=any_name, uploader=st.text(min_size=1, max_size=255))
@example(name="ж" * 255, uploader="sa_робот_123")
@example(name="👩‍👩‍👧‍👦" * 36, uploader="u")
def test_any_name_fits_with_its_attributes_and_carries_the_id(name: str, uploader: str) -> None:
    made = stored_name(name, uploader, START, ID)
    assert len((made + ATTRIBUTES_SUFFIX).encode()) <= 255
    assert id_in_name(made) == uuid.UUID(ID)
    assert id_in_name(made + ATTRIBUTES_SUFFIX) == uuid.UUID(ID)
    assert not set(made) & set('/\\:*?"<>|\0')
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in made)
    assert made == made.strip(" .")
    assert not made.startswith(".")


@settings(max_examples=150, deadline=None)
@given(text=any_name, limit=st.integers(0, 300))
def test_cutting_ends_between_characters(text: str, limit: int) -> None:
    short = cut(text, limit)
    assert len(short.encode()) <= limit or short == text
    assert text.startswith(short)
    rest = text[len(short) :].lstrip(" .")
    if short and rest and len(short) < len(text) and text[len(short)] == rest[0]:
        assert unicodedata.combining(rest[0]) == 0
        assert "\u200d" not in (rest[0], short[-1])


@pytest.mark.parametrize(
    ("original", "begins", "ends"),
    [
        ("report.pdf", "report_tester_20261122T060000Z_", f"{ID}.pdf"),
        ("отчёт.pdf", "отчёт_tester_", ".pdf"),
        ("many.dots.tar.gz", "many.dots.tar_", ".gz"),
        ("no extension", "no extension_", ID),
        (".hidden", "hidden_", ID),
        ("a/b".replace("/", ":"), "a_b_", ID),
        ("\u202etxt.exe", "_txt_", ".exe"),
        ("...", "__", ID),
    ],
)
def test_names_stay_readable(original: str, begins: str, ends: str) -> None:
    made = stored_name(original, "tester", START, ID)
    assert made.startswith(begins)
    assert made.endswith(ends)


def test_safe_text_stays_as_it_is() -> None:
    assert safe("plain name (1), final+1=2.txt") == "plain name (1), final+1=2.txt"


def test_files_of_every_hard_name_survive_restart_and_rebuild(tmp_path: Path) -> None:
    with SmallElement(tmp_path / "se").open() as element:
        files = {
            name: element.put(name.encode(), original_filename=name, uploaded_by="робот")
            for name in HARD_NAMES
        }
        element.reopen()
        element.close()
        element.open(rebuild=True)
        for name, file in files.items():
            stored = element.store.get(file.file_id, element.clock.now())
            assert stored.attributes.original_filename == name
            assert stored.attributes.uploaded_by == "робот"
            assert element.body(file.file_id) == name.encode()
            assert all(path.exists() for path in element.paths_of(file.file_id))

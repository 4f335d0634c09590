"""Guards: what the console loads is what was vendored, and nothing comes from another host."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "static" / "vendor"
MANIFEST = VENDOR / "VENDORED.md"
ROW = re.compile(r"^\| (?P<file>\S+) \|.*\| (?P<sha256>[0-9a-f]{64}) \|$", re.MULTILINE)
# Schema names and links to documentation in banners are words, not addresses a browser fetches.
FETCHED = re.compile(
    r"""(?:src|href)\s*=\s*["']?(?:https?:)?//|@import\s+(?:url\()?["']?(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|\b(?:jsdelivr|unpkg|cdnjs|googleapis|gstatic)\b"""
)
OURS = [
    path
    for folder in ("templates", "static/console")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file()
]


def manifest() -> dict[Path, str]:
    rows = ROW.finditer(MANIFEST.read_text())
    return {(VENDOR / row["file"]).resolve(): row["sha256"] for row in rows}


def test_every_vendored_file_has_the_hash_of_its_row() -> None:
    rows = manifest()
    assert rows
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in rows} == rows


def test_every_file_beside_the_manifest_is_in_it() -> None:
    present = {path for path in VENDOR.rglob("*") if path.is_file()} - {MANIFEST}
    present |= set((ROOT / "artstore/tests/vendor").iterdir())
    assert present == set(manifest())


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_names_another_host(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    assert not FETCHED.search(text)


@pytest.mark.parametrize("path", sorted(manifest()), ids=lambda path: path.name)
def test_no_vendored_file_fetches_from_another_host(path: Path) -> None:
    if path.suffix in {".css", ".js", ".svg"} and path.name != "axe.min.js":
        assert not FETCHED.search(path.read_text())


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_holds_inline_script_or_style(path: Path) -> None:
    if path.suffix == ".html":
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)
        assert "hx-on" not in text
        assert "js:" not in text

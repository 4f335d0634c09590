"""The shell's way in, around and out, against a real node."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> list[str]:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue().splitlines()


@pytest.fixture
def stored(element: Any, tmp_path: Path) -> tuple[str, bytes]:
    content = os.urandom(3 * 1024 * 1024 + 1)
    (tmp_path / "отчёт.bin").write_bytes(content)
    [file_id] = run("upload_file", tmp_path / "отчёт.bin", "--tag", "a", "--ttl-days", "3")
    return file_id, content


def test_a_file_is_stored_found_and_fetched(stored: tuple[str, bytes], tmp_path: Path) -> None:
    file_id, content = stored
    [line] = run("find_files", "отч", "--tag", "a")
    assert file_id in line
    assert "отчёт.bin" in line
    assert run("find_files", "--json", "--tag", "none") == []
    [path] = run("download_file", file_id, "--output", tmp_path / "out.bin")
    assert Path(path).read_bytes() == content


def test_files_are_found_by_element_and_by_time(stored: tuple[str, bytes], element: Any) -> None:
    file_id, _content = stored
    [line] = run("find_files", "--element", element.storage_id, "--uploaded-after", "2020-01-01")
    assert file_id in line
    assert run("find_files", "--element", element.pk, "--uploaded-before", "2020-01-01") == []
    with pytest.raises(CommandError, match="nowhere"):
        run("find_files", "--element", "nowhere")


@pytest.mark.parametrize("have", [0, 1, 1024 * 1024, 3 * 1024 * 1024 + 1])
def test_a_broken_download_goes_on_where_it_stopped(
    stored: tuple[str, bytes], tmp_path: Path, have: int
) -> None:
    file_id, content = stored
    (tmp_path / "out.bin.part").write_bytes(content[:have])
    run("download_file", file_id, "--output", tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == content
    assert not (tmp_path / "out.bin.part").exists()


def test_a_spoilt_part_is_noticed_and_thrown_away(
    stored: tuple[str, bytes], tmp_path: Path
) -> None:
    file_id, _content = stored
    (tmp_path / "out.bin.part").write_bytes(b"spoilt")
    with pytest.raises(CommandError, match="sha256"):
        run("download_file", file_id, "--output", tmp_path / "out.bin")
    assert not (tmp_path / "out.bin.part").exists()


def test_a_bad_field_is_one_sentence(element: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(CommandError, match="ttl_days"):
        run("upload_file", tmp_path / "a", "--ttl-days", "0")

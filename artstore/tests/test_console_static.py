"""Static files as they are served: compressed, kept for good, and new when they are new."""

import gzip
import warnings
from pathlib import Path

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.test import Client

from artstore import static_digest
from artstore.static_files import StaticFilesMiddleware

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "name",
    ["vendor/tabler/tabler.min.css", "vendor/chartjs/chart.umd.min.js", "console/console.css"],
)
def test_a_static_file_comes_compressed_and_may_be_kept_for_good(name: str) -> None:
    answer = Client().get(static(name), headers={"Accept-Encoding": "gzip, deflate, br"})
    body = b"".join(answer.streaming_content)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["Cache-Control"]
    original = (ROOT / "static" / name).read_bytes()
    assert gzip.decompress(body) == original
    assert len(body) < 0.4 * len(original)


def test_who_cannot_unpack_gets_the_file_as_it_is() -> None:
    answer = Client().get(static("console/console.css"))
    assert "Content-Encoding" not in answer.headers
    body = b"".join(answer.streaming_content)
    assert body == (ROOT / "static" / "console" / "console.css").read_bytes()


def test_the_address_changes_with_any_file_and_is_the_settings_one(tmp_path: Path) -> None:
    for name in ("a.css", "b.js"):
        (tmp_path / name).write_text(name)
    digests = {static_digest.of_files(tmp_path)}
    (tmp_path / "b.js").write_text("other")
    digests.add(static_digest.of_files(tmp_path))
    (tmp_path / "b.js").rename(tmp_path / "c.js")
    digests.add(static_digest.of_files(tmp_path))
    digests.add(static_digest.of_files(tmp_path, ["1.2"]))
    assert len(digests) == 4
    assert settings.STATIC_URL.count("/") == 3


def test_a_process_starts_without_a_warning_about_folders() -> None:
    def nothing(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert StaticFilesMiddleware(nothing).files

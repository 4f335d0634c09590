"""How static files reach a browser: compressed once per process, and kept by the browser for good.

Their address holds a digest of them all (`artstore.static_digest`), so a new release is a new
address. There is no collecting step: a checkout or an image serves what it holds.
"""

import atexit
import functools
import gzip
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

COMPRESSED_SUFFIXES = {".css", ".js", ".svg", ".json"}
# Below this a packet holds the file either way.
SMALLEST_COMPRESSED_BYTES = 1400


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise over what the finders find, each text file also as gzip."""

    def get_static_file(
        self,
        path: str,
        url: str,
        stat_cache: dict[str, os.stat_result] | None = None,  # noqa: ARG002 - WhiteNoise's signature
    ) -> Any:
        headers = Headers([])
        self.add_mime_headers(headers, path, url)  # type: ignore[no-untyped-call]  # WhiteNoise is not typed
        self.add_cache_headers(headers, path, url)  # type: ignore[no-untyped-call]  # WhiteNoise is not typed
        packed = _compressed(Path(path))
        return StaticFile(path, headers.items(), encodings={"gzip": packed} if packed else {})


@functools.cache
def _compressed(path: Path) -> str | None:
    """Where the file lies compressed; None for what would hardly shrink."""
    if path.suffix not in COMPRESSED_SUFFIXES or path.stat().st_size < SMALLEST_COMPRESSED_BYTES:
        return None
    packed = gzip.compress(path.read_bytes(), mtime=0)
    target = _folder() / f"{len(list(_folder().iterdir()))}{path.suffix}.gz"
    target.write_bytes(packed)
    return str(target)


@functools.cache
def _folder() -> Path:
    """This process's own folder for compressed files; gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="artstore-static-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

"""The same site as the uploads' tests stand on."""

from apps.ingester.tests.conftest import (  # noqa: F401 - fixtures are found by their names here
    caller,
    element,
    fresh_process,
    reader_token,
    site,
    token,
    uploader,
    web,
)

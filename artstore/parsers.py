"""How small request bodies are read: bounded, and a hostile one is a 400, never a 500; a slow one holds
no database connection meanwhile.

Bodies of files are not read here but from the stream, by the Ingester.
"""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import FormParser, JSONParser

from artstore import database


class BoundedJSONParser(JSONParser):
    """JSON no larger than a page's form may be, and no deeper than the interpreter can follow."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _refuse_large(parser_context)
        database.release()
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as failure:
            raise ParseError("The JSON body is nested too deeply.") from failure


class BoundedFormParser(FormParser):
    """`application/x-www-form-urlencoded` with the same bound."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        _refuse_large(parser_context)
        database.release()
        return super().parse(stream, media_type, parser_context)


def _refuse_large(parser_context: Mapping[str, Any] | None) -> None:
    """Django reads no further than the declared length, so that is what has to be small."""
    limit_bytes = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    request = (parser_context or {}).get("request")
    declared = str(request.META.get("CONTENT_LENGTH") or "") if request is not None else ""
    if declared.isdigit() and int(declared) > limit_bytes:
        raise ParseError(f"The body is larger than {limit_bytes} bytes.")

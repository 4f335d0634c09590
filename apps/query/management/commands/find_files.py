"""`manage.py find_files`: search from the shell."""

import datetime as dt
import json
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from apps.query import search
from apps.query.asking import SearchMode, SearchQuery, SortBy, SortOrder
from apps.registry import elements
from artstore.commands import OperatorCommand
from artstore.moments import rfc3339

_TEXTS = (
    "filename",
    "file_extension",
    "uploaded_by",
    "retention_policy",
    "content_type",
    "checksum",
    "cursor",
)
_PLAIN = (
    "status",
    "metadata",
    "min_size",
    "max_size",
    "uploaded_after",
    "uploaded_before",
    "limit",
    "offset",
    "sort_by",
    "sort_order",
    *_TEXTS,
)


def _moment(text: str) -> dt.datetime:
    """ISO 8601; in UTC where no zone is given."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


class Command(OperatorCommand):
    """Find files by name or text and every field. One line per file, or JSON."""

    help = "Find files; prints id, size, time of upload and name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", nargs="?", default="")
        parser.add_argument("--mode", type=SearchMode, choices=list(SearchMode), default="partial")
        parser.add_argument("--status", choices=["active", "expired", "deleted"], default="active")
        parser.add_argument("--tag", dest="tags", action="append", default=[])
        parser.add_argument("--metadata", type=json.loads, default={}, help="a JSON object")
        parser.add_argument("--min-size", type=int)
        parser.add_argument("--max-size", type=int)
        parser.add_argument("--uploaded-after", type=_moment, help="a day or a time; UTC")
        parser.add_argument("--uploaded-before", type=_moment, help="a day or a time; UTC")
        parser.add_argument("--element", help="storage_id or id of the element that holds them")
        parser.add_argument("--limit", type=int, default=100)
        parser.add_argument("--offset", type=int, default=0)
        parser.add_argument("--sort-by", type=SortBy, choices=list(SortBy))
        parser.add_argument("--sort-order", type=SortOrder, choices=list(SortOrder))
        parser.add_argument("--json", action="store_true", help="one JSON object per line")
        for name in _TEXTS:
            parser.add_argument("--" + name.replace("_", "-"))

    def handle(self, *_args: Any, **options: Any) -> None:
        given = {name: options[name] for name in _PLAIN if options[name] is not None}
        if options["element"]:
            given["element_id"] = elements.find(options["element"]).pk
        query = SearchQuery(
            query=options["query"],
            mode=SearchMode(options["mode"]),
            tags=tuple(options["tags"]),
            **given,
        )
        page = search.run(query, timezone.now())
        for hit in page.hits:
            self._show(hit.record, options["json"])
        about = "about " if page.total_is_estimate else ""
        self.stderr.write(f"{len(page.hits)} of {about}{page.total}")
        if page.next_cursor:
            self.stderr.write(f"further: --cursor {page.next_cursor}")

    def _show(self, record: Any, as_json: bool) -> None:
        uploaded = rfc3339(record.uploaded_at)
        if as_json:
            shown = {
                "file_id": str(record.file_id),
                "original_filename": record.original_filename,
                "size": record.size,
                "checksum": record.checksum,
                "uploaded_at": uploaded,
            }
            self.stdout.write(json.dumps(shown, ensure_ascii=False))
        else:
            self.stdout.write(
                f"{record.file_id}  {record.size:>14}  {uploaded}  {record.original_filename}"
            )

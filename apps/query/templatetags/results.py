"""Sorting and paging of the files page as links, so that each state of it has an address."""

from typing import Any

from django import template
from django.http import QueryDict

from apps.query.asking import SearchQuery
from apps.query.search import SearchPage
from artstore.paging import MAX_OFFSET

register = template.Library()


@register.inclusion_tag("query/parts/sort_header.html", takes_context=True)
def sort_header(
    context: dict[str, Any], column: str, label: str, classes: str = ""
) -> dict[str, Any]:
    """A column's heading: a link that sorts by it, or the other way round when it already does."""
    asked: SearchQuery | None = context["asked"]
    current = asked is not None and asked.sort == column
    descending = current and asked is not None and asked.descending
    first_order = "asc" if column == "original_filename" else "desc"
    turned = "asc" if descending else "desc"
    changes = {"sort_by": column, "sort_order": turned if current else first_order}
    return {
        "label": label,
        "classes": classes,
        "href": address(context, changes),
        "direction": ("descending" if descending else "ascending") if current else "none",
    }


@register.simple_tag(takes_context=True)
def next_page(context: dict[str, Any], found: SearchPage) -> str:
    """The address of the page after this one; empty on the last."""
    if not found.has_more:
        return ""
    offset = found.offset + found.limit
    uses_cursor = bool(context["asked"].cursor) or offset > MAX_OFFSET
    if uses_cursor and found.next_cursor is None:
        return ""
    return address(context, {"cursor": found.next_cursor} if uses_cursor else {"offset": offset})


@register.simple_tag(takes_context=True)
def previous_page(context: dict[str, Any], found: SearchPage) -> str:
    """The address of the page before; a cursor knows no way back but to the first page."""
    if context["asked"].cursor:
        return address(context, {})
    if found.offset == 0:
        return ""
    offset = max(0, found.offset - found.limit)
    return address(context, {"offset": offset} if offset else {})


@register.simple_tag(takes_context=True)
def export_query(context: dict[str, Any]) -> str:
    """The part of an address that asks for this whole result, from its first file."""
    return address(context, {})


def address(context: dict[str, Any], changes: dict[str, Any]) -> str:
    """This search from its first page, with `changes`; empty fields are left out."""
    given: QueryDict = context["request"].GET
    kept = QueryDict(mutable=True)
    for name, value in given.items():
        if name not in {"offset", "cursor"} and value:
            kept[name] = str(value)
    for name, value in changes.items():
        kept[name] = str(value)
    return f"?{kept.urlencode()}"

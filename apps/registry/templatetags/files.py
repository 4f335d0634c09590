"""What the file page shows besides words: JSON, the curl line, links that search."""

import json
import shlex
from typing import Any
from urllib.parse import urlencode

from django import template

from apps.registry import tag_text
from artstore.shown import without_hidden

register = template.Library()


@register.filter
def pretty_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


@register.simple_tag
def curl_line(address: str, filename: str) -> str:
    """A command to paste into a shell; names are quoted so that none can become a command."""
    # A leading dash would be read as an option.
    name = without_hidden(filename)
    target = f"./{name}" if name.startswith("-") else name
    return f'curl -fL -H "Authorization: Bearer $TOKEN" -o {shlex.quote(target)} {address}'


@register.simple_tag
def tag_query(tag: str) -> str:
    return urlencode({"tags": tag_text.write([tag])})

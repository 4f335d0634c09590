"""Lets a template ask the one policy, so that no page offers what its reader may not press."""

import json
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils.text import Truncator

from apps.admin.authentication import principal_of
from apps.admin.forms.session import LoginForm
from apps.admin.permissions import Act, may
from artstore.shown import shown

register = template.Library()

LONGEST_DETAIL_CHARACTERS = 200


@register.simple_tag(takes_context=True, name="may")
def may_tag(context: dict[str, Any], act: str) -> bool:
    """`{% may "files.write" as may_write %}`; an act no policy knows is a programming error."""
    return may(principal_of(context["request"]), Act(act))


@register.simple_tag
def login_form() -> LoginForm:
    """For a login page that stands in place of another."""
    return LoginForm()


@register.simple_tag
def audit_query(target: str) -> str:
    """The part of an address that shows everything done to `target`."""
    return urlencode({"target": target})


@register.filter
def plainly(value: Any) -> str:
    """A detail of an event in one line: texts as they are, lists joined, the rest as JSON."""
    if value in ("", [], {}, None):
        return "\u2013"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown(Truncator(text).chars(LONGEST_DETAIL_CHARACTERS))

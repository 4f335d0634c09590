"""Lets a template ask the one policy, so that no page offers what its reader may not press."""

from typing import Any

from django import template

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act, may

register = template.Library()


@register.simple_tag(takes_context=True, name="may")
def may_tag(context: dict[str, Any], act: str) -> bool:
    """`{% may "files.write" as may_write %}`; an act no policy knows is a programming error."""
    return may(principal_of(context["request"]), Act(act))

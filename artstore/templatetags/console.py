"""How pages show sizes, times, icons and the reader's theme.

Pure presentation: nothing here reads the database or knows an app.
"""

import datetime as dt
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField
from django.templatetags.static import static
from django.utils import formats, translation
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from artstore.logs import request_id_var
from artstore.moments import rfc3339
from artstore.shown import shown

register = template.Library()
# `<bdi>{{ name|shown }}</bdi>`: a name that neither hides anything nor turns its neighbours round.
register.filter("shown", shown)

THEME_COOKIE = "artstore_theme"
THEMES = ("auto", "light", "dark")


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """An icon of the vendored sprite. It is decoration: what it means stands beside it in words."""
    return format_html(
        '<svg class="icon{}" aria-hidden="true"><use href="{}#{}"/></svg>',
        f" {classes}" if classes else "",
        static("vendor/tabler-icons/sprite.svg"),
        name,
    )


def human_size(size_bytes: int) -> str:
    """Binary units with three significant digits: 982 B, 1.21 MiB, 64.0 GiB."""
    units = (_("B"), _("KiB"), _("MiB"), _("GiB"), _("TiB"), _("PiB"))
    value = float(size_bytes)
    position = 0
    # 1023.95 would be printed as 1024: such a value belongs to the next unit.
    while value >= 1023.5 and position < len(units) - 1:
        value /= 1024
        position += 1
    decimals = 0 if position == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{formats.number_format(value, decimals, use_l10n=True)}\u00a0{units[position]}"


def exact_size(size_bytes: int) -> str:
    number = formats.number_format(size_bytes, use_l10n=True, force_grouping=True)
    return ngettext("%(number)s byte", "%(number)s bytes", size_bytes) % {"number": number}


@register.filter
def size(size_bytes: int | None) -> str | SafeString:
    """The size for people, with the exact one on hover."""
    if size_bytes is None:
        return "\u2013"
    return format_html(
        '<data value="{}" title="{}">{}</data>',
        size_bytes,
        exact_size(size_bytes),
        human_size(size_bytes),
    )


@register.filter
def exact_bytes(size_bytes: int) -> str:
    return exact_size(size_bytes)


@register.filter
def count(number: int) -> str:
    """A whole number grouped by thousands as the language does it."""
    return formats.number_format(number, use_l10n=True, force_grouping=True)


@register.filter
def moment(when: dt.datetime | None) -> str | SafeString:
    """A time in UTC that a script turns into the browser's zone; the exact UTC shows on hover."""
    return _time(when, "data-local")


@register.filter
def relative(when: dt.datetime | None) -> str | SafeString:
    """A time that a script turns into a distance from now, such as "3 minutes ago"."""
    return _time(when, "data-relative")


def _time(when: dt.datetime | None, kind: str) -> str | SafeString:
    if when is None:
        return "\u2013"
    utc = when.astimezone(dt.UTC)
    return format_html(
        '<time datetime="{}" title="{}" {}>{}</time>',
        rfc3339(utc),
        utc.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        kind,
        formats.date_format(utc, "j M Y, H:i") + " UTC",
    )


@register.filter
def control(field: BoundField) -> SafeString:
    """A form field's widget dressed for the theme, with its errors tied to it for screen readers."""
    kind = {"select": "form-select", "checkbox": "form-check-input", "radioselect": ""}
    classes = kind.get(field.widget_type, "form-control")
    attrs: dict[str, str | bool] = {"class": f"{classes} is-invalid" if field.errors else classes}
    if field.errors:
        attrs["aria-errormessage"] = f"{field.auto_id}_error"
    return field.as_widget(attrs=attrs)


@register.simple_tag(takes_context=True)
def theme(context: dict[str, Any]) -> str:
    """The reader's choice: auto, light or dark."""
    request = context.get("request")
    chosen = request.COOKIES.get(THEME_COOKIE) if request else None
    return chosen if chosen in THEMES else "auto"


@register.simple_tag
def request_id() -> str:
    return request_id_var.get()


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], prefix: str) -> str:
    """`aria-current` and the class of the menu's entry that leads to this page's section."""
    request = context.get("request")
    names = request.resolver_match.url_name if request and request.resolver_match else ""
    return "active" if names and names.split("-")[0] == prefix else ""


@register.simple_tag
def languages() -> list[dict[str, Any]]:
    """The languages of the console, each by its own name, so they are never translated."""
    current = translation.get_language()
    return [
        {"code": code, "name": name, "current": code == current}
        for code, name in settings.LANGUAGES
    ]


@register.inclusion_tag("parts/sortable.html", takes_context=True)
def sortable(
    context: dict[str, Any], column: str, label: str, target: str, classes: str = ""
) -> dict[str, str]:
    """A column's heading: a link that sorts the list by it, or the other way round if it already is."""
    given = context["request"].GET.copy()
    current = given.pop("sort", [""])[-1]
    given.pop("page", None)
    given["sort"] = f"-{column}" if current == column else column
    directions = {column: "ascending", f"-{column}": "descending"}
    return {
        "label": label,
        "target": target,
        "classes": classes,
        "href": f"?{given.urlencode()}",
        "direction": directions.get(current, "none"),
    }

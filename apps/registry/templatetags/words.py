"""How elements, files and sync runs are named and coloured on pages. One word and one look each."""

import datetime as dt
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apps.registry import reasons
from apps.registry.models import FileRecord

register = template.Library()

# value -> (words, colour); the colour only repeats what the words say.
ELEMENT_STATUSES = {
    "online": (_("Online"), "green"),
    "degraded": (_("Degraded"), "yellow"),
    "offline": (_("Offline"), "red"),
    "maintenance": (_("Maintenance"), "azure"),
}
FILE_STATUSES = {
    "active": (pgettext_lazy("file", "Active"), "green"),
    "expired": (pgettext_lazy("file", "Expired"), "yellow"),
    "deleted": (pgettext_lazy("file", "Deleted"), "red"),
}
RETENTIONS = {
    "temporary": (_("Temporary"), "azure"),
    "permanent": (_("Permanent"), "indigo"),
}
RUN_STATUSES = {
    "running": (_("Running"), "blue"),
    "succeeded": (_("Succeeded"), "green"),
    "failed": (_("Failed"), "red"),
    "needs_confirmation": (_("Waits for your word"), "yellow"),
    "abandoned": (_("Abandoned"), "yellow"),
}
MODES = {
    "edit": _("Files may be added, edited and deleted; temporary files live here."),
    "rw": _("Files may be added and edited, not deleted; permanent files live here."),
    "ro": _("Files may be read; nothing is added, edited or deleted."),
    "ar": _("Archived: attributes may be read, the bytes not."),
}
RUN_KINDS = {"full": _("Full"), "changes": _("Changes")}
RUN_TRIGGERS = {
    "periodic": _("Periodic"),
    "manual": _("By hand"),
    "registration": _("Registration"),
    "recovery": _("Recovery"),
}
DELETION_REASONS = {
    "user": _("Deleted by a user"),
    "expired": _("Its time ran out"),
    "missing_on_element": _("Missing on its element"),
    "element_removed": _("Its element was removed"),
}

DEPENDENCIES = {
    "database": _("Database"),
    "workers": _("Background workers"),
    "indexes": _("Search indexes"),
}
# What health checks say, here so that it has words in every language.
SAID_BY_CHECKS = (
    _("no background worker gave a sign of life lately"),
    _("search indexes are built when the first load of an element has ended"),
)
# And what nodes say of their disks.
SAID_BY_NODES = (
    _("the disk failed (%(error)s)"),
    _("a checkpoint failed (%(error)s)"),
    _("the log could not be synced (%(error)s)"),
    _("an upload could not be synced (%(error)s)"),
    _("a durable change could not be applied (%(error)s)"),
    _("room could not be kept ready (%(error)s)"),
    _("the thread that writes has ended, see the log"),
    _("stopped while the disk was full"),
)

FINDINGS = {
    "orphaned_file": _("Bytes without attributes"),
    "missing_file": _("Bytes missing"),
    "size_mismatch": _("Wrong size"),
    "checksum_mismatch": _("Wrong checksum"),
    "corrupt_attributes": _("Unreadable attributes"),
    "index_mismatch": _("Index out of step"),
}


def _badge(words: Any, colour: str) -> SafeString:
    return format_html('<span class="badge badge-{}">{}</span>', colour, words)


def _dotted(words: Any, colour: str) -> SafeString:
    return format_html(
        '<span class="state"><span class="state-dot dot-{}"></span>{}</span>', colour, words
    )


@register.filter
def element_status(value: str) -> SafeString:
    return _dotted(*ELEMENT_STATUSES.get(value, (value, "secondary")))


@register.filter
def file_status(value: str) -> SafeString:
    return _dotted(*FILE_STATUSES.get(value, (value, "secondary")))


@register.filter
def retention(value: str) -> SafeString:
    return _badge(*RETENTIONS.get(value, (value, "secondary")))


@register.filter
def run_status(value: str) -> SafeString:
    return _dotted(*RUN_STATUSES.get(value, (value, "secondary")))


@register.filter
def mode(value: str) -> SafeString:
    """The mode's own word, as in the API; what it allows on hover."""
    return format_html(
        '<span class="badge badge-mode" title="{}">{}</span>', MODES.get(value, ""), value
    )


@register.filter
def mode_meaning(value: str) -> Any:
    return MODES.get(value, "")


@register.filter
def words(value: str, kind: str) -> Any:
    """The plain words of a value: `{{ run.kind|words:"run_kind" }}`."""
    tables: dict[str, dict[str, Any]] = {
        "run_kind": RUN_KINDS,
        "run_trigger": RUN_TRIGGERS,
        "deletion": DELETION_REASONS,
        "finding": FINDINGS,
        "dependency": DEPENDENCIES,
    }
    plain = {"retention": RETENTIONS, "file_status": FILE_STATUSES, "status": ELEMENT_STATUSES}
    if kind in plain:
        return plain[kind].get(value, (value, ""))[0]
    return tables[kind].get(value, value)


@register.filter
def said(text: object) -> str:
    """A reason kept as text, in the reader's language."""
    return reasons.said_again(str(text or ""))


@register.filter
def status_now(file: FileRecord) -> str:
    """A file's status at this moment, which its record may not say yet."""
    return file.status_at(timezone.now())


# What a browser shows by itself and cannot be hurt by: as a picture no script in it runs.
_PICTURES = frozenset(
    f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif", "bmp", "svg+xml", "x-icon")
)
_APPLICATIONS = ("json", "x-ndjson", "yaml", "x-yaml", "xml", "toml", "javascript", "sql", "x-sh")
_TEXTS = ("text/", "message/rfc822", *(f"application/{kind}" for kind in _APPLICATIONS))
MOST_PICTURE_BYTES = 20 * 1024 * 1024


@register.filter
def preview_kind(file: FileRecord) -> str:
    """How the file can be looked at: picture, text, or not at all."""
    kind = file.content_type.partition(";")[0].strip().lower()
    if kind in _PICTURES:
        return "picture" if file.size <= MOST_PICTURE_BYTES else ""
    return "text" if kind.startswith(_TEXTS) or kind.endswith(("+json", "+xml")) else ""


EDITED_FIELDS = {
    "description": _("description"),
    "tags": _("tags"),
    "metadata": _("metadata"),
}


@register.filter
def edited_fields(names: list[str]) -> str:
    """What an edit changed, in words."""
    return ", ".join(str(EDITED_FIELDS.get(name, name)) for name in names)


@register.filter
def spoken(text: object) -> dt.datetime | None:
    """A time as a node says it in JSON."""
    try:
        return dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None


@register.inclusion_tag("registry/parts/capacity.html")
def capacity(used_bytes: int, capacity_bytes: int, label: str) -> dict[str, Any]:
    """A bar of used against capacity, with both in words; amber from 80, red from 95 per cent."""
    percent = 100 * used_bytes / capacity_bytes if capacity_bytes else 0.0
    level = "danger" if percent >= 95 else "warning" if percent >= 80 else "normal"
    return {
        "used_bytes": used_bytes,
        "capacity_bytes": capacity_bytes,
        "percent": round(percent, 1),
        "level": level,
        "label": label,
    }


# Enough of a content type to choose a picture by.
_ICONS = (
    ("application/pdf", "file-type-pdf"),
    ("application/zip", "file-zip"),
    ("application/gzip", "file-zip"),
    ("application/x-tar", "file-zip"),
    ("application/json", "file-code"),
    ("application/vnd.ms-excel", "file-spreadsheet"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml", "file-spreadsheet"),
    ("text/csv", "file-spreadsheet"),
    ("text/html", "file-code"),
    ("text/", "file-text"),
    ("image/", "photo"),
    ("audio/", "music"),
    ("video/", "video"),
)


@register.filter
def file_icon(content_type: str) -> str:
    return next((name for prefix, name in _ICONS if content_type.startswith(prefix)), "file")

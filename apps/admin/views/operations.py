"""The pages of signing keys and of the audit log."""

import csv
import json
from collections.abc import Iterator

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.admin import keys
from apps.admin.authentication import principal_of
from apps.admin.forms.operations import AuditFilter, RotateKeyForm
from apps.admin.models import AuditEvent, SigningKey
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from artstore.errors import ArtStoreError
from artstore.moments import rfc3339
from artstore.pages import CsvLine, explain, form_page, page, page_of

KEYS_SHOWN = 20


@require_safe
@guard(Act.KEYS_READ)
def key_list(request: HttpRequest) -> HttpResponse:
    shown = SigningKey.objects.order_by("-created_at", "kid")[:KEYS_SHOWN]
    context = {"keys": shown, "now": timezone.now()}
    return page(request, "admin/keys.html", "admin/parts/keys.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.KEYS_ROTATE)
def rotate_key(request: HttpRequest) -> HttpResponse:
    form = RotateKeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        emergency = form.cleaned_data["emergency"]
        try:
            done = keys.rotate(principal_of(request), timezone.now(), emergency=emergency)
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("Tokens are signed with the new key from now on."))
            if done.warning:
                messages.warning(request, done.warning)
            return redirect("console:keys")
    return form_page(request, "admin/key_rotate.html", {"form": form})


@require_safe
@guard(Act.AUDIT_READ)
def audit_list(request: HttpRequest) -> HttpResponse:
    form = AuditFilter(request.GET)
    context = {"form": form, "events": page_of(form.found(), request)}
    return page(request, "admin/audit.html", "admin/parts/audit.html", context)


@require_safe
@guard(Act.AUDIT_READ)
def audit_export(request: HttpRequest) -> HttpResponseBase:
    form = AuditFilter(request.GET)
    if not form.is_valid():
        return audit_list(request)
    events = form.found().iterator(chunk_size=2000)
    response = StreamingHttpResponse(_csv(events), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="artstore-audit.csv"'
    return response


def _csv(events: Iterator[AuditEvent]) -> Iterator[str]:
    writer = csv.writer(CsvLine())
    yield writer.writerow(["at", "actor", "kind", "action", "target", "details", "request_id"])
    for event in events:
        details = json.dumps(event.details, ensure_ascii=False)
        cells = (event.actor, event.actor_kind, event.action, event.target, details)
        yield writer.writerow([rfc3339(event.at), *map(CsvLine.tame, cells), event.request_id])

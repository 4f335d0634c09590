"""What an operator starts on a storage element, each a form of one button, and what came of it."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.registry import elements, probing, sync, tasks
from apps.registry.elements import ElementEdit
from apps.registry.forms.elements import ModeForm
from apps.registry.models import SyncTrigger
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page, notice_error, page


def _acting(request: HttpRequest, element_id: uuid.UUID, act: Callable[[], str]) -> HttpResponse:
    """Do it, say how it went, and return to the element."""
    try:
        messages.success(request, act())
    except ArtStoreError as refused:
        notice_error(request, refused)
    return redirect("console:elements-detail", element_id)


@require_POST
@guard(Act.ELEMENTS_OPERATE)
def probe(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    def act() -> str:
        probing.probe(elements.get(element_id), timezone.now())
        return _("The element was asked how it is.")

    return _acting(request, element_id, act)


@require_POST
@guard(Act.ELEMENTS_OPERATE)
def start_sync(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    wanted = sync.Request(
        SyncTrigger.MANUAL,
        full="full" in request.POST,
        allow_mass_delete="allow_mass_delete" in request.POST,
        requested_by=principal_of(request).subject,
    )
    try:
        run = sync.claim(elements.get(element_id), wanted)
    except ArtStoreError as refused:
        notice_error(request, refused)
        return redirect("console:elements-detail", element_id)
    tasks.enqueue_sync(run.pk)
    return redirect("console:runs-detail", run.pk)


@require_http_methods(["GET", "POST"])
@guard(Act.ELEMENTS_OPERATE)
def change_mode(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    found = elements.get(element_id)
    given = request.POST if request.method == "POST" else request.GET
    form = ModeForm(found, given, asked=request.method == "POST")
    if request.method == "POST" and form.is_valid():
        try:
            elements.change_mode(element_id, form.move, principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            words = {"name": found.name, "mode": form.move[0]}
            messages.success(request, _("%(name)s is now in mode %(mode)s.") % words)
            return redirect("console:elements-detail", element_id)
    context = {"element": found, "form": form, "target": given.get("target_mode", "")}
    return form_page(request, "registry/element_mode.html", context)


@require_POST
@guard(Act.ELEMENTS_ADMIN)
def maintenance(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    """Take an element out of use, or back into it."""
    begins = request.POST.get("on") == "1"

    def act() -> str:
        changes = ElementEdit(maintenance=begins)
        elements.edit(element_id, changes, principal_of(request), timezone.now())
        return _("Maintenance has begun.") if begins else _("Maintenance has ended.")

    return _acting(request, element_id, act)


@require_POST
@guard(Act.ELEMENTS_ADMIN)
def accept_instance(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    """An operator's word that another life of the element is the right one."""

    def act() -> str:
        changes = ElementEdit(accept_instance_id=request.POST.get("instance_id", ""))
        elements.edit(element_id, changes, principal_of(request), timezone.now())
        return _("The new instance is accepted; the next sync reads everything.")

    return _acting(request, element_id, act)


@require_POST
@guard(Act.ELEMENTS_OPERATE)
def reconcile(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    def act() -> str:
        elements.start_reconcile(element_id, principal_of(request), timezone.now())
        return _("The element has begun to reconcile. Its findings appear below.")

    return _acting(request, element_id, act)


@require_safe
@guard(Act.ELEMENTS_READ)
def findings(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    """What the node's last reconcile found, asked of the node itself."""
    context: dict[str, Any] = {"element": elements.get(element_id)}
    try:
        context["report"] = elements.last_reconcile(element_id)
    except ArtStoreError as refused:
        context["failure"] = str(refused)
    template, part = "registry/element_findings.html", "registry/parts/findings.html"
    return page(request, template, part, context)


@require_http_methods(["GET", "POST"])
@guard(Act.ELEMENTS_OPERATE)
def collect_garbage(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    """First what would be freed; pressing the button then frees it."""
    found = elements.get(element_id)
    dry_run = request.method != "POST"
    try:
        report = elements.collect_garbage(
            element_id, principal_of(request), timezone.now(), dry_run=dry_run
        )
    except ArtStoreError as refused:
        notice_error(request, refused)
        return redirect("console:elements-detail", element_id)
    context = {"element": found, "report": report, "dry_run": dry_run}
    return render(request, "registry/element_garbage.html", context)

"""The pages of storage elements: finding, registering, looking at, editing and removing them.

What an operator starts on one (sync, mode, reconcile) is in `acts`.
"""

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.admin import audit
from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.registry import elements, tasks
from apps.registry.elements import ElementEdit, Registration
from apps.registry.forms.elements import ElementFilter, ElementForm, RegisterForm, RemoveForm
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page, in_order, page

RUNS_SHOWN = 10
SORTED_BY = ("name", "mode", "status", "used_bytes", "file_count", "last_probe_at")


@require_safe
@guard(Act.ELEMENTS_READ)
def element_list(request: HttpRequest) -> HttpResponse:
    form = ElementFilter(request.GET)
    context = {"form": form, "elements": in_order(form.found(), request, SORTED_BY)}
    return page(request, "registry/elements.html", "registry/parts/elements.html", context)


@require_safe
@guard(Act.ELEMENTS_READ)
def element(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    found = elements.get(element_id)
    runs = found.sync_runs.order_by("-started_at", "id")[:RUNS_SHOWN]
    history = audit.about(f"element:{found.storage_id}")
    context = {"element": found, "runs": runs, "history": history}
    return page(request, "registry/element.html", "registry/parts/element.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.ELEMENTS_ADMIN)
def register(request: HttpRequest) -> HttpResponse:
    """Two steps on one form: ask the address what it is, then register what it said."""
    form = RegisterForm(request.POST or None)
    discovery = None
    if form.is_valid():
        try:
            discovery = elements.discover(form.cleaned_data["url"], form.cleaned_data["ca_pem"])
            if "register" in request.POST and form.has_name():
                return _register(request, form)
        except ArtStoreError as refused:
            explain(form, refused)
    context = {"form": form, "discovery": discovery}
    return form_page(request, "registry/register.html", context)


def _register(request: HttpRequest, form: RegisterForm) -> HttpResponse:
    done = elements.register(
        Registration(**form.cleaned_data), principal_of(request), timezone.now()
    )
    tasks.enqueue_sync(done.run.pk)
    name = {"name": done.element.name}
    messages.success(request, _("%(name)s is registered; its first sync has begun.") % name)
    return redirect("console:runs-detail", done.run.pk)


@require_http_methods(["GET", "POST"])
@guard(Act.ELEMENTS_ADMIN)
def edit(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    found = elements.get(element_id)
    form = ElementForm.of(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        clashes = form.clashes(form.changes())
        if clashes:
            context = {"element": found, "form": form.over_what_is_stored(), "clashes": clashes}
            return render(request, "registry/element_edit.html", context, status=409)
        changes = ElementEdit(**form.changes())
        try:
            elements.edit(element_id, changes, principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("The changes are stored."))
            return redirect("console:elements-detail", element_id)
    return form_page(request, "registry/element_edit.html", {"element": found, "form": form})


@require_http_methods(["GET", "POST"])
@guard(Act.ELEMENTS_ADMIN)
def remove(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    found = elements.get(element_id)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        force = form.cleaned_data["force"]
        try:
            elements.remove(element_id, principal_of(request), timezone.now(), force=force)
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("%(name)s is removed.") % {"name": found.name})
            return redirect("console:elements")
    context = {"element": found, "form": form}
    if request.method == "POST":
        return form_page(request, "registry/element_remove.html", context)
    return render(request, "registry/element_remove.html", context)

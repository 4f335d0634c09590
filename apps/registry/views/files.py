"""The pages of one file. Finding files is the query app's, adding them the ingester's."""

import uuid
from typing import Any

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
from apps.registry import editing, verifying
from apps.registry.editing import FileEdit
from apps.registry.forms.files import FileForm
from apps.registry.models import FileStatus
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page, page
from artstore.shown import shown


@require_safe
@guard(Act.FILES_READ)
def file(request: HttpRequest, file_id: uuid.UUID) -> HttpResponse:
    found = editing.get(file_id)
    address = request.build_absolute_uri(f"/api/v1/files/{file_id}/download")
    edits = [event for event in audit.about(f"file:{file_id}") if event.action == "file.edit"]
    context = {
        "file": found,
        "download_address": address,
        "edits": reversed(edits),
        "now": timezone.now(),
    }
    return render(request, "registry/file.html", context)


@require_safe
@guard(Act.FILES_READ)
def verified(request: HttpRequest, file_id: uuid.UUID) -> HttpResponse:
    """When the element last checked the file; asked of it after the page is there."""
    context: dict[str, Any] = {"file": editing.get(file_id)}
    try:
        context["verified_at"] = verifying.last_verified(file_id, principal_of(request))
    except ArtStoreError as refused:
        context["failure"] = str(refused)
    return page(request, "registry/file_verified.html", "registry/parts/verified.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.FILES_WRITE)
def edit_file(request: HttpRequest, file_id: uuid.UUID) -> HttpResponse:
    found = editing.get(file_id)
    form = FileForm.of(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        clashes = form.clashes(form.changes())
        if clashes:
            context = {"file": found, "form": form.over_what_is_stored(), "clashes": clashes}
            return render(request, "registry/file_edit.html", context, status=409)
        try:
            _edit(request, file_id, form)
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            return redirect("console:files-detail", file_id)
    return form_page(request, "registry/file_edit.html", {"file": found, "form": form})


def _edit(request: HttpRequest, file_id: uuid.UUID, form: FileForm) -> None:
    changes = form.changes()
    if changes:
        editing.edit_file(file_id, FileEdit(changes), principal_of(request), timezone.now())
        messages.success(request, _("The changes are stored."))
    else:
        messages.info(request, _("Nothing was changed."))


@require_http_methods(["GET", "POST"])
@guard(Act.FILES_WRITE)
def delete_file(request: HttpRequest, file_id: uuid.UUID) -> HttpResponse:
    found = editing.get(file_id)
    if request.method != "POST":
        template, part = "registry/file_delete.html", "registry/parts/file_delete.html"
        is_gone = found.status != FileStatus.ACTIVE
        return page(request, template, part, {"file": found, "is_gone": is_gone})
    try:
        editing.delete_file(file_id, principal_of(request), timezone.now())
    except ArtStoreError as refused:
        messages.error(request, str(refused))
        return redirect("console:files-detail", file_id)
    messages.success(request, _("%(name)s is deleted.") % {"name": shown(found.original_filename)})
    return redirect("console:files")

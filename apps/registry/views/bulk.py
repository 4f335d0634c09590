"""Acting on several files of a list: a page that asks, then one that tells what became of each."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.registry import bulk
from apps.registry.bulk import BulkReport
from apps.registry.forms.bulk import ChosenFiles, TagsForm
from apps.registry.models import FileRecord
from artstore import carried
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page


@require_http_methods(["GET", "POST"])
@guard(Act.FILES_WRITE)
def delete_files(request: HttpRequest) -> HttpResponse:
    def act(form: ChosenFiles) -> BulkReport:
        chosen = form.cleaned_data["file_ids"]
        return bulk.delete_files(chosen, principal_of(request), timezone.now())

    return _asked_then_done(request, "registry/bulk_delete.html", ChosenFiles, act)


@require_http_methods(["GET", "POST"])
@guard(Act.FILES_WRITE)
def edit_tags(request: HttpRequest) -> HttpResponse:
    def act(form: ChosenFiles) -> BulkReport:
        assert isinstance(form, TagsForm)
        chosen = form.cleaned_data["file_ids"]
        return bulk.edit_tags(chosen, form.change, principal_of(request), timezone.now())

    return _asked_then_done(request, "registry/bulk_tags.html", TagsForm, act)


def _asked_then_done(
    request: HttpRequest,
    template: str,
    form_class: type[ChosenFiles],
    act: Callable[[ChosenFiles], BulkReport],
) -> HttpResponse:
    """The list sends which files; the page that asks sends them again with `confirmed`.

    Asked for without any, as by loading it again, it says what to do.
    """
    chosen = ChosenFiles(request.POST)
    if not chosen.is_valid():
        messages.warning(request, _("Choose at least one file."))
        return redirect(_back(request))
    files = _shown(chosen.cleaned_data["file_ids"])
    form = form_class(initial=chosen.cleaned_data)
    context: dict[str, Any] = {"form": form, "files": files, "back": _back(request)}
    if "confirmed" not in request.POST:
        return render(request, template, context)
    form = context["form"] = form_class(request.POST)
    if form.is_valid():
        try:
            return _told(request, act(form), files)
        except ArtStoreError as refused:
            explain(form, refused)
    return form_page(request, template, context)


def _back(request: HttpRequest) -> str:
    """The list the files were chosen from, with its search."""
    files, wanted = reverse("console:files"), carried.next_url(request)
    return wanted if wanted.partition("?")[0] == files else files


def _shown(file_ids: list[uuid.UUID]) -> list[FileRecord]:
    rows = FileRecord.objects.visible().filter(pk__in=file_ids[: bulk.MAX_FILES])
    return list(rows.select_related("storage_element").defer("search_vector"))


def _told(request: HttpRequest, report: BulkReport, files: list[FileRecord]) -> HttpResponse:
    done = len(report.done) + len(report.unchanged)
    said = ngettext("%(n)s file is done.", "%(n)s files are done.", done) % {"n": done}
    if not report.refused:
        messages.success(request, said)
        return redirect(_back(request))
    context = {"report": report, "said": said, "all": len(files), "back": _back(request)}
    return render(request, "registry/bulk_report.html", context, status=409)

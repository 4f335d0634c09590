"""The console's doors to finding files, looking into them and getting them out."""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.query import download, exporting, preview, search
from apps.query.asking import SearchQuery
from apps.query.forms import SearchForm
from apps.query.responses import DownloadResponse, ask_of
from apps.query.search import SearchPage
from artstore.errors import ArtStoreError
from artstore.pages import explain, page

ELEMENT_FILES_SHOWN = 10


@require_safe
@guard(Act.FILES_READ)
def files(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    asked, found = _search(form)
    context = {"form": form, "asked": asked, "found": found}
    response = page(request, "query/files.html", "query/parts/results.html", context)
    response.status_code = 200 if found else 422
    return response


def _search(form: SearchForm) -> tuple[SearchQuery | None, SearchPage | None]:
    if not form.is_valid():
        return None, None
    asked = form.search()
    try:
        return asked, search.run(asked, timezone.now())
    except ArtStoreError as refused:
        explain(form, refused)
        return asked, None


@require_safe
@guard(Act.FILES_READ)
def download_file(request: HttpRequest, file_id: uuid.UUID) -> StreamingHttpResponse:
    ask = ask_of(request, inline=request.GET.get("disposition") == "inline")
    found = download.open_file(file_id, ask, principal_of(request), timezone.now())
    return DownloadResponse(found, request)


@require_safe
@guard(Act.FILES_READ)
def preview_text(request: HttpRequest, file_id: uuid.UUID) -> HttpResponse:
    """How a text begins; asked for by the file's page once it is there."""
    context: dict[str, Any] = {"file_id": file_id}
    try:
        context["preview"] = preview.beginning(file_id, principal_of(request), timezone.now())
    except ArtStoreError as refused:
        context["failure"] = str(refused)
    return page(request, "query/preview.html", "query/parts/preview.html", context)


@require_safe
@guard(Act.FILES_READ)
def export_files(request: HttpRequest) -> HttpResponseBase:
    """The whole result as CSV, from the same address fields as the page."""
    form = SearchForm(request.GET)
    if not form.is_valid():
        return files(request)
    found = exporting.export(form.search(), principal_of(request), timezone.now())
    response = StreamingHttpResponse(found.lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{found.filename}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_safe
@guard(Act.ELEMENTS_READ)
def element_files(request: HttpRequest, element_id: uuid.UUID) -> HttpResponse:
    """The newest files of one element, as a part of its page."""
    asked = SearchQuery(element_id=element_id, limit=ELEMENT_FILES_SHOWN)
    context = {"found": search.run(asked, timezone.now()), "element_id": element_id}
    template, part = "query/element_files.html", "query/parts/element_files.html"
    return page(request, template, part, context)

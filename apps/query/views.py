"""The console's doors to finding files and getting them out."""

import uuid

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.query import download, search
from apps.query.asking import SearchQuery
from apps.query.forms import SearchForm
from apps.query.responses import DownloadResponse, ask_of
from apps.query.search import SearchPage
from artstore.errors import ArtStoreError
from artstore.pages import explain, page


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

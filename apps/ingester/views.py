"""The console's door to uploads: a page with a form, and the same form sent file by file by its script.

Django's CSRF middleware would read the whole body to find its token, so the page is exempt from it
and checks the token itself, once the fields before the file are read and before the file is.
"""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.ingester import incoming, upload
from apps.ingester.api import head_of, open_body
from apps.ingester.body import ClientBody
from apps.ingester.forms import UploadForm, as_sent_to_the_api
from apps.ingester.multipart import FormReader
from apps.ingester.upload import Stored, Uploader
from artstore.api import error_response
from artstore.errors import ArtStoreError
from artstore.pages import explain
from artstore.shown import shown


@csrf_exempt
@require_http_methods(["GET", "POST"])
@guard(Act.FILES_WRITE)
def upload_page(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(request, UploadForm(), None)
    body = open_body(request)
    try:
        return _receive(request, body)
    except ArtStoreError as refused:
        return _refused(request, refused)


def _receive(request: HttpRequest, body: ClientBody) -> HttpResponse:
    head = head_of(request)
    # Until the form says more, so that nothing tries to find it by reading the body.
    request.POST = QueryDict()
    incoming.check_declared_size(head, body.declared_bytes)
    form = incoming.begin_form(head, body)
    posted = QueryDict(mutable=True)
    for name, values in form.fields.items():
        posted.setlist(name, values)
    request.POST = posted  # type: ignore[assignment]  # the stubs know only a frozen one
    return _store(request, form)


@csrf_protect
def _store(request: HttpRequest, form: FormReader) -> HttpResponse:
    given = request.POST
    # Browsers write a quote in a form's file name as %22; the script sends the name itself.
    form.file.filename = given.get("filename") or form.file.filename.replace("%22", '"')
    form.fields = as_sent_to_the_api(form.fields)
    file = incoming.open_form(head_of(request), form)
    uploader = Uploader(principal_of(request), given.get("idempotency_key"))
    return _stored(request, upload.store_upload(file, uploader, timezone.now()))


def _stored(request: HttpRequest, stored: Stored) -> HttpResponse:
    record = stored.record
    address = reverse("console:files-detail", args=[record.file_id])
    if _wants_json(request):
        return JsonResponse(
            {"file_id": str(record.file_id), "url": address}, status=201 if stored.created else 200
        )
    messages.success(request, _("%(name)s is stored.") % {"name": shown(record.original_filename)})
    return redirect(address)


def _refused(request: HttpRequest, error: ArtStoreError) -> HttpResponse:
    if _wants_json(request):
        return error_response(error)
    form = UploadForm(request.POST)
    form.is_valid()
    explain(form, error)
    return _page(request, form, error)


def _page(request: HttpRequest, form: UploadForm, error: ArtStoreError | None) -> HttpResponse:
    context: dict[str, Any] = {
        "form": form,
        "max_bytes": settings.ARTSTORE_MAX_FILE_BYTES,
    }
    return render(request, "ingester/upload.html", context, status=error.status if error else 200)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "") == "application/json"

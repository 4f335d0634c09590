"""HTML glue: page or fragment, notices, and `ArtStoreError` to a page.

One view renders the whole page, or for HTMX the fragment that page includes, so markup exists
once. Role checks live in `apps.admin.permissions`, not here.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any, TypeVar

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.core.paginator import Page, Paginator
from django.db.models import F, Model, QuerySet
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from artstore import carried
from artstore.api import is_api, plain_error
from artstore.errors import ArtStoreError
from artstore.paging import MAX_OFFSET
from artstore.templatetags.console import human_size

M = TypeVar("M", bound=Model)
View = Callable[..., HttpResponse]
# Few enough that a page of the longest texts stays small.
ROWS_PER_PAGE = 25
# What makes a spreadsheet run a cell; in full width too, for programs that fold it.
_FORMULA_BEGINS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def page(
    request: HttpRequest, template: str, fragment: str, context: Mapping[str, Any]
) -> TemplateResponse:
    """Render `template`, or only `fragment` when HTMX asks for a part of the page."""
    htmx: Any = getattr(request, "htmx", None)
    is_htmx = htmx is not None and bool(htmx)
    wants_part = is_htmx and not htmx.boosted and not htmx.history_restore_request
    return TemplateResponse(request, fragment if wants_part else template, dict(context))


def form_page(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """A page around a form; 422 when the form was sent and refused, so that scripts notice too."""
    form = context["form"]
    refused = form.is_bound and bool(form.errors)
    return render(request, template, dict(context), status=422 if refused else 200)


def explain(form: BaseForm, error: ArtStoreError) -> None:
    """Put a verb's refusal where the person looks: at its fields, else above the form."""
    details = error.details or {}
    for field, texts in details.items():
        for text in texts:
            form.add_error(field if field in form.fields else None, text)
    if not details:
        form.add_error(None, str(error))


def in_order(rows: "QuerySet[M]", request: HttpRequest, columns: Container[str]) -> "QuerySet[M]":
    """The rows as `?sort=` wants them: a column, or `-` and a column; anything else changes nothing."""
    wanted = request.GET.get("sort", "")
    column = wanted.removeprefix("-")
    if column not in columns:
        return rows
    field = F(column)
    falling = field.desc(nulls_last=True) if wanted != column else field.asc(nulls_first=True)
    return rows.order_by(falling, "pk")


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts no further than anybody pages, so that a long table costs no more than a short one."""

    @property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # never a plain list here
        return rows.order_by()[:MAX_OFFSET].count()


def page_of(rows: QuerySet[Any], request: HttpRequest) -> "Page[Any]":
    """The page of rows that `?page=` asks for; a number out of range is the nearest page."""
    return _BoundedPaginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))


def notice_error(request: HttpRequest, error: ArtStoreError) -> None:
    """Show a failure as a notice on the next page."""
    messages.error(request, str(error))


class PageLocaleMiddleware(LocaleMiddleware):
    """Pages speak the visitor's language; the REST contract is always English."""

    def process_request(self, request: HttpRequest) -> None:
        if not is_api(request):
            super().process_request(request)
            return
        translation.activate("en")
        request.LANGUAGE_CODE = "en"


class CsvLine:
    """What a `csv.writer` writes to when each line is wanted at once."""

    def write(self, line: str) -> str:
        return line

    @staticmethod
    def tame(cell: str) -> str:
        """A text a spreadsheet would run as a formula, made one it shows."""
        return f"'{cell}" if cell[:1] in _FORMULA_BEGINS else cell


class PrivatePagesMiddleware:
    """Pages show what one person may see: no cache keeps them, not even the browser's."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class ErrorPageMiddleware:
    """An `ArtStoreError` that leaves a page view becomes an error page with the error's status."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, failure: Exception) -> HttpResponse | None:
        if not isinstance(failure, ArtStoreError):
            return None
        return error_page(request, failure.status, str(failure), failure.headers)


def error_page(
    request: HttpRequest, status: int, message: str, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    response = render(request, "error.html", {"status": status, "message": message}, status=status)
    for name, value in (headers or {}).items():
        response.headers[name] = value
    return response


def _handler(request: HttpRequest, status: int, message: Any) -> HttpResponse:
    return plain_error(request, status, message) or error_page(request, status, str(message))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig) and not is_api(request):
        limit = {"limit": human_size(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)}
        said = _("This form holds more than %(limit)s. Shorten its texts and send it again.")
        return _handler(request, 413, said % limit)
    if isinstance(exception, TooManyFieldsSent) and not is_api(request):
        said = _("This form holds more than %(most)s fields. Choose fewer and send it again.")
        return _handler(request, 413, said % {"most": settings.DATA_UPLOAD_MAX_NUMBER_FIELDS})
    return _handler(request, 400, _("The request is malformed."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return _handler(request, 403, _("You may not do this."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return _handler(request, 404, _("There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    return _handler(
        request,
        500,
        _("The server failed to answer. Report the request id to the operator."),
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Who signed in anew meanwhile gets the form back; what another site sent is refused."""
    unsent = carried.of(request) if carried.is_of_our_own(request) else None
    if unsent is None or is_api(request):
        return _handler(
            request,
            403,
            _("This form is too old or came from elsewhere. Reload the page and try again."),
        )
    if request.path == reverse("console:login"):
        unsent = carried.through_login(request)
        if unsent is None:
            return redirect(request.get_full_path())
    if request.user.is_authenticated:
        return carried.offer(request, unsent, status=403)
    return carried.ask_to_log_in(request, unsent)

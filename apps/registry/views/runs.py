"""The pages of sync runs: the list over all elements, and one run as it goes."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.registry import sync
from apps.registry.forms.runs import RunFilter
from artstore.pages import page, page_of


@require_safe
@guard(Act.ELEMENTS_READ)
def run_list(request: HttpRequest) -> HttpResponse:
    form = RunFilter(request.GET)
    context = {"form": form, "runs": page_of(form.found(), request)}
    return page(request, "registry/runs.html", "registry/parts/run_list.html", context)


@require_safe
@guard(Act.ELEMENTS_READ)
def run(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    context = {"run": sync.get(run_id), "now": timezone.now()}
    return page(request, "registry/run.html", "registry/parts/run.html", context)

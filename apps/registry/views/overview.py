"""The console's first page."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.registry import dashboard as overview
from artstore import health
from artstore.pages import page


@require_safe
@guard(Act.ELEMENTS_READ)
def dashboard(request: HttpRequest) -> HttpResponse:
    context = {"dashboard": overview.survey(timezone.now()), "health": health.outcomes()}
    return page(request, "registry/dashboard.html", "registry/parts/dashboard.html", context)

"""Composes the addresses of the modules named in ARTSTORE_MODULES.

Each app's `urls.py` holds up to four lists: `root` (at /), `api` and `busy` (at /api/v1/) and `pages`
(at /console/). Apps are named as strings, so this floor imports none of them.
"""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import import_string
from django.views.generic import RedirectView
from django_prometheus.exports import ExportToDjangoView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation

from artstore import health

Patterns = list[URLPattern | URLResolver]

# What each module serves. Order decides: with `admin` in the process the registry's view answers
# GET /files/{id}; without it, the Query module's cached one does.
_MODULE_PATTERNS = {
    "admin": ("apps.admin.urls.root", "apps.admin.urls.api", "apps.registry.urls.api"),
    "query": ("apps.query.urls.api",),
}
# Doors that are knocked at all day: found before the others are tried. No other address is like theirs.
_BUSY_PATTERNS = {"ingester": "apps.ingester.urls.busy", "query": "apps.query.urls.busy"}
_PAGE_PATTERNS = (
    "apps.admin.urls.pages",
    "apps.registry.urls.pages",
    "apps.ingester.urls.pages",
    "apps.query.urls.pages",
)


class _SchemaView(SpectacularAPIView):
    """The OpenAPI document, as YAML or JSON: the one place where `Accept` chooses."""

    content_negotiation_class = DefaultContentNegotiation


def compose(modules: tuple[str, ...]) -> Patterns:
    """The URL patterns of a process that serves `modules`."""
    root: Patterns = [
        path("health/live", health.live),
        path("health/ready", health.ready),
        path("metrics", ExportToDjangoView),
        path("api/schema", _SchemaView.as_view(), name="schema"),
        path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    ]
    busy = [name for module, name in _BUSY_PATTERNS.items() if module in modules]
    api: Patterns = [pattern for name in busy for pattern in import_string(name)]
    for module, names in _MODULE_PATTERNS.items():
        if module in modules:
            for name in names:
                (root if name.endswith(".root") else api).extend(import_string(name))
    root.insert(0, path("api/v1/", include(api)))
    if "console" in modules:
        pages: Patterns = []
        for name in _PAGE_PATTERNS:
            pages.extend(import_string(name))
        root.append(path("console/", include((pages, "console"))))
        root.append(path("", RedirectView.as_view(pattern_name="console:dashboard")))
    return root


urlpatterns = compose(settings.ARTSTORE_MODULES)

handler400 = "artstore.pages.bad_request"
handler403 = "artstore.pages.permission_denied"
handler404 = "artstore.pages.page_not_found"
handler500 = "artstore.pages.server_error"

"""Which middleware a request meets: pages need much that the REST contract has no use for.

A call under /api/v1/ comes with a token, so it has no session, no messages, no language of its own
and no script to restrain. What guards both lanes (hosts, TLS, refusals, figures) stays in MIDDLEWARE.
"""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.module_loading import import_string

Handler = Callable[[HttpRequest], HttpResponseBase]

API_PREFIX = "/api/v1/"
# An answer of the contract is data: should a browser show one, it loads and runs nothing.
_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
# Django calls these by looking into MIDDLEWARE, where the middleware of pages is not.
_HOOKS = ("process_view", "process_template_response", "process_exception")


class PageMiddleware:
    """`PAGE_MIDDLEWARE`, in its order, around everything but the REST contract."""

    def __init__(self, get_response: Handler) -> None:
        self._api = get_response
        self._page: Handler = get_response
        for name in reversed(settings.PAGE_MIDDLEWARE):
            middleware = import_string(name)(self._page)
            if any(hasattr(middleware, hook) for hook in _HOOKS):
                raise ImproperlyConfigured(f"{name} has hooks and belongs into MIDDLEWARE.")
            self._page = convert_exception_to_response(middleware)  # type: ignore[assignment]  # none of them is async

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(API_PREFIX):
            return self._page(request)
        translation.activate("en")
        response = self._api(request)
        response.headers.setdefault("Content-Security-Policy", _DATA_POLICY)
        return response

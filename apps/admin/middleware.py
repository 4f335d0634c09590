"""What happens around every request: a refusal of somebody we know is written down.

It runs after the view and its transaction are over, so a rollback cannot take the event with it.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from apps.admin import audit, metrics, principals
from apps.admin.models import User
from apps.admin.principals import Principal


class RefusalMiddleware:
    """One `access.refused` event for each 403 given to an authenticated principal."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.status_code == 403:
            principal = _principal(request)
            if principal is not None:
                metrics.REFUSALS.inc()
                target = f"{request.method} {request.path}"
                audit.record(principal, "access.refused", target, {}, timezone.now())
        return response


def _principal(request: HttpRequest) -> Principal | None:
    """DRF leaves its principal on the request; a page leaves the session's user."""
    user = getattr(request, "user", None)
    if isinstance(user, Principal):
        return user
    # The session's user is a lazy object, so its own class is asked, not the wrapper's.
    return principals.of_user(user) if isinstance(user, User) else None

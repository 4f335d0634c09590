"""Liveness and readiness of one Django process, unauthenticated.

Live says the process answers. Ready says it can do its work; each check is a function that
returns nothing when all is well, raises `Degraded` when only part of the work is hindered, and
anything else when the process cannot work.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from artstore import __version__
from artstore.moments import rfc3339

Check = Callable[[], None]


class Degraded(Exception):
    """The process works, but not all of it; the message says what is hindered."""


def _check_database() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("select 1")


CHECKS: dict[str, Check] = {"database": _check_database}


def _head(status: str) -> dict[str, Any]:
    return {
        "status": status,
        "timestamp": rfc3339(timezone.now()),
        "version": __version__,
        "service": "+".join(settings.ARTSTORE_MODULES),
    }


def live(_request: HttpRequest) -> JsonResponse:
    return JsonResponse(_head("ok"))


def ready(_request: HttpRequest) -> JsonResponse:
    checks = outcomes()
    status = _worst(outcome["status"] for outcome in checks.values())
    return JsonResponse(_head(status) | {"checks": checks}, status=503 if status == "fail" else 200)


def outcomes() -> dict[str, dict[str, str]]:
    """What every check of this process says now."""
    return {name: _outcome(check) for name, check in CHECKS.items()}


def _outcome(check: Check) -> dict[str, str]:
    try:
        check()
    except Degraded as reason:
        return {"status": "degraded", "message": str(reason)}
    except Exception as failure:  # noqa: BLE001 - a probe must answer whatever the dependency threw
        # The class alone: a driver's message can hold the connection string.
        return {"status": "fail", "message": type(failure).__name__}
    return {"status": "ok"}


def _worst(statuses: Iterable[str]) -> str:
    order = ("ok", "degraded", "fail")
    return max(statuses, key=order.index, default="ok")

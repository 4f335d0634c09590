"""Scopes and roles: the only place that decides whether a principal may do something.

`ALLOWED` is the whole policy. Doors name an `Act`; nobody else compares scopes or roles.
"""

import enum
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, cast

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect
from rest_framework import exceptions as drf
from rest_framework.permissions import BasePermission

from apps.admin.errors import Refused
from apps.admin.models import Role
from artstore import carried

if TYPE_CHECKING:
    # DRF imports this module, by its setting, while these two are still being defined.
    from rest_framework.request import Request
    from rest_framework.views import APIView

P = ParamSpec("P")


class Act(enum.Enum):
    """What a caller may be allowed to do. One name per kind of act, not per endpoint."""

    FILES_READ = "files.read"
    FILES_WRITE = "files.write"
    FILES_REGISTER = "files.register"
    ELEMENTS_READ = "elements.read"
    ELEMENTS_OPERATE = "elements.operate"
    ELEMENTS_ADMIN = "elements.admin"
    IDENTITY_READ = "identity.read"
    IDENTITY_WRITE = "identity.write"
    KEYS_READ = "keys.read"
    KEYS_ROTATE = "keys.rotate"
    AUDIT_READ = "audit.read"
    OWN_ACCOUNT = "account.own"
    SEE_ELEMENT_ID = "elements.see_id"
    SEE_ELEMENT_URL = "elements.see_url"


class Bearer(Protocol):
    """The part of a principal that decides: what it is, its role and its scopes."""

    @property
    def role(self) -> str | None: ...
    @property
    def scopes(self) -> frozenset[str]: ...


@dataclass(frozen=True)
class Grant:
    """Who may: any of `roles`, or whoever holds all scopes of one of `scope_sets`."""

    roles: frozenset[str]
    scope_sets: tuple[frozenset[str], ...] = ()

    def covers(self, principal: Bearer) -> bool:
        if principal.role is not None:
            return principal.role in self.roles
        return any(needed <= principal.scopes for needed in self.scope_sets)


_ADMIN = frozenset({Role.ADMIN.value})
_EVERY_ROLE = frozenset(Role.values)


def _grant(roles: frozenset[str], *scope_sets: str) -> Grant:
    """Each of `scope_sets` is a set of scopes separated by spaces; one whole set suffices."""
    return Grant(roles, tuple(frozenset(scopes.split()) for scopes in scope_sets))


ALLOWED: Mapping[Act, Grant] = {
    Act.FILES_READ: _grant(_EVERY_ROLE, "files:read"),
    Act.FILES_WRITE: _grant(_ADMIN, "files:write"),
    Act.FILES_REGISTER: _grant(_ADMIN, "files:write storage:write"),
    Act.ELEMENTS_READ: _grant(_EVERY_ROLE, "storage:read"),
    Act.ELEMENTS_OPERATE: _grant(_ADMIN, "storage:write"),
    Act.ELEMENTS_ADMIN: _grant(_ADMIN),
    Act.IDENTITY_READ: _grant(_EVERY_ROLE, "admin:read"),
    Act.IDENTITY_WRITE: _grant(_ADMIN, "admin:write"),
    Act.KEYS_READ: _grant(_EVERY_ROLE, "admin:read"),
    Act.KEYS_ROTATE: _grant(_ADMIN, "admin:write"),
    Act.AUDIT_READ: _grant(_EVERY_ROLE, "admin:read"),
    Act.OWN_ACCOUNT: _grant(_EVERY_ROLE),
    Act.SEE_ELEMENT_ID: _grant(_EVERY_ROLE, "admin:read", "storage:read"),
    Act.SEE_ELEMENT_URL: _grant(_EVERY_ROLE),
}


def may(principal: Bearer, act: Act) -> bool:
    return ALLOWED[act].covers(principal)


def require(principal: Bearer, act: Act) -> None:
    """Raise `Refused` (403) unless the principal may; the refusal is audited after rollback."""
    if not may(principal, act):
        raise Refused(
            _("Your role or scopes do not allow this (%(act)s). Ask an administrator for access.")
            % {"act": act.value}
        )


class Nobody(BasePermission):
    """The default of every view: a door that names no act is open to nobody."""

    def has_permission(self, request: "Request", view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
        return False


class Anyone(BasePermission):
    """For the few doors that ask for no token; naming it is a decision one can find."""

    def has_permission(self, request: "Request", view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
        return True


class ByMethod(BasePermission):
    """Base of the classes `allow` makes: one act per HTTP method, nothing for the others."""

    acts: Mapping[str, Act] = {}

    def has_permission(self, request: "Request", view: "APIView") -> bool:
        method = request.method or ""
        if not request.user:
            return False
        act = self.acts.get(method)
        if act is None:
            if method != "OPTIONS" and hasattr(view, method.lower()):
                return False
            raise drf.MethodNotAllowed(method)
        require(cast("Bearer", request.user), act)
        return True


def allow(**acts: Act) -> type[ByMethod]:
    """A DRF permission class: `allow(GET=Act.FILES_READ, DELETE=Act.FILES_WRITE)`."""
    if "GET" in acts:
        acts.setdefault("HEAD", acts["GET"])
    return type("Allow", (ByMethod,), {"acts": acts})


View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def page(act: Act, **acts: Act) -> Callable[[View[P]], View[P]]:
    """Guard of a page view: `@page(Act.FILES_READ, POST=Act.FILES_WRITE)`.

    Nobody signed in: to the login page and back. Signed in without the role: 403, audited.
    """

    def guard(view: View[P]) -> View[P]:
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _to_login(request)
            bearer = _SessionBearer(getattr(request.user, "role", None))
            require(bearer, acts.get(request.method or "", act))
            return view(request, *args, **kwargs)

        return cast("View[P]", guarded)

    return guard


@dataclass(frozen=True)
class _SessionBearer:
    """A signed-in person as far as permission goes."""

    role: str | None
    scopes: frozenset[str] = frozenset()


def _to_login(request: HttpRequest) -> HttpResponse:
    htmx: Any = getattr(request, "htmx", None)
    if htmx:
        # A redirect would be followed by the script and the login form swapped into a fragment.
        target = redirect_to_login(htmx.current_url_abs_path or resolve_url("console:dashboard"))
        return HttpResponseClientRedirect(target.url)
    # Asked here too: not every page that is guarded has had its token checked by now.
    unsent = carried.of(request) if carried.is_of_our_own(request) else None
    if unsent is not None:
        return carried.ask_to_log_in(request, unsent)
    target = redirect_to_login(request.get_full_path())
    # A body with a file in it cannot be carried along; the login page says so.
    return redirect(f"{target.url}&unsent=1") if request.method == "POST" else target

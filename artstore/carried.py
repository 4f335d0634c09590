"""A form that arrived too late: the session of whoever typed it, or its token, had ended by then.

Its fields travel on, hidden in the login page and then in a page that offers to send them again, so
that nothing typed is lost and the server keeps nothing. Passwords are not carried; files cannot be.
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

PREFIX = "carried-"
_FORM = "application/x-www-form-urlencoded"
_NOT_CARRIED = ("password", "repeated", "csrfmiddlewaretoken")
# What a page adds to a form for itself: nobody typed it.
_NOT_TYPED = ("initial-", "file_ids", "confirmed", "register", "full", "next", "opened_at")


@dataclass(frozen=True)
class Unsent:
    """The fields of a form, and the address they were for."""

    address: str
    fields: tuple[tuple[str, str], ...]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """The fields under names that collide with none of the login form's."""
        return [(PREFIX + name, value) for name, value in self.fields]

    @property
    def typed(self) -> list[tuple[str, str]]:
        """What the person recognises as theirs."""
        return [
            (name, value)
            for name, value in self.fields
            if value.strip() and not name.startswith(_NOT_TYPED)
        ]


def of(request: HttpRequest) -> Unsent | None:
    """What came with this request; None where it is no form, or one with a file in it."""
    if request.method != "POST" or request.content_type != _FORM or not request.POST:
        return None
    return Unsent(request.get_full_path(), _fields(request, ""))


def through_login(request: HttpRequest) -> Unsent | None:
    """What the login form carries; None where it carries nothing."""
    fields = _fields(request, PREFIX)
    return Unsent(after_login(request), fields) if fields else None


def next_url(request: HttpRequest) -> str:
    """Where the form wants to return to, if that is on this site; else the dashboard."""
    wanted = _wanted(request)
    return wanted if _is_here(request, wanted) else reverse("console:dashboard")


def after_login(request: HttpRequest) -> str:
    """The same for the login form: not to the login page, but to what that would have led to."""
    login, wanted = reverse("console:login"), _wanted(request)
    while _is_here(request, wanted) and urlsplit(wanted).path == login:
        wanted = parse_qs(urlsplit(wanted).query).get("next", [""])[0]
    return wanted if _is_here(request, wanted) else reverse("console:dashboard")


def _wanted(request: HttpRequest) -> str:
    return request.POST.get("next") or request.GET.get("next") or ""


def _is_here(request: HttpRequest, address: str) -> bool:
    hosts = {request.get_host()}
    return url_has_allowed_host_and_scheme(address, hosts, require_https=request.is_secure())


def is_of_our_own(request: HttpRequest) -> bool:
    """Whether a page of this site sent it. Browsers say so in `Origin`, which no page can forge."""
    own = f"{request.scheme}://{request.get_host()}"
    return request.headers.get("Origin") in {own, *settings.CSRF_TRUSTED_ORIGINS}


def ask_to_log_in(request: HttpRequest, unsent: Unsent) -> HttpResponse:
    """The login page, which says what happened and takes the fields along."""
    login = reverse("console:login")
    action = f"{login}?{urlencode({'next': unsent.address})}"
    context = {"unsent": unsent, "action": action}
    return render(request, "admin/login.html", context, status=403)


def offer(request: HttpRequest, unsent: Unsent, *, status: int) -> HttpResponse:
    """A page with the fields in it and a button that sends them to where they were for."""
    return render(request, "unsent.html", {"unsent": unsent}, status=status)


def _fields(request: HttpRequest, prefix: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.removeprefix(prefix), str(value))
        for name, values in request.POST.lists()
        for value in values
        if name.startswith(prefix) and not any(word in name for word in _NOT_CARRIED)
    )

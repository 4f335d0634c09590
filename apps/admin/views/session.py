"""Logging in and out, one's own account, and how this browser shows the console."""

from django.conf import settings
from django.contrib import auth, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.admin import sessions, users
from apps.admin.authentication import client_address, principal_of
from apps.admin.forms.session import LoginForm, PasswordForm
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.admin.sessions import SignIn
from artstore import carried
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page

THEME_COOKIE = "artstore_theme"
THEMES = ("auto", "light", "dark")
YEAR_SECONDS = 365 * 24 * 3600


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return _go_on(request)
    form = LoginForm(request.POST or None)
    if form.is_valid():
        attempt = SignIn(**form.cleaned_data, address=client_address(request))
        try:
            user = sessions.sign_in(attempt, timezone.now())
        except ArtStoreError as refused:
            return _login_page(request, form, refused)
        auth.login(request, user)
        return _go_on(request)
    return _login_page(request, form, None)


def _go_on(request: HttpRequest) -> HttpResponse:
    """To where the person was, or to the form that could not be taken before they signed in."""
    unsent = carried.through_login(request)
    if unsent is None:
        return redirect(carried.after_login(request))
    return carried.offer(request, unsent, status=200)


def _login_page(
    request: HttpRequest, form: LoginForm, refused: ArtStoreError | None
) -> HttpResponse:
    status = refused.status if refused else 422 if form.is_bound else 200
    unsent = carried.through_login(request)
    context = {"form": form, "failure": refused, "unsent": unsent}
    response = render(request, "admin/login.html", context, status=status)
    for name, value in (refused.headers if refused else {}).items():
        response.headers[name] = value
    return response


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        sessions.log_out(principal_of(request), "", timezone.now())
    auth.logout(request)
    return redirect("console:login")


@sensitive_post_parameters()
@guard(Act.OWN_ACCOUNT)
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """One's own password, and how this browser shows the console."""
    form = PasswordForm(request.POST or None)
    if form.is_valid():
        try:
            user = users.change_password(principal_of(request), *form.passwords, timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            auth.update_session_auth_hash(request, user)
            messages.success(request, _("Your password is changed; your other sessions ended."))
            return redirect("console:account")
    return form_page(request, "admin/account.html", {"form": form})


@guard(Act.OWN_ACCOUNT)
@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    user = users.get(principal_of(request).id)
    sessions.end_all(user, "asked", timezone.now())
    auth.update_session_auth_hash(request, user)
    messages.success(request, _("All your other sessions ended."))
    return redirect("console:account")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Remember light, dark or the system's choice in this browser."""
    response = redirect(carried.next_url(request))
    chosen = request.POST.get("theme")
    if chosen in THEMES:
        response.set_cookie(
            THEME_COOKIE,
            chosen,
            max_age=YEAR_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
    return response

"""The pages of people."""

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.admin import audit, lockout, users
from apps.admin.authentication import principal_of
from apps.admin.forms.users import NewUserForm, ResetPasswordForm, UserFilter, UserForm
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.admin.users import NewUser
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page, in_order, notice_error, page, page_of

SORTED_BY = ("username", "email", "role", "last_login_at")


@require_safe
@guard(Act.IDENTITY_READ)
def user_list(request: HttpRequest) -> HttpResponse:
    form = UserFilter(request.GET)
    people = page_of(in_order(form.found(), request, SORTED_BY), request)
    locks = lockout.states([person.username for person in people], timezone.now())
    rows = [(person, locks[person.username]) for person in people]
    context = {"form": form, "people": people, "rows": rows}
    return page(request, "admin/users.html", "admin/parts/users.html", context)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def create(request: HttpRequest) -> HttpResponse:
    form = NewUserForm(request.POST or None)
    if form.is_valid():
        try:
            made = users.create(NewUser(**form.cleaned_data), principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("%(name)s may log in now.") % {"name": made.username})
            return redirect("console:users-detail", made.pk)
    return form_page(request, "admin/user_create.html", {"form": form})


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_READ, POST=Act.IDENTITY_WRITE)
def user(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    found = users.get(user_id)
    form = UserForm.of(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            users.edit(user_id, form.cleaned_data, principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("The changes are stored."))
            return redirect("console:users-detail", user_id)
    now = timezone.now()
    context = {
        "form": form,
        "person": found,
        "lock": lockout.states([found.username], now)[found.username],
        "history": audit.about(found.username),
    }
    return form_page(request, "admin/user.html", context)


@sensitive_post_parameters("new_password")
@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def reset_password(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    found = users.get(user_id)
    form = ResetPasswordForm(request.POST or None)
    if form.is_valid():
        password = form.cleaned_data["new_password"]
        try:
            users.reset_password(user_id, password, principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            said = _("The password of %(name)s is set; their sessions ended.")
            messages.success(request, said % {"name": found.username})
            return redirect("console:users-detail", user_id)
    return form_page(request, "admin/user_password.html", {"form": form, "person": found})


@require_POST
@guard(Act.IDENTITY_WRITE)
def unlock(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    try:
        users.unlock(user_id, principal_of(request), timezone.now())
    except ArtStoreError as refused:
        notice_error(request, refused)
    else:
        messages.success(request, _("The lock is gone."))
    return redirect("console:users-detail", user_id)


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def remove(request: HttpRequest, user_id: uuid.UUID) -> HttpResponse:
    found = users.get(user_id)
    if request.method != "POST":
        return render(request, "admin/user_remove.html", {"person": found})
    try:
        users.remove(user_id, principal_of(request), timezone.now())
    except ArtStoreError as refused:
        notice_error(request, refused)
        return redirect("console:users-detail", user_id)
    messages.success(request, _("%(name)s is removed.") % {"name": found.username})
    return redirect("console:users")

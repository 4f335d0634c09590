"""The pages of programs. A secret is on exactly one page, once: the answer that made it."""

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.admin import audit, service_accounts
from apps.admin.authentication import principal_of
from apps.admin.forms.service_accounts import (
    AccountFilter,
    AccountForm,
    NewAccountForm,
    RotateForm,
)
from apps.admin.models import AccountStatus, ServiceAccount
from apps.admin.permissions import Act
from apps.admin.permissions import page as guard
from apps.admin.service_accounts import IssuedSecret, NewAccount
from artstore.errors import ArtStoreError
from artstore.pages import explain, form_page, in_order, notice_error, page, page_of

SORTED_BY = ("name", "status", "secret_expires_at", "last_used_at")


@require_safe
@guard(Act.IDENTITY_READ)
def account_list(request: HttpRequest) -> HttpResponse:
    form = AccountFilter(request.GET)
    now = timezone.now()
    context = {
        "form": form,
        "accounts": page_of(in_order(form.found(), request, SORTED_BY), request),
        "expiring": set(ServiceAccount.with_secret_ending(now).values_list("pk", flat=True)),
        "now": now,
    }
    return page(request, "admin/accounts.html", "admin/parts/accounts.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def create(request: HttpRequest) -> HttpResponse:
    form = NewAccountForm(request.POST or None)
    if form.is_valid():
        draft = NewAccount(**form.cleaned_data)
        try:
            issued = service_accounts.create(draft, principal_of(request), timezone.now())
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            return _show_secret(request, issued)
    return form_page(request, "admin/account_create.html", {"form": form})


def _show_secret(request: HttpRequest, issued: IssuedSecret) -> HttpResponse:
    """Straight in the answer: a redirect would have to keep the secret somewhere."""
    context = {
        "account": issued.account,
        "secret": issued.client_secret,
        "token_address": request.build_absolute_uri("/api/v1/auth/token"),
    }
    return render(request, "admin/account_secret.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_READ, POST=Act.IDENTITY_WRITE)
def account(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
    found = service_accounts.get(account_id)
    form = AccountForm.of(found, request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            service_accounts.edit(
                account_id, form.cleaned_data, principal_of(request), timezone.now()
            )
        except ArtStoreError as refused:
            explain(form, refused)
        else:
            messages.success(request, _("The changes are in force at the next request."))
            return redirect("console:services-detail", account_id)
    now = timezone.now()
    context = {
        "form": form,
        "account": found,
        "expiring": ServiceAccount.with_secret_ending(now)
        .filter(pk=account_id)
        .values_list("pk", flat=True),
        "history": audit.about(found.client_id),
        "now": now,
    }
    return form_page(request, "admin/service_account.html", context)


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def rotate(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
    found = service_accounts.get(account_id)
    form = RotateForm(request.POST or None)
    form.about(found.updated_at)
    # Loading the page of a secret anew sends this form a second time.
    if form.is_of_before():
        messages.warning(
            request,
            _("The account was changed since this form was opened; no new secret was made."),
        )
        return redirect("console:services-detail", account_id)
    if form.is_valid():
        overlap = form.cleaned_data["overlap_seconds"]
        issued = service_accounts.rotate_secret(
            account_id, overlap, principal_of(request), timezone.now()
        )
        return _show_secret(request, issued)
    return form_page(request, "admin/account_rotate.html", {"form": form, "account": found})


@require_POST
@guard(Act.IDENTITY_WRITE)
def suspend(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
    """Suspend an account, or let it act again."""
    ends = request.POST.get("status") == AccountStatus.ACTIVE
    status = AccountStatus.ACTIVE if ends else AccountStatus.SUSPENDED
    try:
        changes = {"status": status.value}
        service_accounts.edit(account_id, changes, principal_of(request), timezone.now())
    except ArtStoreError as refused:
        notice_error(request, refused)
    else:
        said = _("The account may act again.") if ends else _("The account is suspended.")
        messages.success(request, said)
    return redirect("console:services-detail", account_id)


@require_http_methods(["GET", "POST"])
@guard(Act.IDENTITY_WRITE)
def remove(request: HttpRequest, account_id: uuid.UUID) -> HttpResponse:
    found = service_accounts.get(account_id)
    if request.method != "POST":
        return render(request, "admin/account_remove.html", {"account": found})
    service_accounts.remove(account_id, principal_of(request), timezone.now())
    messages.success(request, _("%(name)s is removed.") % {"name": found.name})
    return redirect("console:services")

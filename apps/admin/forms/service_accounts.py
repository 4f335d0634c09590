"""Programs: finding, creating and editing their accounts, rotating a secret."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from apps.admin.models import SCOPES, AccountStatus, ServiceAccount
from apps.admin.serializers import LONGEST_EXPIRATION_DAYS
from apps.admin.service_accounts import (
    DEFAULT_EXPIRATION_DAYS,
    LONGEST_NAME_CHARACTERS,
    SHORTEST_NAME_CHARACTERS,
)
from artstore.opened import OpenedForm

SCOPE_WORDS = {
    "files:read": _("find and download files"),
    "files:write": _("upload, edit and delete files"),
    "storage:read": _("look at storage elements and sync runs"),
    "storage:write": _("sync, reconcile and change modes"),
    "admin:read": _("look at users, accounts, keys and the audit log"),
    "admin:write": _("change users, accounts and keys"),
}
OVERLAPS = [
    ("0", _("At once")),
    ("3600", _("After one hour")),
    ("14400", _("After four hours")),
    ("86400", _("After one day")),
]


class AccountFilter(forms.Form):
    use_required_attribute = False

    q = forms.CharField(label=_("Name or client id"), required=False, max_length=100)
    status = forms.ChoiceField(
        label=_("Status"), required=False, choices=[("", _("Any status")), *AccountStatus.choices]
    )

    def found(self) -> QuerySet[ServiceAccount]:
        self.is_valid()
        given = self.cleaned_data
        rows = ServiceAccount.objects.order_by("name")
        if given.get("q"):
            rows = rows.filter(Q(name__icontains=given["q"]) | Q(client_id__icontains=given["q"]))
        if given.get("status"):
            rows = rows.filter(status=given["status"])
        return rows


class AccountForm(OpenedForm):
    """What may be changed of an account."""

    use_required_attribute = False

    name = forms.CharField(
        label=_("Name"), min_length=SHORTEST_NAME_CHARACTERS, max_length=LONGEST_NAME_CHARACTERS
    )
    description = forms.CharField(
        label=_("Description"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
    )
    element_tokens = forms.BooleanField(
        label=_("May ask for tokens of storage elements"),
        required=False,
        help_text=_("To talk to a node directly, past this server."),
    )

    @classmethod
    def of(cls, account: ServiceAccount, data: Any = None) -> "AccountForm":
        """The form filled with what is stored."""
        names = ("name", "description", "scopes", "element_tokens")
        form = cls(data, initial={name: getattr(account, name) for name in names})
        form.about(account.updated_at)
        return form

    def clean_description(self) -> str | None:
        return self.cleaned_data["description"] or None

    @property
    def scope_choices(self) -> list[tuple[str, Any, bool]]:
        """Each scope with its words and whether it is chosen."""
        chosen = self["scopes"].value() or []
        return [(scope, SCOPE_WORDS[scope], scope in chosen) for scope in SCOPES]


class NewAccountForm(AccountForm):
    secret_expiration_days = forms.IntegerField(
        label=_("Days until a secret expires"),
        initial=DEFAULT_EXPIRATION_DAYS,
        min_value=0,
        max_value=LONGEST_EXPIRATION_DAYS,
        help_text=_("0: never."),
    )


class RotateForm(OpenedForm):
    overlap_seconds = forms.TypedChoiceField(
        label=_("The old secret ends"), choices=OVERLAPS, coerce=int, initial="3600"
    )

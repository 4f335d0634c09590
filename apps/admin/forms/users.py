"""People: finding, creating and editing them, setting a password."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from apps.admin.models import Role, User
from apps.admin.serializers import LONGEST_PASSWORD_CHARACTERS
from artstore.opened import OpenedForm

NEW_PASSWORD = {"autocomplete": "new-password"}


class UserFilter(forms.Form):
    use_required_attribute = False

    q = forms.CharField(label=_("Name or email"), required=False, max_length=100)
    role = forms.ChoiceField(
        label=_("Role"), required=False, choices=[("", _("Any role")), *Role.choices]
    )
    active = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[("", _("Any status")), ("yes", _("Active")), ("no", _("Deactivated"))],
    )

    def found(self) -> QuerySet[User]:
        self.is_valid()
        given = self.cleaned_data
        rows = User.objects.order_by("username")
        if given.get("q"):
            rows = rows.filter(Q(username__icontains=given["q"]) | Q(email__icontains=given["q"]))
        if given.get("role"):
            rows = rows.filter(role=given["role"])
        if given.get("active"):
            rows = rows.filter(is_active=given["active"] == "yes")
        return rows


class NewUserForm(forms.Form):
    """Whether the name and the password will do is for `users` to say."""

    username = forms.CharField(
        label=_("User name"),
        max_length=50,
        help_text=_("Cannot be changed later: files carry it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    email = forms.EmailField(label=_("Email"), required=False)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.READONLY.value)
    password = forms.CharField(
        label=_("Password"),
        max_length=LONGEST_PASSWORD_CHARACTERS,
        strip=False,
        widget=forms.PasswordInput(attrs=NEW_PASSWORD),
        help_text=_("At least 8 characters; not a common one, not only digits."),
    )

    def clean_email(self) -> str | None:
        return self.cleaned_data["email"] or None


class UserForm(OpenedForm):
    email = forms.EmailField(label=_("Email"), required=False)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices)
    is_active = forms.BooleanField(label=_("May log in"), required=False)

    @classmethod
    def of(cls, user: User, data: Any = None) -> "UserForm":
        """The form filled with what is stored."""
        names = ("email", "role", "is_active")
        form = cls(data, initial={name: getattr(user, name) for name in names})
        form.about(user.updated_at)
        return form

    def clean_email(self) -> str | None:
        return self.cleaned_data["email"] or None


class ResetPasswordForm(forms.Form):
    new_password = forms.CharField(
        label=_("New password"),
        max_length=LONGEST_PASSWORD_CHARACTERS,
        strip=False,
        widget=forms.PasswordInput(attrs=NEW_PASSWORD),
        help_text=_("Tell it to the person by a safe way; all their sessions end."),
    )

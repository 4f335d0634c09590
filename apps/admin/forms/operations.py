"""Signing keys and the audit log."""

import datetime as dt

from django import forms
from django.core.validators import MaxValueValidator
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from apps.admin.models import AuditEvent

_DAY = dt.timedelta(days=1)


class RotateKeyForm(forms.Form):
    emergency = forms.BooleanField(
        label=_("The old key is known to somebody else: drop it at once"),
        required=False,
        help_text=_("Every token it signed stops working; everybody has to log in again."),
    )


class AuditFilter(forms.Form):
    use_required_attribute = False

    actor = forms.CharField(label=_("Who"), required=False, max_length=100)
    action = forms.CharField(label=_("Action"), required=False, max_length=60)
    target = forms.CharField(label=_("Target"), required=False, max_length=300)
    after = forms.DateField(
        label=_("From (UTC)"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    before = forms.DateField(
        label=_("Until (UTC)"),
        required=False,
        # There is no day after the last one.
        validators=[MaxValueValidator(dt.date.max - _DAY)],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )

    def found(self) -> QuerySet[AuditEvent]:
        """The events asked for, newest first. An action ending in a dot means all of its kind.

        None where the question is not valid: all of them would pass for its answer.
        """
        if not self.is_valid():
            return AuditEvent.objects.none()
        given = self.cleaned_data
        rows = AuditEvent.objects.order_by("-sequence")
        wanted = {name: given[name] for name in ("actor", "target") if given.get(name)}
        if given.get("action"):
            whole = not given["action"].endswith(".")
            wanted["action" if whole else "action__startswith"] = given["action"]
        if given.get("after"):
            wanted["at__gte"] = _midnight(given["after"])
        if given.get("before"):
            # The day named is meant to its end.
            wanted["at__lt"] = _midnight(given["before"]) + _DAY
        return rows.filter(**wanted)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)

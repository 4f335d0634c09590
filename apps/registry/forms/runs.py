"""The filters of the list of sync runs."""

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from apps.registry.models import StorageElement, SyncKind, SyncRun, SyncStatus


class RunFilter(forms.Form):
    use_required_attribute = False

    element = forms.ModelChoiceField(
        label=_("Element"),
        required=False,
        queryset=StorageElement.objects.order_by("name", "id"),
        empty_label=_("Any element"),
    )
    kind = forms.ChoiceField(
        label=_("Kind"),
        required=False,
        choices=[
            ("", _("Any kind")),
            (SyncKind.FULL.value, _("Full")),
            (SyncKind.CHANGES.value, _("Changes")),
        ],
    )
    status = forms.ChoiceField(
        label=_("Result"),
        required=False,
        choices=[
            ("", _("Any result")),
            (SyncStatus.RUNNING.value, _("Running")),
            (SyncStatus.SUCCEEDED.value, _("Succeeded")),
            (SyncStatus.FAILED.value, _("Failed")),
            (SyncStatus.NEEDS_CONFIRMATION.value, _("Waits for your word")),
            (SyncStatus.ABANDONED.value, _("Abandoned")),
        ],
    )

    def found(self) -> QuerySet[SyncRun]:
        """The runs asked for, newest first."""
        self.is_valid()
        given = self.cleaned_data
        rows = SyncRun.objects.select_related("storage_element").order_by("-started_at", "id")
        if given.get("element"):
            rows = rows.filter(storage_element=given["element"])
        wanted = {name: given[name] for name in ("kind", "status") if given.get(name)}
        return rows.filter(**wanted)

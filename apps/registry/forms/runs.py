"""The list of sync runs: its filters and its pages."""

from django import forms
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from apps.registry.models import StorageElement, SyncKind, SyncRun, SyncStatus
from apps.registry.totals import EXACT_ROWS

PAGE_RUNS = 50


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts no further than anybody pages."""

    @property
    def count(self) -> int:
        rows: QuerySet[SyncRun] = self.object_list  # type: ignore[assignment]  # never a plain list here
        return rows.order_by()[:EXACT_ROWS].count()


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

    def page(self) -> "Page[SyncRun]":
        """The page of runs asked for, newest first; a number out of range is the last page."""
        self.is_valid()
        given = self.cleaned_data
        rows = SyncRun.objects.select_related("storage_element").order_by("-started_at", "id")
        if given.get("element"):
            rows = rows.filter(storage_element=given["element"])
        wanted = {name: given[name] for name in ("kind", "status") if given.get(name)}
        return _BoundedPaginator(rows.filter(**wanted), PAGE_RUNS).get_page(self.data.get("page"))

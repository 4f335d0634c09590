"""The forms of storage elements: finding one, registering, editing, removing, changing its mode."""

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from apps.registry.elements import MAX_CA_PEM_CHARACTERS
from apps.registry.models import ElementStatus, Mode, StorageElement
from artstore.opened import TypedForm, plain

# What an operator may ask of an element in each mode; the element has the last word.
NEXT_MODES = {Mode.EDIT: (), Mode.RW: (Mode.RO,), Mode.RO: (Mode.RW, Mode.AR), Mode.AR: ()}


class ElementFilter(forms.Form):
    """The list's filters; a value that is not known finds nothing less."""

    use_required_attribute = False

    q = forms.CharField(label=_("Name or storage id"), required=False, max_length=100)
    mode = forms.ChoiceField(
        label=_("Mode"), required=False, choices=[("", _("Any mode")), *Mode.choices]
    )
    status = forms.ChoiceField(
        label=_("Status"),
        required=False,
        choices=[
            ("", _("Any status")),
            (ElementStatus.ONLINE.value, _("Online")),
            (ElementStatus.DEGRADED.value, _("Degraded")),
            (ElementStatus.OFFLINE.value, _("Offline")),
            (ElementStatus.MAINTENANCE.value, _("Maintenance")),
        ],
    )

    def found(self) -> QuerySet[StorageElement]:
        self.is_valid()
        given = self.cleaned_data
        rows = StorageElement.objects.order_by("name", "id")
        wanted = {name: given[name] for name in ("mode", "status") if given.get(name)}
        if given.get("q"):
            text = given["q"]
            rows = rows.filter(Q(name__icontains=text) | Q(storage_id__icontains=text))
        return rows.filter(**wanted)


class RegisterForm(forms.Form):
    """Both steps: the address (and what to trust there), then the name."""

    use_required_attribute = False

    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        help_text=_("Such as https://node-7.example.net:8010"),
        widget=forms.URLInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    ca_pem = forms.CharField(
        label=_("Certificate to trust (PEM)"),
        required=False,
        max_length=MAX_CA_PEM_CHARACTERS,
        help_text=_("The node's certificate or its authority's. Empty: public authorities."),
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
    )
    name = forms.CharField(label=_("Name"), required=False, max_length=100)

    def has_name(self) -> bool:
        """Whether a name was given; complains where one is needed."""
        if not self.cleaned_data["name"]:
            self.add_error("name", _("Give the element a name."))
        return not self.errors


class ElementForm(TypedForm):
    """What may be changed of a registered element."""

    use_required_attribute = False

    name = forms.CharField(label=_("Name"), max_length=100)
    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        help_text=_("The same element has to answer there, or nothing is changed."),
        widget=forms.URLInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    ca_pem = forms.CharField(
        label=_("Certificate to trust (PEM)"),
        required=False,
        max_length=MAX_CA_PEM_CHARACTERS,
        help_text=_("The node's certificate or its authority's. Empty: public authorities."),
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )

    @classmethod
    def of(cls, element: StorageElement, data: Any = None) -> "ElementForm":
        """The form filled with what is registered."""
        names = ("name", "url", "ca_pem")
        return cls(data, initial={name: getattr(element, name) for name in names})

    def changes(self) -> dict[str, Any]:
        """What was typed that differs from what is registered, as `elements.edit` takes it."""
        given = {name: plain(value) for name, value in self.cleaned_data.items()}
        return {
            name: value
            for name, value in given.items()
            if self.is_typed(name) and value != plain(self.initial[name])
        }


class RemoveForm(forms.Form):
    """Whether to remove an element that still holds files."""

    force = forms.BooleanField(
        label=_("Also while it holds active files: their records become deleted"), required=False
    )


class ModeForm(forms.Form):
    """The step to take, and the word it needs where there is no easy way back."""

    use_required_attribute = False

    target_mode = forms.ChoiceField(widget=forms.HiddenInput)
    confirm = forms.BooleanField(label=_("I know what this does"), required=False)

    def __init__(self, element: StorageElement, given: Any, *, asked: bool) -> None:
        super().__init__(
            given if asked else None, initial={"target_mode": given.get("target_mode")}
        )
        self.element = element
        steps = NEXT_MODES.get(Mode(element.mode), ())
        # What is asked for is the element's to refuse, so that its own reason is shown.
        self.fields["target_mode"].choices = Mode.choices  # type: ignore[attr-defined]  # a ChoiceField
        self.steps = [mode.value for mode in steps]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.get("target_mode") in {Mode.RW, Mode.AR} and not given.get("confirm"):
            self.add_error("confirm", _("Confirm this step."))
        return given

    @property
    def move(self) -> tuple[str, bool]:
        """The target and whether it is confirmed, as `elements.change_mode` takes them."""
        return self.cleaned_data["target_mode"], self.cleaned_data["confirm"]

"""What an operator may do next with a storage element."""

from django import template

from apps.registry.forms.elements import NEXT_MODES
from apps.registry.models import Mode, StorageElement

register = template.Library()


@register.simple_tag
def next_modes(element: StorageElement) -> list[str]:
    return [mode.value for mode in NEXT_MODES.get(Mode(element.mode), ())]

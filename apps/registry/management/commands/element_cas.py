"""`manage.py element_cas`: the certificates by which elements are trusted, for the nginx in front."""

from pathlib import Path
from typing import Any

import certifi

from apps.registry.models import StorageElement
from artstore.commands import OperatorCommand


class Command(OperatorCommand):
    help = "Print the CAs of all registered elements as one PEM file (nginx: element-cas.pem)."

    def handle(self, *_args: Any, **_options: Any) -> None:
        pinned = set(StorageElement.objects.values_list("ca_pem", flat=True))
        if "" in pinned:
            pinned = (pinned - {""}) | {Path(certifi.where()).read_text()}
        for ca_pem in sorted(pinned):
            self.stdout.write(ca_pem.strip())

"""Django's entry to the admin app."""

from importlib import import_module

from django.apps import AppConfig


class AdminConfig(AppConfig):
    name = "apps.admin"
    label = "artstore_admin"

    def ready(self) -> None:
        # By name and only now: these reach DRF, which reaches our models.
        for module in ("openapi", "checks"):
            import_module(f"{self.name}.{module}")

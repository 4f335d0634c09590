"""Django's entry to the registry app."""

from importlib import import_module

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "apps.registry"
    label = "registry"

    def ready(self) -> None:
        # By name and only now: they reach the models.
        import_module(f"{self.name}.checks")
        import_module(f"{self.name}.metrics").register()

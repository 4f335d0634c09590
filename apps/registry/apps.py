"""Django's entry to the registry app."""

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import pre_migrate


class RegistryConfig(AppConfig):
    name = "apps.registry"
    label = "registry"

    def ready(self) -> None:
        # By name and only now: they reach the models.
        import_module(f"{self.name}.checks")
        import_module(f"{self.name}.metrics").register()
        # The one place that every way of migrating passes.
        pre_migrate.connect(
            import_module(f"{self.name}.indexes").build_before_migrating, sender=self
        )

"""Django's entry to the ingester app."""

from django.apps import AppConfig


class IngesterConfig(AppConfig):
    name = "apps.ingester"
    label = "ingester"

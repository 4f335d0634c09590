"""Django's entry to the query app."""

from django.apps import AppConfig


class QueryConfig(AppConfig):
    name = "apps.query"
    label = "query"

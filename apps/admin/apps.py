"""Django's entry to the admin app."""

from django.apps import AppConfig


class AdminConfig(AppConfig):
    name = "apps.admin"
    label = "artstore_admin"

"""Django's entry to the ground floor. Loads the Celery app, so that `shared_task` finds it in every process."""

from django.apps import AppConfig

from artstore.celery import app as celery_app


class ArtStoreConfig(AppConfig):
    name = "artstore"
    label = "artstore"
    celery_app = celery_app

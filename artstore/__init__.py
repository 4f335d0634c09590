"""The composition root and the ground floor of the Django program. Imports no app."""

from artstore.celery import app as celery_app

__version__ = "0.1.0"

__all__ = ["__version__", "celery_app"]

"""The WSGI entry point that gunicorn loads."""

import os

from django.core.wsgi import get_wsgi_application

from artstore import telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "artstore.settings")
telemetry.start("artstore-web")
application = get_wsgi_application()

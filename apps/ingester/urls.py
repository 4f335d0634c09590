"""The addresses of the ingester app: `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver

api: list[URLPattern | URLResolver] = []
pages: list[URLPattern | URLResolver] = []

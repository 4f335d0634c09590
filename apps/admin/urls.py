"""The addresses of the admin app: `root` at /, `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver

root: list[URLPattern | URLResolver] = []
api: list[URLPattern | URLResolver] = []
pages: list[URLPattern | URLResolver] = []

"""The addresses of the ingester app: `busy` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path

from apps.ingester import api as doors
from apps.ingester import views

busy: list[URLPattern | URLResolver] = [
    path("files/upload", doors.UploadView.as_view(), name="files-upload"),
]
pages: list[URLPattern | URLResolver] = [
    path("upload", views.upload_page, name="upload"),
]

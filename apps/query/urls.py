"""The addresses of the query app: `api` and `busy` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path

from apps.query import api as doors
from apps.query import views

api: list[URLPattern | URLResolver] = [
    path("search", doors.SearchView.as_view(), name="search"),
    path("files/<uuid:file_id>", doors.FileView.as_view(), name="query-file"),
]
busy: list[URLPattern | URLResolver] = [
    path("files/<uuid:file_id>/download", doors.DownloadView.as_view(), name="files-download"),
]
pages: list[URLPattern | URLResolver] = [
    path("files", views.files, name="files"),
    path("files/export", views.export_files, name="files-export"),
    path("files/<uuid:file_id>/preview", views.preview_text, name="files-preview"),
    path("elements/<uuid:element_id>/files", views.element_files, name="elements-files"),
    path("files/<uuid:file_id>/download", views.download_file, name="files-download"),
]

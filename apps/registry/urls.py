"""The addresses of the registry app: `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path

from apps.registry import views
from apps.registry.api import elements, files

api: list[URLPattern | URLResolver] = [
    path("storage-elements", elements.ElementsView.as_view()),
    path("storage-elements/discover", elements.DiscoverView.as_view()),
    path("storage-elements/<uuid:element_id>", elements.ElementView.as_view()),
    path("storage-elements/<uuid:element_id>/mode", elements.ModeView.as_view()),
    path("storage-elements/<uuid:element_id>/probe", elements.ProbeView.as_view()),
    path("storage-elements/<uuid:element_id>/reconcile", elements.ReconcileView.as_view()),
    path("storage-elements/<uuid:element_id>/sync", elements.SyncView.as_view()),
    path("storage-elements/<uuid:element_id>/sync-runs", elements.ElementSyncRunsView.as_view()),
    path("sync-runs/<uuid:run_id>", elements.SyncRunView.as_view()),
    path("files", files.FilesView.as_view()),
    path("files/<uuid:file_id>", files.FileView.as_view()),
]
pages: list[URLPattern | URLResolver] = [
    path("", views.dashboard, name="dashboard"),
    path("elements", views.elements, name="elements"),
    path("elements/<uuid:element_id>", views.element, name="elements-detail"),
    path("files/<uuid:file_id>", views.file, name="files-detail"),
    path("files/<uuid:file_id>/edit", views.edit_file, name="files-edit"),
    path("files/<uuid:file_id>/delete", views.delete_file, name="files-delete"),
]

"""The addresses of the registry app: `api` under /api/v1/, `pages` under /console/."""

from django.urls import URLPattern, URLResolver, path

from apps.registry.api import elements, files
from apps.registry.views import acts, bulk, overview, runs
from apps.registry.views import elements as element_pages
from apps.registry.views import files as file_pages

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
    path("", overview.dashboard, name="dashboard"),
    path("elements", element_pages.element_list, name="elements"),
    path("elements/register", element_pages.register, name="elements-register"),
    path("elements/<uuid:element_id>", element_pages.element, name="elements-detail"),
    path("elements/<uuid:element_id>/edit", element_pages.edit, name="elements-edit"),
    path("elements/<uuid:element_id>/remove", element_pages.remove, name="elements-remove"),
    path("elements/<uuid:element_id>/probe", acts.probe, name="elements-probe"),
    path("elements/<uuid:element_id>/sync", acts.start_sync, name="elements-sync"),
    path("elements/<uuid:element_id>/mode", acts.change_mode, name="elements-mode"),
    path("elements/<uuid:element_id>/maintenance", acts.maintenance, name="elements-maintenance"),
    path("elements/<uuid:element_id>/instance", acts.accept_instance, name="elements-instance"),
    path("elements/<uuid:element_id>/reconcile", acts.reconcile, name="elements-reconcile"),
    path("elements/<uuid:element_id>/findings", acts.findings, name="elements-findings"),
    path("elements/<uuid:element_id>/garbage", acts.collect_garbage, name="elements-garbage"),
    path("runs", runs.run_list, name="runs"),
    path("runs/<uuid:run_id>", runs.run, name="runs-detail"),
    path("files/bulk/delete", bulk.delete_files, name="files-bulk-delete"),
    path("files/bulk/tags", bulk.edit_tags, name="files-bulk-tags"),
    path("files/<uuid:file_id>", file_pages.file, name="files-detail"),
    path("files/<uuid:file_id>/verified", file_pages.verified, name="files-verified"),
    path("files/<uuid:file_id>/edit", file_pages.edit_file, name="files-edit"),
    path("files/<uuid:file_id>/delete", file_pages.delete_file, name="files-delete"),
]

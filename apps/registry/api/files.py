"""The doors to file records."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act, allow
from apps.registry import editing, listing, registering
from apps.registry import serializers as shapes
from apps.registry.api.schema import TAGS, answers, query
from apps.registry.editing import FileEdit
from apps.registry.models import FileRecord


def _file(record: FileRecord, request: Request, status: int = 200) -> Response:
    context = {"principal": principal_of(request)}
    return Response(shapes.FileSerializer(record, context=context).data, status=status)


class FilesView(ListAPIView[FileRecord]):
    permission_classes = (allow(GET=Act.FILES_READ, POST=Act.FILES_REGISTER),)
    serializer_class = shapes.FileSerializer
    pagination_class = listing.BoundedPagination
    page_order = ("file_id",)

    def get_queryset(self) -> QuerySet[FileRecord]:
        if getattr(self, "swagger_fake_view", False):
            return FileRecord.objects.none()
        return listing.files(self.request.query_params, principal_of(self.request))

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "principal": principal_of(self.request)}

    @extend_schema(
        operation_id="files_list",
        tags=TAGS,
        summary="All files, whatever their status",
        parameters=[
            query("status", "active, expired or deleted"),
            query("retention_policy", "temporary or permanent"),
            query("storage_element_id", "only for those who may see the field", uuid.UUID),
            query("uploaded_by", "username or client id"),
        ],
        responses=answers({200: shapes.FileSerializer(many=True)}, 400, 401, 403),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="files_register",
        tags=TAGS,
        summary="Register a file that is already on an element",
        request=shapes.RegisterFileSerializer,
        responses=answers(
            {201: shapes.FileSerializer, 200: shapes.FileSerializer},
            *(400, 401, 403, 404, 409, 502),
        ),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.RegisterFileSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        file_id = asked.validated_data["file_id"]
        element_id = asked.validated_data["storage_element_id"]
        record, created = registering.register_file(
            file_id, element_id, principal_of(request), timezone.now()
        )
        return _file(record, request, status=201 if created else 200)


class FileView(APIView):
    permission_classes = (allow(GET=Act.FILES_READ, PATCH=Act.FILES_WRITE, DELETE=Act.FILES_WRITE),)

    @extend_schema(
        operation_id="files_get",
        tags=TAGS,
        summary="One file, whatever its status",
        responses=answers({200: shapes.FileSerializer}, 401, 403, 404),
    )
    def get(self, request: Request, file_id: uuid.UUID) -> Response:
        return _file(editing.get(file_id), request)

    @extend_schema(
        operation_id="files_edit",
        tags=TAGS,
        summary="Change description, tags or metadata",
        request=shapes.EditFileSerializer,
        responses=answers({200: shapes.FileSerializer}, 400, 401, 403, 404, 409, 502),
    )
    def patch(self, request: Request, file_id: uuid.UUID) -> Response:
        asked = shapes.EditFileSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        changes = FileEdit(asked.validated_data)
        edited = editing.edit_file(file_id, changes, principal_of(request), timezone.now())
        return _file(edited, request)

    @extend_schema(
        operation_id="files_delete",
        tags=TAGS,
        summary="Delete a file",
        responses=answers({204: None}, 401, 403, 404, 409, 502),
    )
    def delete(self, request: Request, file_id: uuid.UUID) -> Response:
        editing.delete_file(file_id, principal_of(request), timezone.now())
        return Response(status=204)

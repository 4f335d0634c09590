"""The REST doors of search, download and cached metadata."""

import uuid
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act, allow
from apps.query import download, search
from apps.query.cache import records
from apps.query.responses import DownloadResponse, ask_of
from apps.query.serializers import SearchPageSerializer, SearchSerializer
from apps.registry.errors import file_not_found
from apps.registry.serializers import FileSerializer

DISPOSITIONS = ("attachment", "inline")


class SearchView(APIView):
    """Files by name, text and every field."""

    permission_classes = (allow(POST=Act.FILES_READ),)

    @extend_schema(
        operation_id="files_search",
        tags=["query"],
        request=SearchSerializer,
        responses=SearchPageSerializer,
    )
    def post(self, request: Request) -> Response:
        asked = SearchSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        page = search.run(asked.to_query(), timezone.now())
        context = {"principal": principal_of(request)}
        return Response(SearchPageSerializer(page, context=context).data)


class FileView(APIView):
    """One file's metadata, from this process's cache."""

    permission_classes = (allow(GET=Act.FILES_READ),)

    @extend_schema(operation_id="query_files_retrieve", tags=["query"], responses=FileSerializer)
    def get(self, request: Request, file_id: uuid.UUID) -> Response:
        record = records.get(file_id, timezone.now())
        if record is None:
            raise file_not_found(file_id)
        return Response(FileSerializer(record, context={"principal": principal_of(request)}).data)


class _AnyAccept(BaseContentNegotiation):
    """A file has the type it has; only errors are rendered, as JSON."""

    def select_renderer(self, *_asked: Any, **_kwargs: Any) -> tuple[BaseRenderer, str]:
        return JSONRenderer(), JSONRenderer.media_type


class DownloadView(APIView):
    """A file's bytes."""

    content_negotiation_class = _AnyAccept
    permission_classes = (allow(GET=Act.FILES_READ),)

    @extend_schema(
        operation_id="files_download",
        tags=["query"],
        parameters=[
            OpenApiParameter("disposition", enum=DISPOSITIONS),
            OpenApiParameter("Range", location=OpenApiParameter.HEADER),
            OpenApiParameter("If-Range", location=OpenApiParameter.HEADER),
            OpenApiParameter("If-None-Match", location=OpenApiParameter.HEADER),
            OpenApiParameter("If-Modified-Since", location=OpenApiParameter.HEADER),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            304: None,
        },
    )
    def get(self, request: Request, file_id: uuid.UUID) -> StreamingHttpResponse:
        disposition = request.query_params.get("disposition", "attachment")
        if disposition not in DISPOSITIONS:
            raise ValidationError({"disposition": ["Must be attachment or inline."]})
        ask = ask_of(request, inline=disposition == "inline")
        found = download.open_file(file_id, ask, principal_of(request), timezone.now())
        return DownloadResponse(found, request)

    @extend_schema(exclude=True)
    def head(self, request: Request, file_id: uuid.UUID) -> StreamingHttpResponse:
        return self.get(request, file_id)

"""The REST door of uploads. Reads no body itself: it hands the stream to the verb.

DRF's parsers are switched off, and nothing here may touch `request.data` or `request.POST`: either
would read the whole body before anybody looked at it.
"""

import base64
import urllib.parse
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act, allow
from apps.ingester import body, incoming, multipart, serializers, upload
from apps.ingester.body import ClientBody
from apps.ingester.incoming import UploadHead
from apps.ingester.upload import Stored, Uploader
from apps.registry.serializers import FileSerializer


class UploadView(APIView):
    """`POST` takes a form or a raw body; `PUT` is what `curl -T` says and takes the same."""

    parser_classes = ()
    permission_classes = (allow(POST=Act.FILES_WRITE, PUT=Act.FILES_WRITE),)
    client_body: ClientBody

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.client_body = open_body(request)
        super().initial(request, *args, **kwargs)
        incoming.check_declared_size(head_of(request), self.client_body.declared_bytes)

    @extend_schema(operation_id="files_upload", tags=["ingester"], **serializers.UPLOAD_SCHEMA)
    def post(self, request: Request) -> Response:
        file = incoming.open_request(head_of(request), self.client_body)
        uploader = Uploader(principal_of(request), request.headers.get("Idempotency-Key"))
        return answer(upload.store_upload(file, uploader, timezone.now()), request)

    @extend_schema(operation_id="files_upload_put", tags=["ingester"], **serializers.UPLOAD_SCHEMA)
    def put(self, request: Request) -> Response:
        return self.post(request)


def open_body(request: HttpRequest | Request) -> ClientBody:
    """The request's body, not read yet; silence in it is limited from here on."""
    return body.client_body(request.META, settings.ARTSTORE_CLIENT_STALL_SECONDS)


def head_of(request: HttpRequest | Request) -> UploadHead:
    """What the request says of its body."""
    return UploadHead(
        content_type=request.META.get("CONTENT_TYPE", ""),
        content_encoding=request.headers.get("Content-Encoding", ""),
        digest_headers={
            name: request.headers.get(name) for name in ("Content-Digest", "Repr-Digest")
        },
        transfer_encoding=request.headers.get("Transfer-Encoding", ""),
        parameters=query_texts(request.META.get("QUERY_STRING", "")),
    )


def query_texts(query_string: str) -> dict[str, list[str]]:
    """The query's texts, strictly UTF-8: `request.GET` would put another character in their place."""
    found: dict[str, list[str]] = {}
    # As WSGI hands it over: one character per byte.
    for name, value in urllib.parse.parse_qsl(
        query_string, keep_blank_values=True, encoding="latin-1"
    ):
        try:
            text = value.encode("latin-1").decode()
        except UnicodeError as failure:
            raise multipart.malformed(name[:64], _("The value is not valid UTF-8.")) from failure
        found.setdefault(name, []).append(text)
    return found


def answer(stored: Stored, request: Request) -> Response:
    """201 with what was stored, or 200 for a repeat of an upload that had been."""
    record = stored.record
    digest = base64.b64encode(bytes.fromhex(record.checksum)).decode()
    return Response(
        FileSerializer(record, context={"principal": principal_of(request)}).data,
        status=201 if stored.created else 200,
        headers={
            "Location": f"/api/v1/files/{record.file_id}",
            "ETag": f'"{record.checksum}"',
            "Repr-Digest": f"sha-256=:{digest}:",
        },
    )

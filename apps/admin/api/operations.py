"""The doors to signing keys and the audit log."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin import keys, permissions
from apps.admin import serializers as shapes
from apps.admin.api.schema import TAGS, answers
from apps.admin.authentication import principal_of
from apps.admin.models import AuditEvent
from apps.admin.permissions import Act

_FILTERS = {
    "actor": "actor",
    "action": "action",
    "target": "target",
    "after": "at__gte",
    "before": "at__lt",
}


class KeyStatusView(APIView):
    permission_classes = (permissions.allow(GET=Act.KEYS_READ),)

    @extend_schema(
        operation_id="jwt_keys_status",
        tags=TAGS,
        summary="Which key signs, and which one before it still verifies",
        responses=answers({200: shapes.KeyStatusSerializer}, 401, 403),
    )
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        return Response(shapes.KeyStatusSerializer(keys.status(timezone.now())).data)


class RotateKeyView(APIView):
    permission_classes = (permissions.allow(POST=Act.KEYS_ROTATE),)

    @extend_schema(
        operation_id="jwt_keys_rotate",
        tags=TAGS,
        summary="Sign with the announced key from now on",
        request=shapes.RotateKeySerializer,
        responses=answers({200: shapes.RotationSerializer}, 400, 401, 403),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.RotateKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        emergency = asked.validated_data["emergency"]
        rotation = keys.rotate(principal_of(request), timezone.now(), emergency=emergency)
        return Response(shapes.RotationSerializer(rotation).data)


class AuditEventsView(ListAPIView[AuditEvent]):
    permission_classes = (permissions.allow(GET=Act.AUDIT_READ),)
    serializer_class = shapes.AuditEventSerializer
    queryset = AuditEvent.objects.all()
    page_order = ("-sequence",)

    def get_queryset(self) -> QuerySet[AuditEvent]:
        asked = shapes.AuditFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = {_FILTERS[name]: value for name, value in asked.validated_data.items()}
        return super().get_queryset().filter(**wanted)

    @extend_schema(
        operation_id="audit_events_list",
        tags=TAGS,
        summary="What was done, newest first",
        parameters=[shapes.AuditFilterSerializer],
        responses=answers({200: shapes.AuditEventSerializer(many=True)}, 400, 401, 403),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

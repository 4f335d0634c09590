"""The doors to storage elements and their sync runs."""

import uuid
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin.authentication import principal_of
from apps.admin.permissions import Act, allow
from apps.registry import elements, listing, probing, sync, tasks
from apps.registry import serializers as shapes
from apps.registry.api.schema import TAGS, answers, query
from apps.registry.elements import ElementEdit, Registration
from apps.registry.models import ElementStatus, Mode, StorageElement, SyncRun, SyncTrigger

_READ = allow(GET=Act.ELEMENTS_READ)
_OPERATE = allow(POST=Act.ELEMENTS_OPERATE)


def _element(element: StorageElement, request: Request, status: int = 200) -> Response:
    context = {"principal": principal_of(request)}
    return Response(shapes.StorageElementSerializer(element, context=context).data, status=status)


class DiscoverView(APIView):
    permission_classes = (allow(POST=Act.ELEMENTS_ADMIN),)

    @extend_schema(
        operation_id="storage_elements_discover",
        tags=TAGS,
        summary="Ask a URL which storage element it is; nothing is stored",
        request=shapes.DiscoverSerializer,
        responses=answers({200: shapes.DiscoverySerializer}, 400, 401, 403, 502),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.DiscoverSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response(shapes.DiscoverySerializer(elements.discover(**asked.validated_data)).data)


class ElementsView(ListAPIView[StorageElement]):
    permission_classes = (allow(GET=Act.ELEMENTS_READ, POST=Act.ELEMENTS_ADMIN),)
    serializer_class = shapes.StorageElementSerializer
    page_order = ("name", "id")

    def get_queryset(self) -> QuerySet[StorageElement]:
        values = listing.parameters(self.request.query_params, {"mode", "status", "q"})
        found = StorageElement.objects.all()
        for name, allowed in (("mode", Mode.values), ("status", ElementStatus.values)):
            if name in values:
                found = found.filter(**{name: listing.choice(name, values[name], allowed)})
        if "q" in values:
            text = values["q"]
            found = found.filter(Q(name__icontains=text) | Q(storage_id__icontains=text))
        return found

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "principal": principal_of(self.request)}

    @extend_schema(
        operation_id="storage_elements_list",
        tags=TAGS,
        summary="All storage elements",
        parameters=[
            query("mode", "edit, rw, ro or ar"),
            query("status", "online, degraded, offline or maintenance"),
            query("q", "part of the name or storage_id"),
        ],
        responses=answers({200: shapes.StorageElementSerializer(many=True)}, 400, 401, 403),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="storage_elements_register",
        tags=TAGS,
        summary="Register a storage element; a full sync of its files starts",
        request=shapes.RegisterElementSerializer,
        responses=answers({201: shapes.StorageElementSerializer}, 400, 401, 403, 409, 502),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.RegisterElementSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        registration = Registration(**asked.validated_data)
        done = elements.register(registration, principal_of(request), timezone.now())
        tasks.enqueue_sync(done.run.pk)
        return _element(done.element, request, status=201)


class ElementView(APIView):
    permission_classes = (
        allow(GET=Act.ELEMENTS_READ, PATCH=Act.ELEMENTS_ADMIN, DELETE=Act.ELEMENTS_ADMIN),
    )

    @extend_schema(
        operation_id="storage_elements_get",
        tags=TAGS,
        summary="One storage element",
        responses=answers({200: shapes.StorageElementSerializer}, 401, 403, 404),
    )
    def get(self, request: Request, element_id: uuid.UUID) -> Response:
        return _element(elements.get(element_id), request)

    @extend_schema(
        operation_id="storage_elements_edit",
        tags=TAGS,
        summary="Change name, address, trust, maintenance, or accept another instance",
        request=shapes.EditElementSerializer,
        responses=answers({200: shapes.StorageElementSerializer}, 400, 401, 403, 404, 409, 502),
    )
    def patch(self, request: Request, element_id: uuid.UUID) -> Response:
        asked = shapes.EditElementSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        changes = ElementEdit(**asked.validated_data)
        edited = elements.edit(element_id, changes, principal_of(request), timezone.now())
        return _element(edited, request)

    @extend_schema(
        operation_id="storage_elements_remove",
        tags=TAGS,
        summary="Forget a storage element; its files stay where they are",
        parameters=[query("force", "also while records are active: they become deleted", bool)],
        responses=answers({204: None}, 400, 401, 403, 404, 409),
    )
    def delete(self, request: Request, element_id: uuid.UUID) -> Response:
        force = listing.flag(request.query_params, "force")
        elements.remove(element_id, principal_of(request), timezone.now(), force=force)
        return Response(status=204)


class ModeView(APIView):
    permission_classes = (_OPERATE,)

    @extend_schema(
        operation_id="storage_elements_change_mode",
        tags=TAGS,
        summary="Ask the element for another mode",
        request=shapes.ModeSerializer,
        responses=answers({200: shapes.ModeChangeSerializer}, 400, 401, 403, 404, 409, 502),
    )
    def post(self, request: Request, element_id: uuid.UUID) -> Response:
        asked = shapes.ModeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        move = (asked.validated_data["target_mode"], asked.validated_data["confirm"])
        change = elements.change_mode(element_id, move, principal_of(request), timezone.now())
        return Response(shapes.ModeChangeSerializer(change).data)


class ReconcileView(APIView):
    permission_classes = (_OPERATE,)

    @extend_schema(
        operation_id="storage_elements_reconcile",
        tags=TAGS,
        summary="Let the element check its files against its attributes",
        request=None,
        responses=answers({202: OpenApiTypes.OBJECT}, 401, 403, 404, 409, 502),
    )
    def post(self, request: Request, element_id: uuid.UUID) -> Response:
        run = elements.start_reconcile(element_id, principal_of(request), timezone.now())
        return Response(run, status=202)


class ProbeView(APIView):
    permission_classes = (_OPERATE,)

    @extend_schema(
        operation_id="storage_elements_probe",
        tags=TAGS,
        summary="Ask the element how it is, now",
        request=None,
        responses=answers({200: shapes.StorageElementSerializer}, 401, 403, 404),
    )
    def post(self, request: Request, element_id: uuid.UUID) -> Response:
        return _element(probing.probe(elements.get(element_id), timezone.now()), request)


class SyncView(APIView):
    permission_classes = (_OPERATE,)

    @extend_schema(
        operation_id="storage_elements_sync",
        tags=TAGS,
        summary="Make the records match the element's files",
        parameters=[query("wait", "answer when the run has ended", bool)],
        request=shapes.StartSyncSerializer,
        responses=answers(
            {200: shapes.SyncRunSerializer, 202: shapes.SyncRunSerializer},
            *(400, 401, 403, 404, 409, 502),
        ),
    )
    def post(self, request: Request, element_id: uuid.UUID) -> Response:
        asked = shapes.StartSyncSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        # Everything that can be refused comes before the claim: a claimed run has to be run.
        wait = listing.flag(request.query_params, "wait")
        subject = principal_of(request).subject
        wanted = sync.Request(SyncTrigger.MANUAL, requested_by=subject, **asked.validated_data)
        run = sync.claim(elements.get(element_id), wanted)
        if not wait:
            tasks.enqueue_sync(run.pk)
            return Response(shapes.SyncRunSerializer(run).data, status=202)
        sync.run(run.pk)
        run.refresh_from_db()
        return Response(shapes.SyncRunSerializer(run).data)


class ElementSyncRunsView(ListAPIView[SyncRun]):
    permission_classes = (_READ,)
    serializer_class = shapes.SyncRunSerializer
    page_order = ("-started_at", "id")

    def get_queryset(self) -> QuerySet[SyncRun]:
        listing.parameters(self.request.query_params, set())
        if getattr(self, "swagger_fake_view", False):
            return SyncRun.objects.none()
        return SyncRun.objects.filter(storage_element=elements.get(self.kwargs["element_id"]))

    @extend_schema(
        operation_id="storage_elements_sync_runs",
        tags=TAGS,
        summary="The sync runs of an element, newest first",
        responses=answers({200: shapes.SyncRunSerializer(many=True)}, 400, 401, 403, 404),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class SyncRunView(APIView):
    permission_classes = (_READ,)

    @extend_schema(
        operation_id="sync_runs_get",
        tags=TAGS,
        summary="One sync run",
        responses=answers({200: shapes.SyncRunSerializer}, 401, 403, 404),
    )
    def get(self, request: Request, run_id: uuid.UUID) -> Response:  # noqa: ARG002 - DRF's signature
        return Response(shapes.SyncRunSerializer(sync.get(run_id)).data)

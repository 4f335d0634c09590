"""The doors to users and service accounts."""

import uuid
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.admin import permissions, service_accounts, users
from apps.admin import serializers as shapes
from apps.admin.api.credentials import NO_STORE
from apps.admin.api.schema import TAGS, answers
from apps.admin.authentication import principal_of
from apps.admin.models import ServiceAccount, User
from apps.admin.permissions import Act
from apps.admin.service_accounts import IssuedSecret, NewAccount
from apps.admin.users import NewUser

_READ_WRITE = permissions.allow(
    GET=Act.IDENTITY_READ,
    POST=Act.IDENTITY_WRITE,
    PATCH=Act.IDENTITY_WRITE,
    DELETE=Act.IDENTITY_WRITE,
)


class UsersView(ListAPIView[User]):
    permission_classes = (_READ_WRITE,)
    serializer_class = shapes.UserSerializer
    queryset = User.objects.all()
    page_order = ("username", "id")

    @extend_schema(
        operation_id="users_list",
        tags=TAGS,
        summary="All users",
        responses=answers({200: shapes.UserSerializer(many=True)}, 400, 401, 403),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        shapes.ListFilterSerializer(data=request.query_params).is_valid(raise_exception=True)
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(shapes.represent_users(page, timezone.now()))

    @extend_schema(
        operation_id="users_create",
        tags=TAGS,
        summary="Create a user",
        request=shapes.NewUserSerializer,
        responses=answers({201: shapes.UserSerializer}, 400, 401, 403, 409),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.NewUserSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user = users.create(NewUser(**asked.validated_data), principal_of(request), timezone.now())
        return _user(user, status=201)


class UserView(APIView):
    permission_classes = (_READ_WRITE,)

    @extend_schema(
        operation_id="users_get",
        tags=TAGS,
        summary="One user",
        responses=answers({200: shapes.UserSerializer}, 401, 403, 404),
    )
    def get(self, request: Request, user_id: uuid.UUID) -> Response:  # noqa: ARG002 - DRF's signature
        return _user(users.get(user_id))

    @extend_schema(
        operation_id="users_edit",
        tags=TAGS,
        summary="Change email, role or whether the user is active",
        request=shapes.EditUserSerializer,
        responses=answers({200: shapes.UserSerializer}, 400, 401, 403, 404, 409),
    )
    def patch(self, request: Request, user_id: uuid.UUID) -> Response:
        asked = shapes.EditUserSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return _user(
            users.edit(user_id, asked.validated_data, principal_of(request), timezone.now())
        )

    @extend_schema(
        operation_id="users_delete",
        tags=TAGS,
        summary="Remove a user",
        responses=answers({204: None}, 401, 403, 404, 409),
    )
    def delete(self, request: Request, user_id: uuid.UUID) -> Response:
        users.remove(user_id, principal_of(request), timezone.now())
        return Response(status=204)


class ResetPasswordView(APIView):
    permission_classes = (permissions.allow(POST=Act.IDENTITY_WRITE),)

    @extend_schema(
        operation_id="users_reset_password",
        tags=TAGS,
        summary="Set a user's password; the user's sessions end",
        request=shapes.ResetPasswordSerializer,
        responses=answers({204: None}, 400, 401, 403, 404),
    )
    def post(self, request: Request, user_id: uuid.UUID) -> Response:
        asked = shapes.ResetPasswordSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        password = asked.validated_data["new_password"]
        users.reset_password(user_id, password, principal_of(request), timezone.now())
        return Response(status=204)


class UnlockView(APIView):
    permission_classes = (permissions.allow(POST=Act.IDENTITY_WRITE),)

    @extend_schema(
        operation_id="users_unlock",
        tags=TAGS,
        summary="Unlock a user before the lock runs out",
        request=None,
        responses=answers({204: None}, 401, 403, 404, 409),
    )
    def post(self, request: Request, user_id: uuid.UUID) -> Response:
        users.unlock(user_id, principal_of(request), timezone.now())
        return Response(status=204)


class ServiceAccountsView(ListAPIView[ServiceAccount]):
    permission_classes = (_READ_WRITE,)
    serializer_class = shapes.ServiceAccountSerializer
    queryset = ServiceAccount.objects.all()
    page_order = ("name", "id")

    def get_queryset(self) -> QuerySet[ServiceAccount]:
        asked = shapes.AccountFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return super().get_queryset().filter(**asked.validated_data)

    @extend_schema(
        operation_id="service_accounts_list",
        tags=TAGS,
        summary="All service accounts",
        parameters=[shapes.AccountFilterSerializer],
        responses=answers({200: shapes.ServiceAccountSerializer(many=True)}, 400, 401, 403),
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="service_accounts_create",
        tags=TAGS,
        summary="Create a service account; its secret is shown this once",
        request=shapes.NewServiceAccountSerializer,
        responses=answers({201: shapes.CreatedServiceAccountSerializer}, 400, 401, 403, 409),
    )
    def post(self, request: Request) -> Response:
        asked = shapes.NewServiceAccountSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        draft = NewAccount(**asked.validated_data)
        return _created(service_accounts.create(draft, principal_of(request), timezone.now()))


class ServiceAccountView(APIView):
    permission_classes = (_READ_WRITE,)

    @extend_schema(
        operation_id="service_accounts_get",
        tags=TAGS,
        summary="One service account",
        responses=answers({200: shapes.ServiceAccountSerializer}, 401, 403, 404),
    )
    def get(self, request: Request, account_id: uuid.UUID) -> Response:  # noqa: ARG002 - DRF's signature
        return Response(shapes.ServiceAccountSerializer(service_accounts.get(account_id)).data)

    @extend_schema(
        operation_id="service_accounts_edit",
        tags=TAGS,
        summary="Change name, description, scopes, status or element_tokens",
        request=shapes.EditServiceAccountSerializer,
        responses=answers({200: shapes.ServiceAccountSerializer}, 400, 401, 403, 404, 409),
    )
    def patch(self, request: Request, account_id: uuid.UUID) -> Response:
        asked = shapes.EditServiceAccountSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        changes, now = asked.validated_data, timezone.now()
        account = service_accounts.edit(account_id, changes, principal_of(request), now)
        return Response(shapes.ServiceAccountSerializer(account).data)

    @extend_schema(
        operation_id="service_accounts_delete",
        tags=TAGS,
        summary="Remove a service account; its tokens stop at once",
        responses=answers({204: None}, 401, 403, 404),
    )
    def delete(self, request: Request, account_id: uuid.UUID) -> Response:
        service_accounts.remove(account_id, principal_of(request), timezone.now())
        return Response(status=204)


class RotateSecretView(APIView):
    permission_classes = (permissions.allow(POST=Act.IDENTITY_WRITE),)

    @extend_schema(
        operation_id="service_accounts_rotate_secret",
        tags=TAGS,
        summary="A new secret; the old one may live on for a while",
        request=shapes.RotateSecretSerializer,
        responses=answers({200: shapes.RotatedSecretSerializer}, 400, 401, 403, 404),
    )
    def post(self, request: Request, account_id: uuid.UUID) -> Response:
        asked = shapes.RotateSecretSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        overlap_seconds, now = asked.validated_data["overlap_seconds"], timezone.now()
        issued = service_accounts.rotate_secret(
            account_id, overlap_seconds, principal_of(request), now
        )
        body = {
            "client_id": issued.account.client_id,
            "client_secret": issued.client_secret,
            "secret_expires_at": issued.account.secret_expires_at,
        }
        return Response(shapes.RotatedSecretSerializer(body).data, headers=NO_STORE)


def _user(user: User, status: int = 200) -> Response:
    return Response(shapes.represent_users([user], timezone.now())[0], status=status)


def _created(issued: IssuedSecret) -> Response:
    body = shapes.ServiceAccountSerializer(issued.account).data
    secret = {"client_secret": issued.client_secret}
    return Response(body | secret, status=201, headers=NO_STORE)

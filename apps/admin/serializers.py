"""The JSON of identity: what callers send and what they see. Rules live in the verbs."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from apps.admin import lockout
from apps.admin.models import SCOPES, AccountStatus, AuditEvent, Role, ServiceAccount, User
from apps.admin.service_accounts import (
    DEFAULT_EXPIRATION_DAYS,
    LONGEST_NAME_CHARACTERS,
    LONGEST_OVERLAP_SECONDS,
    SHORTEST_NAME_CHARACTERS,
)
from artstore.api import StrictSerializer

LONGEST_PASSWORD_CHARACTERS = 1024
LONGEST_EXPIRATION_DAYS = 3650
# For the schema and the first look; what else a name may not hold is for the verb to say.
_NAME_BOUNDS: dict[str, Any] = {
    "min_length": SHORTEST_NAME_CHARACTERS,
    "max_length": LONGEST_NAME_CHARACTERS,
}
PAGING_PARAMETERS = ("limit", "offset", "cursor")


def _password(**options: Any) -> serializers.CharField:
    return serializers.CharField(
        max_length=LONGEST_PASSWORD_CHARACTERS, trim_whitespace=False, write_only=True, **options
    )


class LoginSerializer(StrictSerializer):
    username = serializers.CharField(max_length=255)
    password = _password()


class _OpaqueField(serializers.CharField):
    """Any text at all: whether it is one of ours is for the verb to say, not for its shape."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return data if isinstance(data, str) else super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:  # noqa: ARG002 - DRF's signature
        self.fail("invalid")


class RefreshTokenSerializer(StrictSerializer):
    refresh_token = _OpaqueField(write_only=True, allow_blank=True)


class TokenPairSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()


class ChangePasswordSerializer(StrictSerializer):
    current_password = _password()
    new_password = _password()


class ResetPasswordSerializer(StrictSerializer):
    new_password = _password()


class UserSerializer(serializers.ModelSerializer[User]):
    is_locked = serializers.SerializerMethodField()
    locked_until = serializers.SerializerMethodField()
    failed_login_attempts = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "email",
            "role",
            "is_active",
            "is_locked",
            "locked_until",
            "failed_login_attempts",
            "last_login_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def _lock(self, user: User) -> lockout.LockState:
        state: lockout.LockState = self.context["locks"][user.username]
        return state

    def get_is_locked(self, user: User) -> bool:
        return self._lock(user).is_locked

    def get_locked_until(self, user: User) -> dt.datetime | None:
        return self._lock(user).locked_until

    def get_failed_login_attempts(self, user: User) -> int:
        return self._lock(user).failed_attempts


def represent_users(users: Sequence[User], now: dt.datetime) -> list[dict[str, Any]]:
    """Users with their locks, which live per name and are read in one query."""
    locks = lockout.states([user.username for user in users], now)
    return list(UserSerializer(users, many=True, context={"locks": locks}).data)


class NewUserSerializer(StrictSerializer):
    username = serializers.CharField(min_length=3, max_length=50)
    password = _password()
    role = serializers.ChoiceField(choices=Role.choices)
    email = serializers.EmailField(required=False, allow_null=True, max_length=254)


class EditUserSerializer(StrictSerializer):
    email = serializers.EmailField(required=False, allow_null=True, max_length=254)
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    is_active = serializers.BooleanField(required=False)


class ServiceAccountSerializer(serializers.ModelSerializer[ServiceAccount]):
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ServiceAccount
        fields: tuple[str, ...] = (
            "id",
            "client_id",
            "name",
            "description",
            "scopes",
            "status",
            "element_tokens",
            "secret_expires_at",
            "last_used_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class NewServiceAccountSerializer(StrictSerializer):
    name = serializers.CharField(**_NAME_BOUNDS)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=SCOPES), min_length=1)
    description = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=500
    )
    secret_expiration_days = serializers.IntegerField(
        default=DEFAULT_EXPIRATION_DAYS,
        min_value=0,
        max_value=LONGEST_EXPIRATION_DAYS,
        help_text="0: the secret never expires.",
    )
    element_tokens = serializers.BooleanField(
        default=False, help_text="May ask the token endpoint for tokens of storage elements."
    )


class EditServiceAccountSerializer(StrictSerializer):
    name = serializers.CharField(required=False, **_NAME_BOUNDS)
    description = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=500
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), min_length=1, required=False
    )
    status = serializers.ChoiceField(choices=AccountStatus.choices, required=False)
    element_tokens = serializers.BooleanField(required=False)


class CreatedServiceAccountSerializer(ServiceAccountSerializer):
    client_secret = serializers.CharField(help_text="Shown this once.")

    class Meta(ServiceAccountSerializer.Meta):
        fields: tuple[str, ...] = (*ServiceAccountSerializer.Meta.fields, "client_secret")


class RotateSecretSerializer(StrictSerializer):
    overlap_seconds = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=LONGEST_OVERLAP_SECONDS,
        help_text="How much longer the old secret works.",
    )


class RotatedSecretSerializer(serializers.Serializer[Any]):
    client_id = serializers.CharField()
    client_secret = serializers.CharField(help_text="Shown this once.")
    secret_expires_at = serializers.DateTimeField(allow_null=True)


class KeyStatusSerializer(serializers.Serializer[Any]):
    active_key_id = serializers.CharField()
    algorithm = serializers.CharField()
    created_at = serializers.DateTimeField()
    previous_key_id = serializers.CharField(allow_null=True)
    grace_period_ends_at = serializers.DateTimeField(allow_null=True)


class RotateKeySerializer(StrictSerializer):
    emergency = serializers.BooleanField(
        default=False, help_text="The old key stops verifying at once."
    )


class RotationSerializer(serializers.Serializer[Any]):
    new_key_id = serializers.CharField()
    previous_key_id = serializers.CharField(allow_null=True)
    grace_period_ends_at = serializers.DateTimeField(allow_null=True)
    warning = serializers.CharField(allow_null=True)


class JwkSerializer(serializers.Serializer[Any]):
    kty = serializers.CharField()
    use = serializers.CharField()
    alg = serializers.CharField()
    kid = serializers.CharField()
    n = serializers.CharField()
    e = serializers.CharField()


class JwksSerializer(serializers.Serializer[Any]):
    keys = JwkSerializer(many=True)


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    id = serializers.UUIDField(source="event_id")
    details = serializers.DictField()

    class Meta:
        model = AuditEvent
        fields = (
            "id",
            "at",
            "actor",
            "actor_kind",
            "action",
            "target",
            "details",
            "request_id",
        )
        read_only_fields = fields


class ListFilterSerializer(StrictSerializer):
    """The query of a list without filters: paging alone. A mistyped filter must not show everything."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value({k: data[k] for k in data if k not in PAGING_PARAMETERS})


class AuditFilterSerializer(ListFilterSerializer):
    actor = serializers.CharField(required=False, max_length=100)
    action = serializers.CharField(required=False, max_length=60)
    target = serializers.CharField(required=False, max_length=300)
    after = serializers.DateTimeField(required=False, help_text="At or after this time.")
    before = serializers.DateTimeField(required=False, help_text="Before this time.")


class AccountFilterSerializer(ListFilterSerializer):
    status = serializers.ChoiceField(choices=AccountStatus.choices, required=False)


class TokenRequestSerializer(serializers.Serializer[Any]):
    """For the schema only: RFC 6749 has its own rules, which the door applies."""

    grant_type = serializers.CharField(help_text="client_credentials")
    client_id = serializers.CharField(required=False, help_text="Or by HTTP Basic.")
    client_secret = serializers.CharField(required=False, help_text="Or by HTTP Basic.")
    scope = serializers.CharField(required=False, help_text="Narrows; separated by spaces.")
    resource = serializers.CharField(
        required=False, help_text="urn:artstore:element:<storage_id> for an element's own door."
    )


class AccessTokenSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    scope = serializers.CharField()


class OAuthErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField()
    error_description = serializers.CharField()


class ErrorDetailSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """The envelope of every failure."""

    error = ErrorDetailSerializer()
    request_id = serializers.CharField()

"""The nouns of identity: who there is, which keys sign, which sessions live, what was done.

Each guards its own shape by constraints. Who may do what is decided in `permissions.py`; what
happens on login, rotation and so on in the verb modules.
"""

import datetime as dt
import uuid
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

SCOPES = (
    "files:read",
    "files:write",
    "storage:read",
    "storage:write",
    "admin:read",
    "admin:write",
)
SERVICE_PREFIX = "sa_"
# The `sub` of calls the modules make for themselves.
SYSTEM_SUBJECT = "artstore"


class Role(models.TextChoices):
    ADMIN = "admin", _("Administrator")
    READONLY = "readonly", _("Read only")


class User(AbstractBaseUser):
    """A person with a password. The username never changes: files carry it as `uploaded_by`."""

    last_login = None  # replaced by last_login_at, the contract's name

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=50, unique=True)
    email = models.EmailField(null=True, blank=True)
    role = models.CharField(max_length=20, choices=Role.choices)
    is_active = models.BooleanField(default=True)
    # Part of every session's hash: counting it up ends all console sessions of the user.
    session_generation = models.PositiveIntegerField(default=0)
    last_login_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    objects: ClassVar[BaseUserManager[Self]] = BaseUserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("username",)
        constraints = (
            models.UniqueConstraint(Lower("username"), name="user_username_any_case"),
            models.CheckConstraint(
                condition=~models.Q(username__istartswith=SERVICE_PREFIX)
                & ~models.Q(username__iexact=SYSTEM_SUBJECT),
                name="user_username_not_reserved",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="user_role_known"
            ),
        )

    def __str__(self) -> str:
        return self.username

    def get_session_auth_hash(self) -> str:
        """Changes with the password and with `session_generation`, which ends sessions."""
        return self._session_hash(None)

    def get_session_auth_fallback_hash(self) -> list[str]:
        """No former SECRET_KEY is accepted for sessions."""
        return []

    def _session_hash(self, secret: str | None) -> str:
        value = f"{self.session_generation}:{self.password}"
        return salted_hmac("artstore.session", value, secret=secret, algorithm="sha256").hexdigest()


class AccountStatus(models.TextChoices):
    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")


class ServiceAccount(models.Model):
    """A program that authenticates by client credentials.

    Holds at most two secrets, as keyed digests: the current one and, while an overlap runs, the
    one before it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client_id = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=50, unique=True)
    description = models.CharField(max_length=500, null=True, blank=True)
    scopes = ArrayField(models.CharField(max_length=20))
    status = models.CharField(
        max_length=20, choices=AccountStatus.choices, default=AccountStatus.ACTIVE
    )
    # May ask the token endpoint for tokens of storage elements (`resource=`).
    element_tokens = models.BooleanField(default=False)
    # 0: secrets of this account never expire.
    secret_expiration_days = models.PositiveIntegerField()
    secret_digest = models.CharField(max_length=64)
    secret_expires_at = models.DateTimeField(null=True, blank=True)
    previous_secret_digest = models.CharField(max_length=64, null=True, blank=True)
    previous_secret_expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(scopes__contained_by=list(SCOPES)) & models.Q(scopes__len__gt=0),
                name="service_account_scopes_known",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    previous_secret_digest__isnull=True, previous_secret_expires_at__isnull=True
                )
                | models.Q(
                    previous_secret_digest__isnull=False, previous_secret_expires_at__isnull=False
                ),
                name="service_account_previous_secret_ends",
            ),
        )

    def __str__(self) -> str:
        return self.client_id

    @classmethod
    def with_secret_ending(cls, now: dt.datetime) -> "models.QuerySet[ServiceAccount]":
        """Active accounts whose secret ends within the warning time, or has ended."""
        soon = now + dt.timedelta(days=settings.ARTSTORE_SECRET_WARNING_DAYS)
        ending = cls.objects.filter(status=AccountStatus.ACTIVE, secret_expires_at__lte=soon)
        return ending.order_by("secret_expires_at", "client_id")


class KeyState(models.TextChoices):
    ANNOUNCED = "announced", _("Announced")
    ACTIVE = "active", _("Active")
    RETIRING = "retiring", _("Retiring")
    RETIRED = "retired", _("Retired")


class SigningKey(models.Model):
    """An RSA key: announced, then active, then retiring, then retired. Never goes back.

    `private_pem_encrypted` is readable only with ARTSTORE_KEY_ENCRYPTION_KEYS and is emptied
    when the key stops signing. A retiring key verifies until `leaves_at`.
    """

    kid = models.CharField(max_length=64, primary_key=True)
    state = models.CharField(max_length=20, choices=KeyState.choices)
    public_jwk = models.JSONField()
    private_pem_encrypted = models.TextField(blank=True)
    # The longest life of a token this key signed; the key stays published that long afterwards.
    longest_token_seconds = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    leaves_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "kid")
        constraints = (
            models.UniqueConstraint(
                fields=("state",),
                condition=models.Q(state=KeyState.ACTIVE),
                name="signing_key_one_active",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=KeyState.RETIRING) | models.Q(leaves_at__isnull=False),
                name="signing_key_retiring_leaves",
            ),
        )

    def __str__(self) -> str:
        return self.kid


class RefreshFamily(models.Model):
    """One login and everything refreshed from it. Revoking it ends that session everywhere."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="refresh_families")
    created_at = models.DateTimeField()
    # When the newest refresh token of the family expires.
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=20, blank=True)

    def __str__(self) -> str:
        return str(self.id)


class RefreshToken(models.Model):
    """One opaque token of a family, kept as a keyed digest; used once."""

    digest = models.CharField(max_length=64, primary_key=True)
    family = models.ForeignKey(RefreshFamily, on_delete=models.CASCADE, related_name="tokens")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"of family {self.family_id}"


class LoginThrottle(models.Model):
    """Failed logins of one submitted name, known or not.

    The name is kept as a keyed digest: people type passwords into the wrong field.
    """

    name_digest = models.CharField(max_length=64, primary_key=True)
    failures = models.PositiveIntegerField(default=0)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    locked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"

    def is_locked(self, now: dt.datetime) -> bool:
        return self.locked_until is not None and self.locked_until > now


class RequestRate(models.Model):
    """When the next request of one address or name at one door would be due, for throttling.

    The table is UNLOGGED: losing it in a crash forgives at most one burst.
    """

    key_digest = models.CharField(max_length=64, primary_key=True)
    due_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"due {self.due_at}"


class AuditEvent(models.Model):
    """One administrative act or refusal. A trigger refuses UPDATE, and DELETE outside pruning."""

    sequence = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=100, db_index=True)
    actor_kind = models.CharField(max_length=20)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=300)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=128, blank=True)

    class Meta:
        ordering = ("-sequence",)
        # The history of one thing, newest first, as its page and `?target=` show it.
        indexes = (models.Index(fields=("target", "-sequence"), name="audit_by_target"),)

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}"

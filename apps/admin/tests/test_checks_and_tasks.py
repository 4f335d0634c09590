"""What is found at start, and what happens in the background."""

import datetime as dt
import logging

import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.core import checks
from django.test import Client
from django.utils import timezone

from apps.admin import keys, tasks
from apps.admin.checks import check_active_key_opens, check_settings
from apps.admin.models import KeyState, LoginThrottle, RefreshFamily, ServiceAccount, SigningKey
from apps.admin.tests import make

pytestmark = pytest.mark.django_db


def found() -> set[str]:
    return {message.id for message in check_settings(None)}


def test_the_defaults_pass() -> None:
    assert found() == set()
    assert check_active_key_opens(None) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ARTSTORE_KEY_GRACE_SECONDS", 3599, "artstore.E101"),
        ("ARTSTORE_SERVICE_TOKEN_SECONDS", 3601, "artstore.E101"),
        ("ARTSTORE_ELEMENT_TOKEN_SECONDS", 901, "artstore.E102"),
        ("ARTSTORE_ELEMENT_TOKEN_SECONDS", 60, "artstore.E102"),
        ("ARTSTORE_REFRESH_TOKEN_SECONDS", 60, "artstore.E103"),
        ("ARTSTORE_KEY_ENCRYPTION_KEYS", [], "artstore.E104"),
        ("ARTSTORE_KEY_ENCRYPTION_KEYS", ["short"], "artstore.E105"),
        ("ARTSTORE_DIGEST_KEY", "short", "artstore.E106"),
        ("SECRET_KEY", "short", "artstore.E106"),
        ("ARTSTORE_LOCK_FAILURES", 0, "artstore.E108"),
        ("ARTSTORE_THROTTLE_NAME_PER_MINUTE", 0, "artstore.E108"),
        ("ARTSTORE_TRUSTED_PROXIES", -1, "artstore.E109"),
        ("ARTSTORE_ISSUER", "", "artstore.E110"),
        ("ARTSTORE_KEY_CACHE_SECONDS", 11, "artstore.E111"),
        ("ARTSTORE_KEY_CACHE_SECONDS", -1, "artstore.E111"),
    ],
)
def test_a_setting_that_cannot_work_is_named_with_a_hint(
    settings: object, name: str, value: object, expected: str
) -> None:
    setattr(settings, name, value)
    messages = check_settings(None)
    assert {message.id for message in messages} == {expected}
    assert all(message.hint for message in messages)
    assert all(message.level >= checks.ERROR for message in messages)


def test_an_encryption_key_that_does_not_open_the_database_is_found(settings: object) -> None:
    settings.ARTSTORE_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert [message.id for message in check_active_key_opens(None)] == ["artstore.E107"]


def test_the_task_retires_keys_after_their_grace() -> None:
    rotation = keys.rotate(None, timezone.now())
    tasks.retire_signing_keys()
    assert SigningKey.objects.get(kid=rotation.previous_key_id).state == KeyState.RETIRING
    SigningKey.objects.filter(kid=rotation.previous_key_id).update(leaves_at=timezone.now())
    tasks.retire_signing_keys()
    assert SigningKey.objects.get(kid=rotation.previous_key_id).state == KeyState.RETIRED


def test_the_task_forgets_ended_sessions_and_idle_counts() -> None:
    make.login(make.user())
    long_ago = timezone.now() - dt.timedelta(days=3)
    RefreshFamily.objects.update(expires_at=long_ago)
    LoginThrottle.objects.update(last_failure_at=long_ago)
    tasks.expire_sessions()
    assert not RefreshFamily.objects.exists()
    assert not LoginThrottle.objects.exists()


def test_the_task_warns_of_secrets_that_end_soon(caplog: pytest.LogCaptureFixture) -> None:
    soon, later = make.account(), make.account()
    ServiceAccount.objects.filter(pk=soon.account.pk).update(
        secret_expires_at=timezone.now() + dt.timedelta(days=3)
    )
    with caplog.at_level(logging.WARNING):
        tasks.warn_of_expiring_secrets()
    assert soon.account.client_id in caplog.text
    assert later.account.client_id not in caplog.text
    assert soon.client_secret not in caplog.text


def test_the_metrics_page_tells_what_the_rows_say() -> None:
    account = make.account().account
    ServiceAccount.objects.filter(pk=account.pk).update(secret_expires_at=timezone.now())
    LoginThrottle.objects.create(
        name_digest="x", locked_until=timezone.now() + dt.timedelta(minutes=5)
    )
    page = Client().get("/metrics").content.decode()
    assert "artstore_service_account_secrets_expiring 1.0" in page
    assert "artstore_locked_names 1.0" in page
    assert "artstore_signing_key_age_seconds" in page
    assert "artstore_logins_total" in page


def test_the_task_forgets_console_sessions_that_ran_out() -> None:
    for _ in range(2):
        Client().force_login(make.user())
    Session.objects.filter(pk=Session.objects.all()[0].pk).update(
        expire_date=timezone.now() - dt.timedelta(seconds=1)
    )
    tasks.expire_sessions()
    assert Session.objects.count() == 1

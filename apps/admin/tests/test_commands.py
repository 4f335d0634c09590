"""The operators' commands do what the API does, without a secret in argv."""

import datetime as dt
import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.admin import audit, keys, service_accounts
from apps.admin.models import AuditEvent, LoginThrottle, ServiceAccount, User
from apps.admin.tests import make

pytestmark = pytest.mark.django_db


def run(*arguments: object) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_create_user_generates_a_password_and_shows_it_once() -> None:
    shown = run("create_user", "bob", "--role", "admin")
    password = shown.rpartition(" ")[2].strip()
    assert make.login(User.objects.get(username="bob"), password)


def test_create_user_reads_the_password_from_standard_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a phrase from a pipe\n"))
    shown = run("create_user", "bob", "--password-stdin")
    assert "a phrase" not in shown
    assert make.login(User.objects.get(username="bob"), "a phrase from a pipe")


def test_a_refusal_is_one_sentence_with_its_reasons() -> None:
    with pytest.raises(CommandError, match=r"username: .*reserved for programs"):
        run("create_user", "sa_bob")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("create_user", "bob", "--email", "nobody"), "not an e-mail address"),
        (
            ("create_service_account", "ci", "--scope", "files:read", "--secret-days", -1),
            "0 to 3650",
        ),
        (("create_service_account", "c" * 51, "--scope", "files:read"), "2 to 50 printable"),
    ],
)
def test_what_the_api_would_refuse_a_command_refuses(
    arguments: tuple[object, ...], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        run(*arguments)
    assert not User.objects.exists()
    assert not ServiceAccount.objects.exists()


def test_edit_user_changes_role_and_activity() -> None:
    make.user("admin")
    person = make.user("readonly")
    run("edit_user", person.username, "--role", "admin")
    run("edit_user", person.username, "--deactivate")
    person.refresh_from_db()
    assert (person.role, person.is_active) == ("admin", False)


def test_delete_user_spares_the_last_admin() -> None:
    person = make.user("admin")
    with pytest.raises(CommandError, match="last active administrator"):
        run("delete_user", person.username)
    other = make.user("admin")
    run("delete_user", person.username)
    assert list(User.objects.all()) == [other]


def test_reset_password_sets_a_new_one() -> None:
    person = make.user()
    password = run("reset_password", person.username).rpartition(" ")[2].strip()
    assert make.login(person, password)


def test_unlock_user_needs_a_lock() -> None:
    person = make.user()
    with pytest.raises(CommandError, match="is not locked"):
        run("unlock_user", person.username)


def test_unlock_user_opens_a_locked_one() -> None:
    person = make.user()
    for _ in range(5):
        with pytest.raises(Exception, match="do not go together"):
            make.login(person, "wrong")
    run("unlock_user", person.username)
    assert make.login(person)
    assert LoginThrottle.objects.get().failures == 0


def test_lists_name_everybody_and_no_secret() -> None:
    person, program = make.user(), make.account()
    assert person.username in run("list_users")
    shown = run("list_service_accounts")
    assert f"{program.account.client_id}\t{program.account.name}\t" in shown
    assert program.client_secret not in shown


def test_create_service_account_shows_credentials_that_work() -> None:
    shown = json.loads(run("create_service_account", "robot", "--scope", "files:read", "--json"))
    assert service_accounts.authenticate(shown["client_id"], shown["client_secret"], timezone.now())
    assert shown["client_id"].startswith("sa_robot_")


def test_rotate_service_account_secret_replaces_the_secret() -> None:
    old = make.account(name="robot")
    shown = json.loads(run("rotate_service_account_secret", "robot", "--json"))
    now = timezone.now()
    assert service_accounts.authenticate(shown["client_id"], shown["client_secret"], now)
    assert service_accounts.authenticate(shown["client_id"], old.client_secret, now) is None
    with pytest.raises(CommandError, match="from 0 to 86400"):
        run("rotate_service_account_secret", "robot", "--overlap-seconds", 90000)


def test_edit_service_account_suspends_and_resumes() -> None:
    make.account(name="robot")
    run("edit_service_account", "robot", "--suspend")
    assert ServiceAccount.objects.get().status == "suspended"
    run("edit_service_account", "robot", "--resume", "--scope", "files:read")
    account = ServiceAccount.objects.get()
    assert (account.status, account.scopes) == ("active", ["files:read"])


def test_delete_service_account_removes_it() -> None:
    made = make.account()
    run("delete_service_account", made.account.client_id)
    assert not ServiceAccount.objects.exists()
    with pytest.raises(CommandError, match="no such service account"):
        run("delete_service_account", made.account.client_id)


def test_rotate_signing_key_names_both_keys() -> None:
    before = keys.status(timezone.now())
    shown = run("rotate_signing_key")
    after = keys.status(timezone.now())
    assert after.previous_key_id == before.active_key_id
    assert before.active_key_id in shown
    assert after.active_key_id in shown


def test_rotate_signing_key_in_an_emergency_leaves_nothing_of_before() -> None:
    before = {jwk["kid"] for jwk in keys.keyring.jwks()}
    run("rotate_signing_key", "--emergency")
    published = {jwk["kid"] for jwk in keys.keyring.jwks()}
    assert not published & before
    assert len(published) == 3


def test_prune_audit_events_forgets_what_is_old() -> None:
    old = timezone.now() - dt.timedelta(days=31)
    audit.record(None, "user.create", "long ago", {}, old)
    assert "Deleted 1 events" in run("prune_audit_events", "--older-than-days", 30)
    assert not AuditEvent.objects.filter(target="long ago").exists()
    with pytest.raises(CommandError, match="at least 1"):
        run("prune_audit_events", "--older-than-days", 0)

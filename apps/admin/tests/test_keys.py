"""Signing keys: announced, active, retiring, gone; and every process follows."""

import datetime as dt
import threading
from collections.abc import Callable

import jwt
import pytest
from cryptography.fernet import Fernet
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from apps.admin import key_material, keys, tokens
from apps.admin.errors import InvalidToken, KeysUnusable
from apps.admin.keyring import Keyring, keyring
from apps.admin.models import AuditEvent, KeyState, SigningKey
from apps.admin.tests import make

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


def states() -> list[str]:
    return sorted(SigningKey.objects.values_list("state", flat=True))


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def published() -> set[str]:
    answer = Client().get("/api/v1/auth/jwks")
    assert answer.status_code == 200
    return {key["kid"] for key in answer.json()["keys"]}


def test_the_first_keys_are_one_active_and_two_announced() -> None:
    assert states() == ["active", "announced", "announced"]
    assert keys.ensure_signing_keys(timezone.now()) is False
    assert AuditEvent.objects.filter(action="key.create").count() == 1


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_make_one_set_of_keys() -> None:
    SigningKey.objects.all().delete()
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        keys.ensure_signing_keys(timezone.now())
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states() == ["active", "announced", "announced"]


def test_the_database_refuses_a_second_active_key() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        SigningKey.objects.filter(state=KeyState.ANNOUNCED).update(state=KeyState.ACTIVE)


def test_the_jwks_is_cacheable_and_holds_no_private_part() -> None:
    answer = Client().get("/.well-known/jwks.json")
    assert "max-age" in answer.headers["Cache-Control"]
    for key in answer.json()["keys"]:
        assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
    assert answer.json() == Client().get("/api/v1/auth/jwks").json()


def test_prior_art_36_rotation_reaches_every_path_that_signs() -> None:
    """35-37: rotating used to report success without rotating, and to miss signing paths."""
    admin, person = make.bearer(make.user_token()), make.user("readonly")
    account = make.account()
    now = timezone.now()

    def signed() -> set[str]:
        later = timezone.now()
        program = tokens.service_token(account.account, ["files:read"], None, later).token
        direct = tokens.element_token_for_client(
            "rack-1", account.account, ["files:read"], None, later
        ).token
        module = f"query-{len(AuditEvent.objects.all())}"
        passed_on = tokens.element_token("rack-1", "ada", module, ["files:read"], later)
        everything = (make.login(person).access_token, program, direct, passed_on)
        return {kid_of(token) for token in everything}

    old = keys.status(now).active_key_id
    assert signed() == {old}
    rotated = make.post(admin, "/jwt-keys/rotate").json()
    assert rotated["previous_key_id"] == old
    assert rotated["new_key_id"] != old
    assert signed() == {rotated["new_key_id"]}


def test_a_rotation_activates_the_announced_key_and_announces_the_next() -> None:
    first, second = SigningKey.objects.filter(state="announced").order_by("created_at", "kid")
    before = published()
    rotation = keys.rotate(None, timezone.now())
    assert rotation.new_key_id == first.kid
    assert states() == ["active", "announced", "announced", "retiring"]
    assert before < published()
    assert keys.rotate(None, timezone.now()).new_key_id == second.kid


def test_a_node_that_missed_two_rotations_still_knows_the_key_that_signs() -> None:
    known_when_cut_off = published()
    for _ in range(2):
        keys.rotate(None, timezone.now())
        person = make.user()
        assert kid_of(make.login(person).access_token) in known_when_cut_off


def test_a_fresh_announcement_carries_a_warning_and_a_settled_one_none() -> None:
    now = timezone.now()
    assert "24 hours" in str(keys.rotate(None, now).warning)
    assert keys.rotate(None, now + dt.timedelta(hours=25)).warning is None


def test_tokens_of_the_old_key_live_out_their_life() -> None:
    person = make.user()
    old_token = make.login(person).access_token
    rotation = keys.rotate(None, timezone.now())
    assert make.bearer(old_token).get("/api/v1/admin-auth/me").status_code == 200
    assert rotation.grace_period_ends_at >= timezone.now() + HOUR
    assert kid_of(old_token) in published()


def test_the_old_key_leaves_after_its_grace() -> None:
    token = make.login(make.user()).access_token
    rotation = keys.rotate(None, timezone.now())
    SigningKey.objects.filter(kid=rotation.previous_key_id).update(leaves_at=timezone.now())
    keyring.forget()
    assert rotation.previous_key_id not in published()
    assert make.bearer(token).get("/api/v1/admin-auth/me").status_code == 401
    assert keys.retire_expired(timezone.now()) == 1
    assert keys.status(timezone.now()).previous_key_id is None


def test_a_key_outlasts_the_longest_token_it_signed_even_after_settings_shrink(
    settings: object,
) -> None:
    settings.ARTSTORE_SERVICE_TOKEN_SECONDS = 7200
    now = timezone.now()
    tokens.service_token(make.account().account, ["files:read"], None, now)
    settings.ARTSTORE_SERVICE_TOKEN_SECONDS = settings.ARTSTORE_KEY_GRACE_SECONDS = 60
    rotation = keys.rotate(None, now)
    assert rotation.grace_period_ends_at >= now + 2 * HOUR


def test_emergency_drops_the_old_key_at_once() -> None:
    token = make.login(make.user()).access_token
    rotation = keys.rotate(None, timezone.now(), emergency=True)
    assert rotation.previous_key_id not in published()
    assert make.bearer(token).get("/api/v1/admin-auth/me").status_code == 401


def test_emergency_drops_every_key_that_lay_beside_the_leaked_one() -> None:
    keys.rotate(None, timezone.now())
    known = published()
    rotation = keys.rotate(None, timezone.now(), emergency=True)
    assert published().isdisjoint(known)
    assert len(published()) == 1 + keys.ANNOUNCED_AHEAD
    assert "24 hours" in str(rotation.warning)
    event = AuditEvent.objects.get(action="key.rotate", details__emergency=True)
    assert {*event.details["dropped"], rotation.previous_key_id} == known
    assert not SigningKey.objects.filter(kid__in=known).exclude(private_pem_encrypted="").exists()


def test_emergency_withdraws_cached_element_tokens_of_the_old_key() -> None:
    now = timezone.now()
    before = tokens.element_token("rack-9", "ada", "query", ["files:read"], now)
    keys.rotate(None, now, emergency=True)
    after = tokens.element_token("rack-9", "ada", "query", ["files:read"], now)
    assert kid_of(after) == keys.status(now).active_key_id != kid_of(before)


def test_another_process_signs_with_the_new_key_within_the_cache_time(settings: object) -> None:
    settings.ARTSTORE_KEY_CACHE_SECONDS = 0
    other_process = Keyring()
    other_process.signing_key(60)
    rotation = keys.rotate(None, timezone.now(), emergency=True)
    assert other_process.signing_key(60)[0] == rotation.new_key_id


def test_what_another_process_still_signs_with_the_old_key_is_good_for_its_life(
    settings: object,
) -> None:
    settings.ARTSTORE_KEY_CACHE_SECONDS = 3600
    other_process = Keyring()
    old = other_process.signing_key(60)[0]
    rotation = keys.rotate(None, timezone.now())
    assert other_process.signing_key(60)[0] == old == rotation.previous_key_id
    last_moment = timezone.now() + dt.timedelta(seconds=keys.longest_token_seconds())
    assert rotation.grace_period_ends_at > last_moment + dt.timedelta(seconds=10)


def test_a_process_that_never_opened_the_old_key_signs_with_the_new_one(settings: object) -> None:
    settings.ARTSTORE_KEY_CACHE_SECONDS = 3600
    other_process = Keyring()
    other_process.jwks()
    rotation = keys.rotate(None, timezone.now())
    assert other_process.signing_key(60)[0] == rotation.new_key_id


def test_another_process_drops_the_old_key_within_the_cache_time(settings: object) -> None:
    settings.ARTSTORE_KEY_CACHE_SECONDS = 0
    other_process = Keyring()
    old = keys.status(timezone.now()).active_key_id
    assert other_process.knows(old)
    keys.rotate(None, timezone.now(), emergency=True)
    assert not other_process.knows(old)


def test_an_unknown_key_makes_one_fresh_look_and_a_flood_does_not(
    settings: object, django_assert_max_num_queries: Callable
) -> None:
    settings.ARTSTORE_KEY_CACHE_SECONDS = 3600
    other_process = Keyring()
    other_process.jwks()
    new = keys.rotate(None, timezone.now(), emergency=True).new_key_id
    assert other_process.public_key(new) is not None
    with django_assert_max_num_queries(1):
        assert not any(other_process.public_key(f"made-up-{number}") for number in range(50))


def test_prior_art_35_private_keys_cannot_be_read_from_a_database_dump() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select to_jsonb(k)::text from artstore_admin_signingkey k")
        dump = " ".join(row[0] for row in cursor.fetchall())
    assert "PRIVATE" not in dump
    for row in SigningKey.objects.all():
        private = key_material.open_private(row.private_pem_encrypted)
        secret_exponent = private.private_numbers().d
        assert str(secret_exponent) not in dump
        assert f"{secret_exponent:x}" not in dump


def test_a_key_that_signs_no_more_has_no_private_part() -> None:
    rotation = keys.rotate(None, timezone.now())
    assert SigningKey.objects.get(kid=rotation.previous_key_id).private_pem_encrypted == ""


def test_the_wrong_encryption_key_is_said_plainly_and_shows_nothing(settings: object) -> None:
    settings.ARTSTORE_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(KeysUnusable, match="ARTSTORE_KEY_ENCRYPTION_KEYS") as raised:
        Keyring().signing_key(60)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_after_the_encryption_key_is_lost_an_emergency_rotation_helps(settings: object) -> None:
    settings.ARTSTORE_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    rotation = keys.rotate(None, timezone.now(), emergency=True)
    assert Keyring().signing_key(60)[0] == rotation.new_key_id
    assert states() == ["active", "announced", "announced", "retired", "retired", "retired"]


def test_encryption_keys_can_be_rotated(settings: object) -> None:
    new = Fernet.generate_key().decode()
    settings.ARTSTORE_KEY_ENCRYPTION_KEYS = [new, *settings.ARTSTORE_KEY_ENCRYPTION_KEYS]
    assert Keyring().signing_key(60)
    rotation = keys.rotate(None, timezone.now())
    assert keys.rotate(None, timezone.now()).new_key_id != rotation.new_key_id
    settings.ARTSTORE_KEY_ENCRYPTION_KEYS = [new]
    third = keys.rotate(None, timezone.now())
    assert key_material.open_private(
        SigningKey.objects.get(kid=third.new_key_id).private_pem_encrypted
    )


def test_without_any_key_the_doors_say_what_to_run() -> None:
    SigningKey.objects.all().delete()
    keyring.forget()
    with pytest.raises(KeysUnusable, match="bootstrap"):
        tokens.element_token("rack-1", "ada", "nokeys", ["files:read"], timezone.now())
    with pytest.raises(KeysUnusable, match="bootstrap"):
        keys.status(timezone.now())


def test_key_status_is_shown_to_readers_and_names_the_previous_key() -> None:
    reader = make.bearer(make.service_token(["admin:read"]))
    assert reader.get("/api/v1/jwt-keys/status").json()["previous_key_id"] is None
    rotation = keys.rotate(None, timezone.now())
    body = reader.get("/api/v1/jwt-keys/status").json()
    assert body["algorithm"] == "RS256"
    assert body["active_key_id"] == rotation.new_key_id
    assert body["previous_key_id"] == rotation.previous_key_id
    assert body["grace_period_ends_at"]


def forged(claims: dict, header: dict, key: object, algorithm: str) -> str:
    now = int(timezone.now().timestamp())
    usual = {
        "iss": "artstore",
        "aud": "artstore-api",
        "sub": "sa_x",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "jti": "1",
        "scopes": ["files:read"],
    }
    kept = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"typ": "at+jwt"} | header)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "somebody"},
        {"aud": "urn:artstore:element:artstore-api"},
        {"aud": "artstore"},
        {"aud": None},
        {"iss": None},
        {"exp": None},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000, "nbf": None},
        {"sub": None},
        {"sub": 5},
        {"jti": None},
        {"scopes": None},
        {"scopes": "files:read"},
        {"role": "admin"},
        {"role": "admin", "scopes": None},
        {"role": "admin", "scopes": None, "sid": "not-a-uuid"},
    ],
)
def test_a_token_of_ours_with_any_claim_wrong_is_refused(claims: dict) -> None:
    kid, private = keyring.signing_key(60)
    with pytest.raises(InvalidToken):
        tokens.read_access_token(forged(claims, {"kid": kid}, private, "RS256"), timezone.now())


@pytest.mark.parametrize("typ", ["JWT", "element+jwt", None, "at+JWT"])
def test_a_token_of_another_type_is_refused(typ: str | None) -> None:
    kid, private = keyring.signing_key(60)
    token = forged({}, {"kid": kid, "typ": typ}, private, "RS256")
    with pytest.raises(InvalidToken):
        tokens.read_access_token(token, timezone.now())


def test_the_unforged_token_of_these_tests_is_accepted() -> None:
    kid, private = keyring.signing_key(60)
    token = forged({}, {"kid": kid}, private, "RS256")
    assert tokens.read_access_token(token, timezone.now()).subject == "sa_x"


def test_no_algorithm_but_rs256_is_believed() -> None:
    kid, private = keyring.signing_key(60)
    public = SigningKey.objects.get(kid=kid).public_jwk["n"]
    attempts = [
        forged({}, {"kid": kid}, None, "none"),
        forged({}, {"kid": kid}, public, "HS256"),
        forged({}, {"kid": kid}, private, "PS256"),
        forged({}, {"kid": kid}, private, "RS512"),
    ]
    for token in attempts:
        with pytest.raises(InvalidToken):
            tokens.read_access_token(token, timezone.now())


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "x" * 9000, "é", "eyJhbGciOiJSUzI1NiJ9..", "\x00"]
)
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.read_access_token(token, timezone.now())

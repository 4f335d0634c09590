"""Makes the people, programs and tokens that tests need, through the real verbs."""

import itertools
from collections.abc import Iterable
from typing import Any

from django.test import Client
from django.utils import timezone

from apps.admin import keys, service_accounts, sessions, tokens, users
from apps.admin.keyring import keyring
from apps.admin.models import SCOPES, User
from apps.admin.service_accounts import IssuedSecret, NewAccount
from apps.admin.sessions import SignIn, TokenPair
from apps.admin.users import NewUser

PASSWORD = "correct horse battery"
_numbers = itertools.count(1)


def signing_keys() -> None:
    """Keys in this test's database, and a keyring that has read them."""
    keyring.forget()
    keys.ensure_signing_keys(timezone.now())


def user(role: str = "admin", username: str = "", **changes: Any) -> User:
    draft = NewUser(username or f"{role}-{next(_numbers)}", PASSWORD, role)
    made = users.create(draft, None, timezone.now())
    if changes:
        User.objects.filter(pk=made.pk).update(**changes)
        made.refresh_from_db()
    return made


def account(scopes: Iterable[str] = SCOPES, name: str = "", **options: Any) -> IssuedSecret:
    draft = NewAccount(name or f"program {next(_numbers)}", list(scopes), **options)
    return service_accounts.create(draft, None, timezone.now())


def login(person: User, password: str = PASSWORD) -> TokenPair:
    return sessions.log_in(SignIn(person.username, password, "127.0.0.1"), timezone.now())


def user_token(role: str = "admin") -> str:
    return login(user(role)).access_token


def service_token(scopes: Iterable[str] = SCOPES) -> str:
    made = account(scopes).account
    return tokens.service_token(made, made.scopes, None, timezone.now()).token


def bearer(token: str) -> Client:
    """A client that sends the token with every request."""
    return Client(headers={"Authorization": f"Bearer {token}"})


def post(client: Client, path: str, **body: Any) -> Any:
    return client.post(f"/api/v1{path}", body, content_type="application/json")


def patch(client: Client, path: str, **body: Any) -> Any:
    return client.patch(f"/api/v1{path}", body, content_type="application/json")

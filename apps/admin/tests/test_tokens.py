"""Tokens: their kinds, their claims, and that none is taken for another."""

import datetime as dt

import jwt
import pytest
from django.utils import timezone

from apps.admin import keys, tokens
from apps.admin.keyring import keyring

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def signing_keys() -> None:
    keyring.forget()
    keys.ensure_signing_keys(timezone.now())


def test_an_element_token_says_whose_it_is_and_who_asks() -> None:
    now = timezone.now()
    token = tokens.element_token("rack-1", "ada", "ingester", ["files:write"], now)
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token, keyring.public_key(header["kid"]), ["RS256"], audience="urn:artstore:element:rack-1"
    )
    assert header["typ"] == "element+jwt"
    assert (claims["sub"], claims["act"]) == ("ada", {"sub": "ingester"})
    assert claims["scopes"] == ["files:write"]
    assert claims["exp"] - claims["iat"] <= 15 * 60


def test_an_element_token_is_made_once_for_its_life() -> None:
    now = timezone.now()
    first = tokens.element_token("rack-2", "ada", "query", ["files:read"], now)
    assert tokens.element_token("rack-2", "ada", "query", ["files:read"], now) == first
    later = now + dt.timedelta(minutes=14, seconds=30)
    assert tokens.element_token("rack-2", "ada", "query", ["files:read"], later) != first

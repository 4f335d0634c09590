"""What only pages need is met by pages alone, and nothing that guards is lost on the way."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client

from artstore.lanes import PageMiddleware

FILE = "/api/v1/files/00000000-0000-4000-8000-000000000000/download"


def test_a_call_of_the_contract_has_no_session_and_runs_nothing_in_a_browser(db: None) -> None:
    answer = Client().get(FILE)
    assert answer.status_code == 401
    assert not hasattr(answer.wsgi_request, "session")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not answer.cookies


def test_the_contract_speaks_english_whatever_the_caller_prefers(db: None) -> None:
    answer = Client().get(FILE, headers={"accept-language": "ru"})
    assert answer.json()["error"]["message"].isascii()


def test_an_unknown_host_is_refused_in_both_lanes(db: None) -> None:
    for address in (FILE, "/console/login"):
        assert Client().get(address, headers={"host": "elsewhere.example"}).status_code == 400


def test_a_page_has_its_session_and_its_policy(db: None) -> None:
    answer = Client().get("/console/login")
    assert hasattr(answer.wsgi_request, "session")
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "no-store" in answer.headers["Cache-Control"]


def test_middleware_whose_hooks_would_not_be_called_is_refused(settings: Any) -> None:
    settings.PAGE_MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
    with pytest.raises(ImproperlyConfigured, match="CsrfViewMiddleware"):
        PageMiddleware(lambda _request: HttpResponse())

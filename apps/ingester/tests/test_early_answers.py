"""Answers given before a request's body was read arrive, and have the shape of all others."""

import json

import pytest
import requests

from apps.ingester.tests.test_upload_api import MIB, raw_request, upload_url
from apps.ingester.tests.web_process import WebProcess

pytestmark = pytest.mark.django_db


class TestEarlyAnswers:
    """401, 403 and 413 are given without the application reading the body, and arrive."""

    def test_whoever_is_nobody_is_told_so_before_a_byte_is_sent(self, web: WebProcess) -> None:
        """Prior art 12: form parsed into memory and /tmp before any check."""
        head = "POST /api/v1/files/upload HTTP/1.1\nHost: localhost\nContent-Length: 1000000000"
        answer = raw_request(web, head)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b'"UNAUTHORIZED"' in answer

    def test_a_declared_size_over_the_limit_is_refused_before_the_body(
        self, web: WebProcess, token: str
    ) -> None:
        head = (
            "POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {token}\nContent-Length: {1024**3 + 1}"
        )
        answer = raw_request(web, head)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"FILE_TOO_LARGE"' in answer

    def test_an_account_without_the_scope_is_refused(
        self, web: WebProcess, reader_token: str
    ) -> None:
        head = (
            "POST /api/v1/files/upload?filename=a HTTP/1.1\nHost: localhost\n"
            f"Authorization: Bearer {reader_token}\nContent-Length: 1000000000"
        )
        assert raw_request(web, head).startswith(b"HTTP/1.1 403")

    @pytest.mark.parametrize("size", [1000, 20 * MIB])
    def test_a_client_that_sends_everything_first_still_sees_the_answer(
        self, web: WebProcess, size: int
    ) -> None:
        answer = requests.post(upload_url(web), data=b"x" * size, timeout=60)
        assert answer.status_code == 401

    @pytest.mark.parametrize("path", ["/api/v1/search", "/api/v1/admin-auth/login", "/nowhere"])
    def test_a_long_body_that_nobody_reads_closes_the_connection_in_order(
        self, web: WebProcess, token: str, path: str
    ) -> None:
        """Announced, and not before the client could see the answer."""
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            answer = session.post(
                web.base_url + path,
                data=b"x" * (20 * MIB),
                headers={"Content-Type": "application/json"},
                timeout=60,
            )
            assert answer.status_code in {400, 404}, answer.text
            assert answer.headers["Connection"] == "close"
            assert session.get(f"{web.base_url}/health/live", timeout=60).status_code == 200

    def test_a_reader_who_sends_a_large_file_sees_that_he_may_not(
        self, web: WebProcess, reader_token: str
    ) -> None:
        answer = requests.post(
            f"{upload_url(web)}?filename=a",
            data=b"x" * (20 * MIB),
            headers={"Authorization": f"Bearer {reader_token}"},
            timeout=60,
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")

    def test_a_page_refuses_a_large_file_and_the_browser_sees_it(self, web: WebProcess) -> None:
        answer = requests.post(
            f"{web.base_url}/console/upload",
            files={"file": ("a", b"x" * (20 * MIB))},
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code in {302, 403}

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (f"GET /{'x' * 9000} HTTP/1.1\nHost: localhost", 414),
            (f"GET / HTTP/1.1\nHost: localhost\nX-Long: {'x' * 20_000}", 431),
            ("POST / HTTP/1.1\nHost: localhost\nExpect: a-miracle", 417),
            ("GET / HTTP/1.1\nHost: localhost\nnonsense", 400),
        ],
    )
    def test_what_the_server_itself_refuses_has_the_envelope_too(
        self, web: WebProcess, head: str, status: int
    ) -> None:
        answer = raw_request(web, head)
        top, _, body = answer.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 %d " % status), answer[:300]
        told = json.loads(body)
        assert told["error"]["code"] == "VALIDATION_ERROR"
        assert f"X-Request-ID: {told['request_id']}".encode() in top

    def test_the_connection_serves_on_after_a_small_refused_body(self, web: WebProcess) -> None:
        with requests.Session() as session:
            first = session.post(upload_url(web), data=b"x" * 1000, timeout=60)
            second = session.get(f"{web.base_url}/health/live", timeout=60)
        assert (first.status_code, second.status_code) == (401, 200)

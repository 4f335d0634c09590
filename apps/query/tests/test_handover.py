"""Downloads handed over to a real nginx: the same answers, and nothing of the element shows."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.core.management import call_command

from apps.ingester.tests.web_process import WebProcess
from apps.query.tests.nginx_process import NGINX, NginxProcess
from storage_node.tests.node_process import free_port

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx here (Debian: nginx-light)"),
]

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 17)
SECRET = "the-secret-of-nginx-and-query-0123456789"
SHOWN = {
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "repr-digest",
    "x-content-type-options",
    "x-request-id",
}
OF_NGINX = {"server", "date", "connection", "keep-alive", "transfer-encoding"}


@pytest.fixture(scope="module")
def web(site: Any) -> WebProcess:
    return site.web(ARTSTORE_HANDOVER_SECRET=SECRET, ARTSTORE_QUERY_CACHE_SECONDS="0")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def nginx(site: Any, web: WebProcess) -> Iterator[NginxProcess]:
    # nginx compares names with certificates, never addresses.
    by_name = site.nodes[0].base_url.replace("127.0.0.1", "localhost")
    site.execute("update registry_storageelement set url = %s", by_name)
    cas = site.nodes[0].certificates.ca.read_text()
    with NginxProcess(
        site.folder / "nginx", web.port, free_port(9220, 9249), cas, SECRET
    ) as running:
        yield running


@pytest.fixture(scope="module")
def file(web: WebProcess, token: str) -> dict[str, Any]:
    answer = requests.post(
        f"{web.base_url}/api/v1/files/upload?filename=отчёт.pdf",
        data=CONTENT,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/pdf"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def path_of(file: dict[str, Any]) -> str:
    return f"/api/v1/files/{file['file_id']}/download"


def shown(answer: requests.Response) -> set[str]:
    return {name.lower() for name in answer.headers} - OF_NGINX


def handed_over(web: WebProcess) -> float:
    text = requests.get(f"{web.base_url}/metrics", timeout=30).text
    name = 'artstore_downloads_total{outcome="handed_over"} '
    return sum(float(line[len(name) :]) for line in text.splitlines() if line.startswith(name))


def test_the_file_comes_from_nginx_with_the_contracts_headers_and_no_others(
    web: WebProcess, nginx: NginxProcess, caller: requests.Session, file: dict[str, Any]
) -> None:
    before = handed_over(web)
    answer = caller.get(nginx.base_url + path_of(file), timeout=60)
    assert (answer.status_code, answer.content == CONTENT) == (200, True)
    assert handed_over(web) == before + 1
    straight = caller.get(web.base_url + path_of(file), timeout=60)
    assert shown(answer) <= SHOWN
    for name in SHOWN - {"x-request-id"}:
        assert answer.headers.get(name) == straight.headers.get(name), name


def test_the_callers_request_id_goes_through(
    nginx: NginxProcess, caller: requests.Session, file: dict[str, Any]
) -> None:
    headers = {"X-Request-ID": "abc-123"}
    answer = caller.get(nginx.base_url + path_of(file), headers=headers, timeout=60)
    assert answer.headers["X-Request-ID"] == "abc-123"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"Range": "bytes=100-199"}, 206),
        ({"Range": "bytes=-50"}, 206),
        ({"Range": "bytes=0-1,5-6"}, 200),
        ({"Range": "bytes=99999999-"}, 416),
        ({"If-None-Match": "etag"}, 304),
        ({"If-Modified-Since": "last-modified"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"Range": "bytes=0-9", "If-Range": "etag"}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
    ],
)
def test_ranges_and_conditions_are_answered_as_without_it(
    web: WebProcess,
    nginx: NginxProcess,
    caller: requests.Session,
    file: dict[str, Any],
    asked: dict[str, str],
    status: int,
) -> None:
    head = caller.head(web.base_url + path_of(file), timeout=60)
    sent = {name: head.headers.get(value, value) for name, value in asked.items()}
    there = caller.get(nginx.base_url + path_of(file), headers=sent, timeout=60)
    here = caller.get(web.base_url + path_of(file), headers=sent, timeout=60)
    assert there.status_code == here.status_code == status
    assert there.headers.get("Content-Range") == here.headers.get("Content-Range")
    if status != 416:
        assert there.content == here.content


def test_head_and_inline_are_answered_as_without_it(
    nginx: NginxProcess, caller: requests.Session, file: dict[str, Any]
) -> None:
    head = caller.head(nginx.base_url + path_of(file), timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
    inline = caller.get(nginx.base_url + path_of(file) + "?disposition=inline", timeout=60)
    assert inline.headers["Content-Security-Policy"] == "sandbox"
    assert inline.headers["Content-Disposition"].startswith("inline")


def test_whoever_is_refused_is_refused_by_query(
    nginx: NginxProcess, caller: requests.Session, file: dict[str, Any]
) -> None:
    assert requests.get(nginx.base_url + path_of(file), timeout=60).status_code == 401
    missing = path_of({"file_id": "00000000-0000-4000-8000-000000000000"})
    answer = caller.get(nginx.base_url + missing, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_a_client_cannot_ask_for_the_hand_over_or_the_internal_place(
    web: WebProcess, nginx: NginxProcess, caller: requests.Session, file: dict[str, Any]
) -> None:
    """Without the secret Query sends the bytes itself and says nothing of the element."""
    for secret in ("", "wrong", "X" * 40):
        answer = caller.get(
            web.base_url + path_of(file), headers={"X-ArtStore-Handover": secret}, timeout=60
        )
        assert answer.content == CONTENT
        assert not [name for name in answer.headers if "element" in name.lower()]
    for inside in ("/_artstore_element/api/v1/info", "/_artstore_element" + path_of(file)):
        assert caller.get(nginx.base_url + inside, timeout=60).status_code in {404, 410}


ERRORS = [
    (b"HTTP/1.1 404 Not Found", 410, "FILE_GONE"),
    (b"HTTP/1.1 410 Gone", 410, "FILE_GONE"),
    (b"HTTP/1.1 409 Conflict", 502, "SE_UNAVAILABLE"),
    (b"HTTP/1.1 401 Unauthorized", 502, "SE_UNAVAILABLE"),
    (b"HTTP/1.1 503 Service Unavailable", 502, "SE_UNAVAILABLE"),
    (b"HTTP/1.1 500 Oops", 502, "SE_UNAVAILABLE"),
]


@pytest.mark.parametrize(("line", "status", "code"), ERRORS)
def test_what_the_element_says_to_an_error_stays_inside(
    site: Any,
    nginx: NginxProcess,
    caller: requests.Session,
    file: dict[str, Any],
    line: bytes,
    status: int,
    code: str,
) -> None:
    """The element is fine when Query asks it and fails when nginx does."""
    body = b'{"error": {"code": "X", "message": "/srv/element/files at 10.1.2.3"}}'
    answer = line + b"\r\nX-ArtStore-Storage-Id: se-edit\r\nContent-Type: application/json\r\n"
    answer += b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    with _SecondAnswer(site, answer):
        got = caller.get(nginx.base_url + path_of(file), timeout=60)
    assert (got.status_code, got.json()["error"]["code"]) == (status, code)
    assert got.json()["request_id"] == got.headers["X-Request-ID"]
    assert got.headers["Content-Type"] == "application/json"
    told = (got.text + str(got.headers)).lower()
    for secret in ("10.1.2.3", "se-edit", "element-token", "bearer", "x-accel", "nginx/"):
        assert secret not in told, told


def test_an_element_known_by_its_address_is_not_handed_over(
    site: Any,
    web: WebProcess,
    nginx: NginxProcess,
    caller: requests.Session,
    file: dict[str, Any],
) -> None:
    by_name = site.execute("select url from registry_storageelement")[0][0]
    before = handed_over(web)
    site.execute("update registry_storageelement set url = %s", site.nodes[0].base_url)
    try:
        assert caller.get(nginx.base_url + path_of(file), timeout=60).content == CONTENT
    finally:
        site.execute("update registry_storageelement set url = %s", by_name)
    assert handed_over(web) == before


def test_a_certificate_of_another_ca_is_not_believed(
    site: Any, web: WebProcess, file: dict[str, Any], caller: requests.Session, tmp_path: Any
) -> None:
    stranger = type(site.nodes[0].certificates).make(tmp_path / "tls").ca.read_text()
    with NginxProcess(
        tmp_path / "nginx", web.port, free_port(9220, 9249), stranger, SECRET
    ) as nginx:
        got = caller.get(nginx.base_url + path_of(file), timeout=60)
    assert (got.status_code, got.json()["error"]["code"]) == (502, "SE_UNAVAILABLE")


def test_the_command_prints_the_cas_that_nginx_needs(site: Any, element: Any, capsys: Any) -> None:
    call_command("element_cas")
    assert capsys.readouterr().out.strip() == element.ca_pem.strip()


class _SecondAnswer:
    """A TLS door before the node: every call goes through but the GET of a file's bytes."""

    def __init__(self, site: Any, answer: bytes) -> None:
        self._site, self._answer, self._node = site, answer, site.nodes[0]
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates = self._node.certificates
        self._server.load_cert_chain(certificates.cert, certificates.key)
        self._listener = socket.create_server(("127.0.0.1", free_port(9220, 9249)))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        port = self._listener.getsockname()[1]
        self._point(f"https://localhost:{port}")

    def __exit__(self, *_details: object) -> None:
        self._point(self._node.base_url.replace("127.0.0.1", "localhost"))
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _point(self, url: str) -> None:
        statement = "update registry_storageelement set url = %s, status = 'online'"
        self._site.execute(statement, url)

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_one, args=(plain,), daemon=True).start()

    def _answer_one(self, plain: socket.socket) -> None:
        try:
            with self._server.wrap_socket(plain, server_side=True) as line:
                line.settimeout(10)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += line.recv(65536)
                is_bytes = head.startswith(b"GET /api/v1/files/") and b"/download " in head[:200]
                line.sendall(self._answer if is_bytes else self._asked_of_node(head))
        except (OSError, ssl.SSLError):
            return

    def _asked_of_node(self, head: bytes) -> bytes:
        context = ssl.create_default_context(cafile=str(self._node.certificates.ca))
        with (
            socket.create_connection(("127.0.0.1", self._node.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as line,
        ):
            line.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            answer = b""
            while data := line.recv(65536):
                answer += data
            return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

"""Somebody dies in the middle. After each: one file or none, nothing left over, retries work."""

import hashlib
import http.client
import os
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import connection

from apps.ingester import settling
from apps.ingester.tests.site import Site
from apps.ingester.tests.test_upload_api import upload_url
from apps.ingester.tests.web_process import WebProcess
from apps.registry.models import FileRecord, FileStatus

pytestmark = pytest.mark.django_db

# The same claim at another moment; `make drill` proves it there too.
LONG = pytest.mark.drill
MIB = 1024 * 1024
CONTENT = os.urandom(8 * MIB)


@pytest.fixture(scope="module", autouse=True)
def full_element(site: Site) -> None:
    """An element that believes in much more room than its node has; asked only when a test says so."""
    site.add_node("se-full", SE_MODE="edit", SE_MAX_CAPACITY="500")
    site.execute(
        "update registry_storageelement set available_bytes = %s, status = 'maintenance'"
        " where storage_id = 'se-full'",
        10**15,
    )


@pytest.fixture(autouse=True)
def clean(site: Site) -> Any:
    """Each test begins without records."""
    site.execute("truncate registry_filerecord cascade")
    return site


@pytest.fixture(autouse=True)
def no_stray_bytes(site: Site, clean: Any) -> Any:
    """Whatever happened: after the node's next garbage collection it holds its files and no more."""
    yield
    settled(site)
    node = site.node_session()
    assert node.post("/api/v1/maintenance/collect-garbage").status_code == 200
    incoming = site.nodes[0].data_dir / "incoming"
    site.wait_for(lambda: not list(incoming.iterdir()))
    known = int(node.get("/api/v1/files").json()["total"])
    held = [path for path in (site.nodes[0].data_dir / "files").rglob("*") if path.is_file()]
    assert len([path for path in held if not path.name.endswith(".attr.json")]) <= known


def on_node(site: Site, number: int = 0) -> int:
    """How many files the node holds."""
    return int(site.node_session(number).get("/api/v1/files?status=active").json()["total"])


def settled(site: Site) -> list[str]:
    """Statuses of the records once every lease has run out and been settled."""
    site.execute(
        "update registry_filerecord set lease_expires_at = now() where lease_id is not null"
    )
    # In a thread, so with a connection of its own: what it writes is committed for the gunicorn.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_settle).result()
    return list(FileRecord.objects.values_list("status", flat=True))


def _settle() -> None:
    settling.settle_expired()
    connection.close()


class Trickle:
    """An upload that stops in the middle of its body and waits."""

    def __init__(self, web: WebProcess, token: str, key: str | None, sent: int = 4 * MIB) -> None:
        self.line = socket.create_connection(("127.0.0.1", web.port), timeout=60)
        extra = f"Idempotency-Key: {key}\r\n" if key else ""
        self.line.sendall(
            f"POST /api/v1/files/upload?filename=a.bin HTTP/1.1\r\nHost: localhost\r\n{extra}"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
            + CONTENT[:sent]
        )

    def finish(self, sent: int = 4 * MIB) -> bytes:
        self.line.sendall(CONTENT[sent:])
        answer = http.client.HTTPResponse(self.line)
        answer.begin()
        return f"HTTP/1.1 {answer.status} ".encode() + answer.read()

    def close(self) -> None:
        self.line.close()


def begun_and_pinned(site: Site) -> bool:
    return site.execute("select count(*) from registry_filerecord where body_sent")[0][0] == 1


def retry(web: WebProcess, token: str, key: str, content: bytes = CONTENT) -> requests.Response:
    """Send the same again until nobody says that it is still running."""
    deadline = time.monotonic() + 60
    while True:
        answer = requests.post(
            upload_url(web),
            params={"filename": "a.bin"},
            data=content,
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
            timeout=60,
        )
        if answer.status_code not in {409, 502, 503} or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


def check_one_file(site: Site, answer: requests.Response, before: int) -> None:
    assert answer.status_code in {200, 201}, answer.text
    assert settled(site) == [FileStatus.ACTIVE]
    assert on_node(site) == before + 1
    assert answer.json()["checksum"] == hashlib.sha256(CONTENT).hexdigest()


class TestClientGone:
    """The client disconnects at any phase."""

    @pytest.mark.parametrize(
        "sent", [pytest.param(0, marks=LONG), pytest.param(100, marks=LONG), 2 * MIB, 8 * MIB - 1]
    )
    def test_nothing_is_left_and_a_retry_with_the_key_gives_one_file(
        self, site: Site, web: WebProcess, token: str, sent: int
    ) -> None:
        before, key = on_node(site), uuid.uuid4().hex
        ended = site.metric("artstore_uploads_total")
        Trickle(web, token, key, sent).close()
        site.wait_for(lambda: site.metric("artstore_uploads_total") == ended + 1)
        assert settled(site) == []
        assert on_node(site) == before
        check_one_file(site, retry(web, token, key), before)

    def test_a_client_gone_after_the_last_byte_has_its_file(
        self, site: Site, web: WebProcess, token: str
    ) -> None:
        before, key = on_node(site), uuid.uuid4().hex
        gone = Trickle(web, token, key)
        gone.line.sendall(CONTENT[4 * MIB :])
        gone.close()
        check_one_file(site, retry(web, token, key), before)


class TestWebGone:
    """The web worker is killed in the middle of a body."""

    @pytest.mark.parametrize("settle_first", [pytest.param(False, marks=LONG), True])
    def test_the_row_is_settled_and_a_retry_gives_one_file(
        self, site: Site, web: WebProcess, token: str, settle_first: bool
    ) -> None:
        before, key = on_node(site), uuid.uuid4().hex
        lost = Trickle(web, token, key)
        site.wait_for(lambda: begun_and_pinned(site))
        web.kill_worker()
        lost.close()
        if settle_first:
            assert settled(site) == []
        else:
            site.execute("update registry_filerecord set lease_expires_at = now()")
        site.wait_for(lambda: alive(web))
        check_one_file(site, retry(web, token, key), before)

    def test_a_lease_that_runs_is_respected_until_it_ends(
        self, site: Site, web: WebProcess, token: str
    ) -> None:
        key = uuid.uuid4().hex
        first = Trickle(web, token, key)
        site.wait_for(lambda: begun_and_pinned(site))
        second = requests.post(
            upload_url(web) + "?filename=a.bin",
            data=CONTENT,
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
            timeout=60,
        )
        assert (second.status_code, second.json()["error"]["code"]) == (409, "UPLOAD_IN_PROGRESS")
        assert second.headers["Retry-After"]
        assert first.finish().startswith(b"HTTP/1.1 201")
        first.close()


class TestNodeGone:
    """The node is killed in the middle of a body."""

    @pytest.mark.parametrize("key", [pytest.param(None, marks=LONG), "with-a-key"])
    def test_the_client_gets_502_and_nothing_or_one_file_is_left(
        self, site: Site, web: WebProcess, token: str, key: str | None
    ) -> None:
        before = on_node(site)
        key = key and uuid.uuid4().hex
        upload = Trickle(web, token, key)
        site.wait_for(lambda: begun_and_pinned(site))
        with site.node_down():
            answer = upload.finish()
            upload.close()
            assert answer.startswith(b"HTTP/1.1 502"), answer[:500]
            assert b'"SE_UPLOAD_FAILED"' in answer
        if key:
            check_one_file(site, retry(web, token, key), before)
        else:
            assert settled(site) == []
            assert on_node(site) == before


class TestLostAnswer:
    """The node committed and nobody heard."""

    @pytest.mark.parametrize("size", [1000, 8 * MIB])
    @pytest.mark.parametrize("keyed", [False, True])
    def test_the_file_is_found_again(
        self, site: Site, web: WebProcess, token: str, size: int, keyed: bool
    ) -> None:
        """A proxy between Django and the node swallows the answer."""
        before, key = on_node(site), uuid.uuid4().hex
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if keyed else {})
        with site.answer_lost():
            answer = requests.post(
                upload_url(web) + "?filename=a.bin",
                data=CONTENT[:size],
                headers=headers,
                timeout=60,
            )
        assert answer.status_code in {201, 502}, answer.text
        if keyed:
            again = retry(web, token, key, CONTENT[:size])
            assert again.status_code in {200, 201}, again.text
        assert settled(site) == [FileStatus.ACTIVE]
        assert on_node(site) == before + 1


class TestTextsBehindTheBytes:
    """The node has a large file, and somebody dies before it has the texts that followed it."""

    @pytest.mark.parametrize("dies", ["node", "web"])
    def test_the_file_is_found_again_with_its_texts(
        self, site: Site, web: WebProcess, token: str, dies: str
    ) -> None:
        before, key = on_node(site), uuid.uuid4().hex
        with ThreadPoolExecutor(1) as pool, site.request_held(b"PATCH"):
            sending = pool.submit(send_described, web, token, key)
            site.wait_for(lambda: on_node(site) == before + 1)
            if dies == "web":
                web.kill_worker()
            else:
                site.nodes[0].kill()
        if dies == "node":
            site.bring_back()
            assert sending.result().status_code == 502
        site.wait_for(lambda: alive(web))
        assert settled(site) == [FileStatus.ACTIVE]
        again = send_described(web, token, key)
        assert (again.status_code, again.json()["description"]) == (200, "late")
        assert on_node(site) == before + 1


def send_described(web: WebProcess, token: str, key: str) -> requests.Response:
    """A form with fields on both sides of a large file."""
    parts = [
        ("tags", (None, "early")),
        ("file", ("a.bin", CONTENT)),
        ("description", (None, "late")),
    ]
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    return requests.post(upload_url(web), files=parts, headers=headers, timeout=60)


def alive(web: WebProcess) -> bool:
    try:
        return requests.get(web.base_url + "/health/live", timeout=30).ok
    except requests.RequestException:
        return False


class TestDatabaseGone:
    """PostgreSQL is away between the node's answer and the record."""

    def test_the_file_is_adopted_later(self, site: Site, web: WebProcess, token: str) -> None:
        before = on_node(site)
        upload = Trickle(web, token, None)
        site.wait_for(lambda: begun_and_pinned(site))
        with site.database_refusing():
            answer = upload.finish()
            upload.close()
        assert answer.startswith(b"HTTP/1.1 502"), answer[:300]
        assert settled(site) == [FileStatus.ACTIVE]
        assert on_node(site) == before + 1


class TestFullElement:
    """An element says 507 although the registry thought it had room."""

    @pytest.mark.parametrize("size", [1000, 8 * MIB])
    def test_the_next_element_takes_the_file(
        self, site: Site, web: WebProcess, token: str, size: int
    ) -> None:
        with site.elements_online("se-edit", "se-full"):
            for _number in range(8):
                answer = requests.post(
                    upload_url(web) + "?filename=a.bin",
                    data=CONTENT[:size],
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=60,
                )
                assert answer.status_code == 201, answer.text
        assert settled(site) == [FileStatus.ACTIVE] * 8
        elements = FileRecord.objects.values_list("storage_element__storage_id", flat=True)
        assert set(elements) == {"se-edit"}

    def test_507_when_there_is_no_other(self, site: Site, web: WebProcess, token: str) -> None:
        with site.elements_online("se-full"):
            answer = requests.post(
                upload_url(web) + "?filename=a.bin",
                data=CONTENT,
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            )
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "STORAGE_FULL")
        assert settled(site) == []


def test_a_transfer_keeps_its_lease_alive_without_a_connection(
    site: Site, web: WebProcess, token: str
) -> None:
    """A two-hour upload is safe: the lease is renewed while nothing else moves."""
    upload = Trickle(web, token, None)
    site.wait_for(lambda: begun_and_pinned(site))
    first = site.execute("select lease_expires_at from registry_filerecord")[0][0]
    site.wait_for(
        lambda: site.execute("select lease_expires_at from registry_filerecord")[0][0] > first
    )
    assert upload.finish().startswith(b"HTTP/1.1 201")
    upload.close()


def test_no_connection_is_held_while_bytes_move(site: Site, web: WebProcess, token: str) -> None:
    uploads = [Trickle(web, token, None) for _ in range(12)]
    site.wait_for(
        lambda: site.execute("select count(*) from registry_filerecord where body_sent")[0][0] == 12
    )
    site.wait_for(lambda: site.web_connections() <= 3)
    for upload in uploads:
        assert upload.finish().startswith(b"HTTP/1.1 201")
        upload.close()


def test_no_connection_is_held_for_a_client_who_was_refused_and_goes_on_sending(
    site: Site, web: WebProcess, token: str
) -> None:
    refused = [Refused(web, token) for _ in range(12)]
    site.wait_for(
        lambda: all(each.goes_on() for each in refused) and site.web_connections() <= 3,
    )
    for each in refused:
        assert each.goes_on(), "the server still reads what it has refused"
        each.line.close()


class Refused:
    """An upload without a file name: refused before its body, which the client sends nevertheless."""

    def __init__(self, web: WebProcess, token: str) -> None:
        self.line = socket.create_connection(("127.0.0.1", web.port), timeout=60)
        self.line.sendall(
            f"POST /api/v1/files/upload HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
        )
        answer = http.client.HTTPResponse(self.line)
        answer.begin()
        assert answer.status == 400, answer.read()
        answer.read()
        self.line.setblocking(False)

    def goes_on(self) -> bool:
        """Send one more byte; False once the server has hung up."""
        try:
            self.line.send(b"x")
            return self.line.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def permanent(site: Site) -> int:
    """The number of an `rw` node."""
    site.add_node("se-rw", SE_MODE="rw")
    return len(site.nodes) - 1


class TestNothingThatIsNotGood:
    """On an `rw` element nothing can be deleted, so nothing bad may be committed there."""

    @pytest.mark.parametrize("size", [1000, 3 * MIB])
    @pytest.mark.parametrize("fault", ["ends early", "wrong checksum last", "never closes"])
    def test_a_bad_body_is_never_committed(
        self, site: Site, web: WebProcess, token: str, permanent: int, fault: str, size: int
    ) -> None:
        form = _form(size, "0" * 64 if fault == "wrong checksum last" else None)
        declared = len(form) + (100 if fault == "ends early" else 0)
        if fault == "never closes":
            form = form[: -len(b"\r\n--b--\r\n")]
            declared = len(form)
        with site.elements_online("se-rw"):
            with socket.create_connection(("127.0.0.1", web.port), timeout=60) as line:
                line.sendall(
                    f"POST /api/v1/files/upload HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: Bearer {token}\r\nContent-Length: {declared}\r\n"
                    "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
                    + form
                )
                line.shutdown(socket.SHUT_WR)
                answer = b""
                while data := line.recv(65536):
                    answer += data
            assert answer.startswith(b"HTTP/1.1 400"), answer[:300]
            assert settled(site) == []
            listed = site.node_session(permanent).get("/api/v1/files").json()
            assert listed["total"] == 0


def _form(size: int, checksum: str | None) -> bytes:
    """A permanent file between its fields."""
    head = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    parts = head.format("retention_policy", "") + "permanent\r\n"
    parts += head.format("file", '; filename="a"') + "x" * size + "\r\n"
    if checksum:
        parts += head.format("checksum", "") + checksum + "\r\n"
    return (parts.removesuffix("\r\n") + "\r\n--b--\r\n").encode()

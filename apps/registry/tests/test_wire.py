"""The transport: who gets which bytes when, and what may come back."""

import json
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from apps.registry import answers, errors, wire
from apps.registry.node_client import NodeAddress, NodeClient, Upload
from apps.registry.tests.fake_node import example
from apps.registry.tests.scripted import IDENTITY, Line, ScriptedServer
from storage_node.tests.node_process import Certificates

MIB = 1024 * 1024
STORED = json.dumps(example("put_file-created")["response"]["body"])
FULL = json.dumps({"error": {"code": "STORAGE_FULL", "message": "No room."}})
INFO = json.dumps({"contract": 1, "mode": "edit", "status": "ok"})


class Blocks:
    """A body that says when it was first asked for, and may break off."""

    def __init__(self, *blocks: bytes, failure: Exception | None = None) -> None:
        self.blocks = blocks
        self.failure = failure
        self.given = 0
        self.asked = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        self.asked.set()
        for block in self.blocks:
            self.given += 1
            yield block
        if self.failure is not None:
            raise self.failure


def put(server: ScriptedServer, blocks: Any, size: int | None, repeatable: bool = False) -> Any:
    client = NodeClient(server.address(), "secret-token")
    upload = Upload({"original_filename": "a"}, blocks, size, repeatable=repeatable)
    return client.put_file(uuid.uuid4(), upload)


# --- the interim answer ---


@pytest.mark.parametrize("size", [2 * MIB, None], ids=["declared", "chunked"])
def test_no_body_byte_leaves_before_the_interim_answer(
    certificates: Certificates, size: int | None
) -> None:
    blocks = Blocks(b"x" * MIB, b"y" * MIB)
    early: list[bool] = []

    def script(line: Line) -> None:
        head = line.head()
        assert "Expect: 100-continue" in head
        early.append(blocks.asked.is_set() or bool(line.body()))
        line.send("HTTP/1.1 100 Continue\r\n\r\n")
        line.read_until(b"0\r\n\r\n" if size is None else b"y" * MIB)
        line.answer("201 Created", STORED)

    with ScriptedServer(certificates, script) as server:
        stored = put(server, blocks, size)
    assert early == [False]
    assert stored.created
    assert blocks.given == 2


def test_a_refusal_instead_of_the_interim_answer_is_definite_and_sends_nothing(
    certificates: Certificates,
) -> None:
    blocks = Blocks(b"x" * MIB, b"y" * MIB)

    def script(line: Line) -> None:
        line.head()
        line.answer("507 Insufficient Storage", FULL)
        line.read_to_end()

    with ScriptedServer(certificates, script) as server:
        with pytest.raises(errors.NodeStorageFull) as caught:
            put(server, blocks, 2 * MIB)
        server.finished.wait(10)
        assert caught.value.before_body
        assert not blocks.asked.is_set()
        assert server.lines[0].body() == b""
        assert server.lines[0].ended, "a connection with an unsent body must not be used again"


def test_a_node_that_falls_silent_before_the_body_holds_nothing(
    certificates: Certificates, settings: Any
) -> None:
    settings.ARTSTORE_NODE_STALL_SECONDS = 0.2
    blocks = Blocks(b"x" * (2 * MIB))
    with (
        ScriptedServer(certificates, lambda line: line.read_to_end() and None) as server,
        pytest.raises(errors.NodeUnreachable) as caught,
    ):
        put(server, blocks, 2 * MIB)
    assert not caught.value.sent_body
    assert not blocks.asked.is_set()


def test_small_bodies_go_without_waiting(certificates: Certificates) -> None:
    def script(line: Line) -> None:
        assert "Expect" not in line.head()
        line.read_until(b"content")
        line.answer("201 Created", STORED)

    with ScriptedServer(certificates, script) as server:
        assert put(server, [b"content"], 7).created


# --- while the body is being sent ---


def test_a_refusal_in_the_middle_of_the_body_is_seen_before_the_rest_is_sent(
    certificates: Certificates,
) -> None:
    answered = threading.Event()

    def endless() -> Iterator[bytes]:
        yield b"x" * 1000
        assert answered.wait(10)
        for _ in range(1000):
            yield b"x" * MIB
        raise AssertionError("the refusal was not noticed")

    def script(line: Line) -> None:
        line.head()
        line.send("HTTP/1.1 100 Continue\r\n\r\n")
        line.read_some()
        line.answer("507 Insufficient Storage", FULL)
        answered.set()
        line.read_to_end()

    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeStorageFull) as caught,
    ):
        put(server, endless(), None)
    assert not caught.value.before_body


@pytest.mark.parametrize("size", [2 * MIB, None], ids=["declared", "chunked"])
@pytest.mark.parametrize("failure", [ValueError("bad digest"), ConnectionResetError("client")])
def test_a_body_that_fails_cuts_the_connection_and_its_end_is_never_sent(
    certificates: Certificates, size: int | None, failure: Exception
) -> None:
    def script(line: Line) -> None:
        line.head()
        line.send("HTTP/1.1 100 Continue\r\n\r\n")
        line.read_to_end()

    with ScriptedServer(certificates, script) as server:
        with pytest.raises(type(failure)) as caught:
            put(server, Blocks(b"x" * MIB, failure=failure), size)
        assert caught.value is failure
        assert server.finished.wait(10)
        assert server.lines[0].ended
        assert not server.lines[0].received.endswith(b"0\r\n\r\n")


def test_a_lost_answer_says_that_the_body_may_have_arrived(certificates: Certificates) -> None:
    def script(line: Line) -> None:
        line.read_until(b"content")

    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeUnreachable) as caught,
    ):
        put(server, [b"content"], 7)
    assert caught.value.sent_body


# --- what may come back ---


def answering(status: str, body: str, headers: str = IDENTITY) -> Any:
    def script(line: Line) -> None:
        line.head()
        line.answer(status, body, headers)
        line.read_to_end()

    return script


def get_info(server: ScriptedServer, storage_id: str = "se-fake", instance_id: str = "i-1") -> Any:
    return NodeClient(server.address(storage_id, instance_id), "secret-token").get_info()


def test_connections_are_used_again(certificates: Certificates) -> None:
    def script(line: Line) -> None:
        while line.read_some():
            line.answer("200 OK", INFO)

    with ScriptedServer(certificates, script) as server:
        for _ in range(5):
            get_info(server)
        assert len(server.lines) == 1


class ClosingOnce:
    """Answers the first request; closes its connection when the next one has come, whatever it was."""

    def __init__(self, answers: dict[str, tuple[str, str]]) -> None:
        self.answers = answers
        self.closed = False

    def __call__(self, line: Line) -> None:
        self.answer(line)
        while line.read_some():
            if not self.closed:
                self.closed = True
                return
            self.answer(line)

    def answer(self, line: Line) -> None:
        head = line.head()
        if "Expect:" in head:
            line.send("HTTP/1.1 100 Continue\r\n\r\n")
        if head.startswith("PUT"):
            line.read_until(b"the end")
        line.answer(*self.answers[head.split(" ")[0]])
        line.received = b""


KNOWN = {"GET": ("200 OK", INFO), "PUT": ("201 Created", STORED)}


def test_a_connection_closed_as_the_request_leaves_is_replaced(certificates: Certificates) -> None:
    with ScriptedServer(certificates, ClosingOnce(KNOWN)) as server:
        for _ in range(3):
            assert get_info(server).status == 200
        assert len(server.lines) == 2


@pytest.mark.parametrize(
    ("size", "repeatable"), [(2 * MIB, False), (7, True)], ids=["not sent yet", "small"]
)
def test_a_body_that_can_be_sent_goes_over_another_connection(
    certificates: Certificates, size: int, repeatable: bool
) -> None:
    blocks = Blocks(b"x" * (size - 7) + b"the end")
    with ScriptedServer(certificates, ClosingOnce(KNOWN)) as server:
        get_info(server)
        assert put(server, blocks, size, repeatable).created
        assert len(server.lines) == 2


def test_a_body_that_cannot_be_sent_twice_is_not(certificates: Certificates) -> None:
    blocks = Blocks(b"the end")
    with ScriptedServer(certificates, ClosingOnce(KNOWN)) as server:
        get_info(server)
        with pytest.raises(errors.NodeUnreachable) as caught:
            put(server, blocks, 7)
        assert (caught.value.sent_body, blocks.given, len(server.lines)) == (True, 1, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.delete_file(uuid.uuid4()),
        lambda client: client.edit_file(uuid.uuid4(), {"tags": []}),
        lambda client: client.abandon(uuid.uuid4()),
    ],
    ids=["DELETE", "PATCH", "POST"],
)
def test_what_may_have_been_done_is_not_done_again(certificates: Certificates, act: Any) -> None:
    with ScriptedServer(certificates, ClosingOnce(KNOWN)) as server:
        get_info(server)
        with pytest.raises(errors.NodeUnreachable):
            act(NodeClient(server.address(), "secret-token"))
        assert len(server.lines) == 1


@pytest.mark.parametrize("interim", [False, True], ids=["silent at once", "stops reading"])
def test_a_node_that_falls_silent_is_not_asked_again(
    certificates: Certificates, settings: Any, interim: bool
) -> None:
    settings.ARTSTORE_NODE_STALL_SECONDS = 1
    over = threading.Event()

    def script(line: Line) -> None:
        line.head()
        line.answer("200 OK", INFO)
        line.received = b""
        line.head()
        if interim:
            line.send("HTTP/1.1 100 Continue\r\n\r\n")
        over.wait()

    blocks = Blocks(*[b"x" * MIB] * 64)
    with ScriptedServer(certificates, script) as server:
        get_info(server)
        with pytest.raises(errors.NodeUnreachable):
            put(server, blocks, 64 * MIB, repeatable=True)
        over.set()
        assert len(server.lines) == 1


def test_what_fails_before_any_connection_is_an_element_that_cannot_be_reached(
    certificates: Certificates,
) -> None:
    with ScriptedServer(certificates, answering("200 OK", INFO)) as server:
        address = NodeAddress(server.url, "se-fake", "i-1", "no certificate")
        with pytest.raises(errors.NodeUnreachable):
            NodeClient(address).get_info()
        assert not server.lines


def test_a_node_that_closes_every_connection_is_asked_once(certificates: Certificates) -> None:
    with ScriptedServer(certificates, lambda line: line.head() and None) as server:
        with pytest.raises(errors.NodeUnreachable):
            get_info(server)
        assert len(server.lines) == 1


def test_html_in_place_of_a_node_is_not_understood(certificates: Certificates) -> None:
    script = answering("200 OK", "<html>hello</html>", headers="")
    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeAnswerInvalid, match="other than a storage node"),
    ):
        get_info(server)


def test_a_bare_404_of_a_proxy_is_no_word_about_a_file(certificates: Certificates) -> None:
    script = answering("404 Not Found", '{"error": {"code": "NOT_FOUND"}}', headers="")
    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeAnswerInvalid),
    ):
        NodeClient(server.address()).get_file(uuid.uuid4())


@pytest.mark.parametrize(
    ("storage_id", "instance_id", "offered"), [("se-real", "i-1", ""), ("se-fake", "i-0", "i-1")]
)
def test_another_element_or_instance_is_told_apart(
    certificates: Certificates, storage_id: str, instance_id: str, offered: str
) -> None:
    with (
        ScriptedServer(certificates, answering("200 OK", INFO)) as server,
        pytest.raises(errors.NodeIdentityChanged) as caught,
    ):
        get_info(server, storage_id, instance_id)
    assert caught.value.offered_instance_id == offered


def test_another_contract_is_refused(certificates: Certificates) -> None:
    with (
        ScriptedServer(certificates, answering("200 OK", '{"contract": 2}')) as server,
        pytest.raises(errors.NodeAnswerInvalid, match="contract 2"),
    ):
        get_info(server)


@pytest.mark.parametrize("announced", [True, False])
def test_an_answer_longer_than_it_may_be_is_given_up(
    certificates: Certificates, announced: bool
) -> None:
    def script(line: Line) -> None:
        line.head()
        length = f"Content-Length: {answers.SMALL_ANSWER_BYTES + 1}\r\n" if announced else ""
        line.send(f"HTTP/1.1 200 OK\r\n{IDENTITY}{length}Connection: close\r\n\r\n")
        line.send(b" " * (answers.SMALL_ANSWER_BYTES + 1))

    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeAnswerInvalid, match="too long"),
    ):
        get_info(server)


@pytest.mark.parametrize("place", ["head", "body", "body of a closing answer"])
def test_an_answer_that_never_ends_is_cut_at_its_deadline(
    certificates: Certificates, settings: Any, place: str
) -> None:
    settings.ARTSTORE_NODE_ANSWER_SECONDS = 0.3
    stop = threading.Event()

    def script(line: Line) -> None:
        line.head()
        closing = "Connection: close\r\n" if "closing" in place else "Content-Length: 9999\r\n"
        end = "" if place == "head" else "\r\n"
        line.send(f"HTTP/1.1 200 OK\r\n{IDENTITY}{closing}{end}")
        while not stop.wait(0.02):
            line.send(b"x")

    with ScriptedServer(certificates, script) as server:
        with pytest.raises(errors.NodeUnreachable, match=r"too long|broke off"):
            get_info(server)
        stop.set()


def test_no_redirect_is_followed_and_no_token_travels(certificates: Certificates) -> None:
    with ScriptedServer(certificates, answering("200 OK", INFO)) as elsewhere:
        headers = f"{IDENTITY}Location: {elsewhere.url}/api/v1/info\r\n"
        with (
            ScriptedServer(
                certificates, answering("307 Temporary Redirect", "", headers)
            ) as server,
            pytest.raises(errors.NodeAnswerInvalid, match="redirect"),
        ):
            get_info(server)
        assert elsewhere.lines == []


def test_a_certificate_of_another_ca_gets_no_request(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Certificates.make(tmp_path_factory.mktemp("other"))
    with ScriptedServer(certificates, answering("200 OK", INFO)) as server:
        for ca_pem in (other.ca.read_text(), ""):
            address = NodeAddress(server.url, "se-fake", "i-1", ca_pem)
            with pytest.raises(errors.NodeUnreachable, match="certificate"):
                NodeClient(address, "secret-token").get_info()
        assert server.received() == b""


def test_nothing_of_the_environment_reaches_the_wire(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with ScriptedServer(certificates, answering("200 OK", INFO)) as server:
        NodeClient(server.address()).get_info()
        assert b"uthorization" not in server.received()


def test_a_trace_goes_on_at_the_node(certificates: Certificates) -> None:
    """As `artstore.telemetry` has it where traces are wanted."""
    tracing = RequestsInstrumentor()
    tracing.instrument(tracer_provider=TracerProvider())
    try:
        with ScriptedServer(certificates, answering("200 OK", INFO)) as server:
            NodeClient(server.address()).get_info()
            assert b"\r\ntraceparent: 00-" in server.received()
    finally:
        tracing.uninstrument()


def test_a_transfer_cut_in_the_middle_is_an_error_and_not_a_short_file(
    certificates: Certificates,
) -> None:
    def script(line: Line) -> None:
        line.head()
        line.send(f"HTTP/1.1 200 OK\r\n{IDENTITY}Content-Length: 1000\r\n\r\nshort")

    with ScriptedServer(certificates, script) as server:
        content = NodeClient(server.address()).open_content(uuid.uuid4(), {})
        with content, pytest.raises(errors.NodeUnreachable, match="broke off"):
            list(content.blocks())


def test_the_code_behind_a_failed_head_is_found_out(certificates: Certificates) -> None:
    gone = json.dumps({"error": {"code": "FILE_GONE", "message": "", "status": "expired"}})

    def script(line: Line) -> None:
        while line.read_some():
            head = line.received.rsplit(b"HTTP/1.1", 2)[-2]
            if b"HEAD " in head:
                line.send(f"HTTP/1.1 410 Gone\r\n{IDENTITY}Content-Length: 77\r\n\r\n")
            else:
                line.answer("410 Gone", gone)

    with (
        ScriptedServer(certificates, script) as server,
        pytest.raises(errors.NodeFileGone) as caught,
    ):
        NodeClient(server.address()).open_content(uuid.uuid4(), {}, "HEAD")
    assert caught.value.file_status == "expired"


def test_sessions_are_one_per_trust_anchor(certificates: Certificates) -> None:
    pem = certificates.ca.read_text()
    assert wire.session(pem) is wire.session(pem)
    assert wire.session(pem) is not wire.session("")

"""Around every request: ids, standing headers, the one error shape, log lines without secrets, metrics, traces."""

import asyncio
import http.server
import json
import logging
import re
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import requests

from storage_node import telemetry
from storage_node.bridge import Bridge
from storage_node.call import Call
from storage_node.envelope import Envelope
from storage_node.metrics import Metrics
from storage_node.tests.conftest import MakeNode, error_of, line_of
from storage_node.tests.node_process import REPOSITORY, NodeProcess, NodeSession
from storage_node.tests.wire_examples import load

STANDING = ("X-ArtStore-Storage-Id", "X-ArtStore-Instance-Id", "X-ArtStore-Epoch", "X-Request-ID")
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


def one_of_each(api: NodeSession) -> Iterator[requests.Response]:
    stored = api.put_file(b"x")
    yield stored
    address = stored.headers["Location"]
    yield api.get(address)
    yield api.get(f"{address}/download")
    yield api.get(f"{address}/download", headers={"Range": "bytes=5-"})
    yield api.head(f"{address}/download")
    yield api.get(f"{address}/download", headers={"If-None-Match": "*"})
    yield api.post(f"/api/v1/files/{uuid.uuid4()}/abandon")
    yield api.get("/nowhere")
    yield api.put("/api/v1/info")
    yield api.get("/health/live")
    yield api.get("/metrics")
    yield NodeSession(api.node, None).get(address)


def test_every_answer_says_which_node_gave_it(api: NodeSession) -> None:
    info = api.get("/api/v1/info").json()
    for answer in one_of_each(api):
        assert answer.headers["X-ArtStore-Storage-Id"] == info["storage_id"]
        assert answer.headers["X-ArtStore-Instance-Id"] == info["instance_id"]
        assert answer.headers["X-ArtStore-Epoch"] == info["epoch"]
        assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("request_id", ["a", "0af76519-16cd", "x" * 128, "A.b:c_d"])
def test_a_sane_request_id_is_taken_over(request_id: str, api: NodeSession) -> None:
    assert (
        api.get("/health/live", headers={"X-Request-ID": request_id}).headers["X-Request-ID"]
        == request_id
    )


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", 'a"b', "<script>", "é"])
def test_another_request_id_is_replaced(request_id: str, api: NodeSession) -> None:
    answer = api.get("/nowhere", headers={"X-Request-ID": request_id.encode()})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_request_is_one_log_line_with_its_facts(node: NodeProcess) -> None:
    api, request_id = node.session(), f"log-{uuid.uuid4()}"
    stored = api.put_file(
        b"12345", headers={"X-Request-ID": request_id, "traceparent": TRACEPARENT}
    ).json()
    line = line_of(node, request_id)
    assert line.pop("milliseconds") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("bytes_out") > 100
    assert line == {
        "level": "info",
        "message": "request",
        "request_id": request_id,
        "method": "PUT",
        "path": f"/api/v1/files/{stored['file_id']}",
        "route": "put_file",
        "status": 201,
        "principal": "artstore-example",
        "acting_module": "ingester",
        "file_id": stored["file_id"],
        "bytes_in": 5,
        "trace_id": TRACE_ID,
    }


def test_hostile_text_in_a_request_stays_inside_its_log_line(node: NodeProcess) -> None:
    session = NodeSession(node, node.token(sub='a", "level": "error\u2028\U0001f600'))
    session.get('/api/v1/files/"%0a{"level":"fatal"}%1b[31m')
    session.get("/api/v1/files", headers={"X-Request-ID": "after-hostile"})
    line_of(node, "after-hostile")
    lines = node.log_lines()
    assert len(lines) == len([line for line in node.log().split("\n") if line])
    assert not [line for line in lines if line["level"] == "fatal"]


def test_no_log_line_holds_a_token_or_a_key(node: NodeProcess) -> None:
    tokens = [node.token(), node.token(exp=1), node.token(aud="other")]
    for token in tokens:
        NodeSession(node, token).get("/api/v1/files", params={"token": token, "limit": 5})
        NodeSession(node, token + "x").get("/api/v1/files")
        NodeSession(node, None).get("/api/v1/files", headers={"Authorization": f"Basic {token}"})
    api = node.session()
    api.get("/health/live", headers={"X-Request-ID": "after-tokens"})
    line_of(node, "after-tokens")
    log = node.log()
    for token in tokens:
        assert token not in log
        assert token.split(".")[2] not in log
    assert "Bearer" not in log
    assert "PRIVATE KEY" not in log


def test_no_answer_shows_a_path_a_traceback_or_a_token(node: NodeProcess, api: NodeSession) -> None:
    for answer in (
        *one_of_each(api),
        api.get("/api/v1/files"),
        api.get("/api/v1/changes"),
        api.get("/api/v1/info"),
    ):
        for secret in (str(node.data_dir), "Traceback", ".py", api.headers["Authorization"]):
            assert str(secret) not in answer.text


def test_text_logs_are_for_people(make_node: MakeNode) -> None:
    node = make_node(SE_LOG_FORMAT="text")
    node.session().put_file(b"x", headers={"X-Request-ID": "readable"})
    node.stop()
    line = next(line for line in node.log().splitlines() if "readable" in line)
    assert re.match(r"\S+Z info    request request_id=\"readable\" method=\"PUT\" ", line)


def test_requests_are_not_logged_above_info(make_node: MakeNode) -> None:
    node = make_node(SE_LOG_LEVEL="warning")
    node.session().put_file(b"x")
    node.stop()
    assert '"message": "request"' not in node.log()


def metric(text: str, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_metrics_count_what_happened(make_node: MakeNode) -> None:
    node = make_node()
    api = node.session()
    address = api.put_file(bytes(1000)).headers["Location"]
    api.get(f"{address}/download")
    api.get("/nowhere")
    text = api.get("/metrics").text
    assert (
        metric(text, 'artstore_node_requests_total{method="PUT",route="put_file",status="201"}')
        == 1
    )
    assert (
        metric(text, 'artstore_node_requests_total{method="GET",route="unknown",status="404"}') == 1
    )
    assert metric(text, 'artstore_node_request_seconds_count{route="download_file"}') == 1
    assert (
        metric(text, 'artstore_node_request_seconds_bucket{le="+Inf",route="download_file"}') == 1
    )
    assert metric(text, "artstore_node_received_bytes_total") == 1000
    assert metric(text, "artstore_node_sent_bytes_total") > 1000
    assert metric(text, 'artstore_node_files{status="active"}') == 1
    assert metric(text, 'artstore_node_file_bytes{status="active"}') == 1000
    assert metric(text, "artstore_node_used_bytes") >= 1000
    assert metric(text, "artstore_node_capacity_bytes") == 10 * 2**30
    assert metric(text, "artstore_node_ready") == 1
    assert metric(text, "artstore_node_writable") == 1
    assert metric(text, "artstore_node_log_bytes") > 0
    assert metric(text, "artstore_node_keys_age_seconds") >= 0


def test_every_documented_metric_is_shown_and_no_other(api: NodeSession) -> None:
    shown = set(re.findall(r"^# TYPE (artstore_\S+)", api.get("/metrics").text, re.MULTILINE))
    documented = set(
        re.findall(
            r"^\| `(artstore_node_\w+)`", (REPOSITORY / "docs/metrics.md").read_text(), re.MULTILINE
        )
    )
    assert shown == documented


class Collector:
    """An OTLP endpoint that only remembers that something came."""

    def __init__(self) -> None:
        self.received = threading.Event()
        self.body = b""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.body += self.rfile.read(int(self.headers["Content-Length"]))
                outer.received.set()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def test_traces_continue_the_caller_s(make_node: MakeNode) -> None:
    collector = Collector()
    node = make_node(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50")
    node.session().put_file(b"x", headers={"traceparent": TRACEPARENT, "X-Request-ID": "traced"})
    assert collector.received.wait(20)
    node.stop()
    assert bytes.fromhex(TRACE_ID) in collector.body
    assert b"PUT put_file" in collector.body
    assert any(line.get("trace_id") == TRACE_ID for line in node.log_lines())
    collector.server.shutdown()


def test_an_unreachable_trace_endpoint_harms_nobody(make_node: MakeNode) -> None:
    node = make_node(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY="50")
    assert node.session().put_file(b"x").status_code == 201


class Broken:
    """A door whose handler has a fault."""

    async def answer(self, _scope: Any, _receive: Any, _call: Call) -> Any:
        raise RuntimeError("secret detail")

    async def __call__(self, *_: Any) -> None:
        raise AssertionError


class Parts:
    """What the envelope uses of a node."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    def standing_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-artstore-storage-id", b"se-example")]


def test_a_fault_of_the_node_is_the_example_s_500_and_its_traceback_is_only_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    example = load("get_file-internal_error").response
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/files",
        "headers": [(b"x-request-id", b"req-example")],
    }
    envelope = Envelope(Broken(), Parts(), telemetry.Traces(None))  # type: ignore[arg-type]  # all it uses of a node
    with caplog.at_level(logging.ERROR):
        asyncio.run(envelope(scope, None, send))  # type: ignore[arg-type]  # no body is read
    body = json.loads(sent[1]["body"])
    assert sent[0]["status"] == example["status"]
    assert body["error"]["code"] == example["body"]["error"]["code"]
    assert body["request_id"] == "req-example"
    assert "secret detail" not in sent[1]["body"].decode()
    assert "secret detail" in caplog.text


def test_the_bridge_delivers_results_and_failures_from_other_threads() -> None:
    async def through() -> list[Any]:
        bridge = Bridge(asyncio.get_running_loop())
        futures: list[Future[int]] = [Future() for _ in range(1000)]
        waiters = [bridge.wait(future) for future in futures]
        given_up = bridge.wait(Future())
        given_up.cancel()

        def resolve() -> None:
            for number, future in enumerate(futures):
                if number % 10:
                    future.set_result(number)
                else:
                    future.set_exception(KeyError(number))

        threading.Thread(target=resolve).start()
        return await asyncio.gather(*waiters, return_exceptions=True)

    results = asyncio.run(through())
    assert [number if number % 10 else 0 for number in range(1000)] == [
        0 if isinstance(result, KeyError) else result for result in results
    ]


def test_an_error_of_every_kind_has_the_one_shape(api: NodeSession) -> None:
    for answer in one_of_each(api):
        if answer.status_code >= 400 and answer.content:
            error_of(answer)
            assert answer.json().keys() == {"error", "request_id"}

"""The client makes each request of docs/wire and reads each answer. The node's suite does the other
half with the same files."""

import base64
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from apps.registry import errors, feed
from apps.registry.answers import Answer
from apps.registry.attributes import FileAttributes
from apps.registry.node_client import NodeAddress, NodeClient, Stored, Upload
from apps.registry.tests.fake_node import FakeNode, example, names

CALLED = (
    "abandon",
    "collect_garbage",
    "delete_file",
    "download_file",
    "edit_file",
    "get_file",
    "get_info",
    "get_reconcile",
    "head_file",
    "list_changes",
    "list_files",
    "mode_transition",
    "put_file",
    "reconcile",
)
# Calls of people, monitors and nobody; the Django program makes none of them.
NOT_CALLED = {"any", "health", "upload_form"}
# Requests that the client cannot be made to send; only their answers are read.
UNSENDABLE = {
    "download_file-whole_inline",
    "edit_file-unsupported_media_type",
    "list_changes-epoch_missing",
    "mode_transition-invalid",
    "put_file-attributes_invalid",
    "put_file-attributes_missing",
    "put_file-bad_id",
    "reconcile-waited",
}
# Which error an answer becomes, where its code alone decides.
ERRORS: dict[str, type[errors.NodeFailure]] = {
    "CHECKSUM_MISMATCH": errors.NodeInvalidInput,
    "CONFIRMATION_REQUIRED": errors.NodeConfirmationRequired,
    "CONFLICT": errors.NodeConflict,
    "FILE_DAMAGED": errors.NodeFileDamaged,
    "FILE_GONE": errors.NodeFileGone,
    "FILE_TOO_LARGE": errors.NodeFileTooLarge,
    "INCOMPLETE_BODY": errors.NodeInvalidInput,
    "INVALID_RANGE": errors.NodeInvalidRange,
    "INVALID_TRANSITION": errors.NodeInvalidTransition,
    "MODE_NOT_ALLOWED": errors.NodeModeNotAllowed,
    "NOT_FOUND": errors.NodeFileNotFound,
    "NOT_WRITABLE": errors.NodeNotWritable,
    "OUTCOME_UNKNOWN": errors.NodeOutcomeUnknown,
    "PRECONDITION_FAILED": errors.NodePreconditionFailed,
    "RECONCILE_IN_PROGRESS": errors.NodeReconcileInProgress,
    "RESYNC_REQUIRED": errors.NodeResyncRequired,
    "STARTING": errors.NodeNotWritable,
    "STORAGE_FULL": errors.NodeStorageFull,
    "VALIDATION_ERROR": errors.NodeInvalidInput,
}
_ID = re.compile(r"/files/([0-9a-f-]{36})")


def request_of(found: dict[str, Any]) -> dict[str, Any]:
    return dict(found["request"])


def file_id_of(found: dict[str, Any]) -> uuid.UUID:
    matched = _ID.search(found["request"]["path"])
    return uuid.UUID(matched[1]) if matched else uuid.uuid4()


def put(client: NodeClient, found: dict[str, Any]) -> Stored:
    asked = found["request"]
    headers = asked["headers"]
    content = base64.b64decode(asked.get("body_base64", ""))
    chunked = "chunked" in headers.get("Transfer-Encoding", "")
    described = headers.get("X-ArtStore-Attributes", "e30")
    try:
        given = json.loads(base64.urlsafe_b64decode(described + "=" * (-len(described) % 4)))
    except ValueError:
        given = {}
    digest = headers.get("Repr-Digest", "")
    hex_digest = base64.b64decode(digest[9:-1]).hex() if digest.startswith("sha-256=:") else None
    size = None if chunked else int(headers.get("Content-Length", len(content)))
    blocks = [content] if content else []
    return client.put_file(file_id_of(found), Upload(given, blocks, size, hex_digest))


def download(client: NodeClient, found: dict[str, Any]) -> bytes:
    own = {"Authorization", "X-Request-ID"}
    asked = {name: value for name, value in found["request"]["headers"].items() if name not in own}
    method = found["request"]["method"]
    with client.open_content(file_id_of(found), asked, method) as content:
        assert content.status == found["response"]["status"]
        for name, value in found["response"]["headers"].items():
            assert content.headers[name] == value
        return b"".join(content.blocks())


def edit(client: NodeClient, found: dict[str, Any]) -> FileAttributes:
    asked = found["request"]
    revision = asked["headers"].get("If-Match", "").strip('"')
    return client.edit_file(
        file_id_of(found), asked.get("body") or {}, int(revision) if revision else None
    )


def changes(client: NodeClient, found: dict[str, Any]) -> Answer:
    query = found["request"]["query"]
    limit = int(query.get("limit", 1000))
    return client.list_changes(int(query.get("since", 0)), query.get("epoch", ""), limit)


def mode(client: NodeClient, found: dict[str, Any]) -> Answer:
    body = found["request"].get("body") or {}
    return client.transition_mode(
        body.get("target_mode", "ro"), confirm=bool(body.get("confirm", False))
    )


CALLS: dict[str, Callable[[NodeClient, dict[str, Any]], Any]] = {
    "abandon": lambda client, found: client.abandon(file_id_of(found)),
    "collect_garbage": lambda client, found: client.collect_garbage(
        dry_run=found["request"]["query"].get("dry_run") == "true"
    ),
    "delete_file": lambda client, found: client.delete_file(file_id_of(found)),
    "download_file": download,
    "edit_file": edit,
    "get_file": lambda client, found: client.get_file(file_id_of(found)),
    "get_info": lambda client, found: client.get_info(),
    "get_reconcile": lambda client, found: client.get_reconcile(),
    "head_file": download,
    "list_changes": changes,
    "list_files": lambda client, found: client.list_files(found["request"]["query"]),
    "mode_transition": mode,
    "put_file": put,
    "reconcile": lambda client, found: client.start_reconcile(),
}


def play(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[FakeNode, Any]:
    """Make the call of an example against its answer; what came back, or what was raised."""
    found = example(name)
    fake = FakeNode(name).install(monkeypatch)
    token = found["request"]["headers"].get("Authorization", "").removeprefix("Bearer ")
    client = NodeClient(NodeAddress("https://node.example"), token or None)
    try:
        return fake, CALLS[found["call"]](client, found)
    except errors.NodeFailure as failure:
        return fake, failure


def test_every_call_of_the_contract_is_made_or_named_as_nobodys() -> None:
    assert {name.split("-")[0] for name in names()} == {*CALLED, *NOT_CALLED}
    assert set(CALLS) == set(CALLED)


@pytest.mark.parametrize("name", [name for name in names(*CALLED) if name not in UNSENDABLE])
def test_prior_art_27_the_client_makes_the_request(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request_of(example(name))
    fake, _outcome = play(name, monkeypatch)
    sent = fake.requests[0]
    path, _, query = sent.path_url.partition("?")
    assert (sent.method, path) == (asked["method"], asked["path"])
    sent_query = dict(pair.split("=") for pair in query.split("&") if pair)
    assert sent_query.items() >= asked["query"].items()
    assert sent_query.keys() - asked["query"].keys() <= {"limit"}
    own = {"Authorization", "X-Request-ID", "Content-Length", "Transfer-Encoding"}
    for header, value in asked["headers"].items():
        if header not in own:
            assert _same_header(header, sent.headers[header], value)
    assert ("Authorization" in sent.headers) == ("Authorization" in asked["headers"])
    if asked.get("body") is not None:
        assert json.loads(fake.bodies[0]) == asked["body"]
    else:
        assert fake.bodies[0] == base64.b64decode(asked.get("body_base64", ""))


def _same_header(name: str, sent: str, wanted: str) -> bool:
    if name.lower() != "x-artstore-attributes":
        return sent == wanted
    return _attributes(sent) == _attributes(wanted)


def _attributes(header: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))


@pytest.mark.parametrize("name", names(*CALLED))
def test_prior_art_27_the_client_reads_the_answer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = example(name)["response"]
    _fake, outcome = play(name, monkeypatch)
    body = answer.get("body")
    if name == "abandon-present":
        assert outcome.file_id == uuid.UUID(body["file"]["file_id"])
    elif answer["status"] >= 400:
        assert_failure(outcome, answer)
    elif "body_base64" in answer:
        assert outcome == base64.b64decode(answer["body_base64"])
    elif isinstance(outcome, Stored):
        assert_file(outcome.attributes, body)
        assert outcome.created == (answer["status"] == 201)
    elif isinstance(outcome, FileAttributes):
        assert_file(outcome, body)
    elif isinstance(outcome, Answer):
        assert outcome.body == body
        assert outcome.identity.storage_id == "se-example"
    else:
        assert not outcome
        assert body is None


def assert_failure(outcome: Any, answer: dict[str, Any]) -> None:
    body = answer.get("body")
    assert isinstance(outcome, errors.NodeFailure)
    if body is None:
        return
    code = body["error"]["code"]
    assert isinstance(outcome, ERRORS.get(code, errors.NodeRefused))
    assert isinstance(outcome, errors.NodeRefused)
    assert (outcome.node_code, outcome.node_status) == (code, answer["status"])
    if isinstance(outcome, errors.NodeFileGone):
        assert outcome.file_status == body["error"]["status"]


def assert_file(said: FileAttributes, body: dict[str, Any]) -> None:
    for name in ("original_filename", "checksum", "size", "revision", "status", "metadata"):
        assert getattr(said, name) == body[name]
    assert list(said.tags) == body["tags"]
    assert said.description == body["description"]


PAGES = [n for n in names("list_changes") if example(n)["response"]["status"] == 200]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_changes_becomes_files_tombstones_and_totals(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = example(name)
    _fake, answer = play(name, monkeypatch)
    page = feed.read_page(answer, int(found["request"]["query"].get("since", 0)))
    body = found["response"]["body"]
    assert len(page.files) + len(page.tombstones) + len(page.rejected) == len(body["items"])
    assert page.rejected == []
    assert (page.totals is None) == body["has_more"]

"""Uploads: refusals before the body, streaming in both forms, retries, and nothing left of what did not end well."""

import base64
import hashlib
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from storage_node.tests.conftest import MakeNode, error_of, eventually
from storage_node.tests.node_process import NodeProcess, NodeSession, attributes_header
from storage_node.tests.raw_client import connected, head
from storage_node.tests.wire_examples import load

MIB = 1 << 20


def put_head(node: NodeProcess, size_bytes: int, **headers: str) -> bytes:
    standard = {
        "Authorization": f"Bearer {node.token()}",
        "X-ArtStore-Attributes": attributes_header({"original_filename": "file.bin"}),
        "Content-Length": str(size_bytes),
        "Expect": "100-continue",
    }
    return head("PUT", f"/api/v1/files/{uuid.uuid4()}", standard | headers)


def parts(node: NodeProcess) -> list[str]:
    return [path.name for path in (node.data_dir / "incoming").glob("*")]


@pytest.mark.parametrize(
    "size_bytes", [0, 1, 4096, 65536, 65537, MIB - 1, MIB, MIB + 1, 5 * MIB + 3]
)
@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_a_file_of_any_size_comes_back_as_it_was_sent(
    size_bytes: int, chunked: bool, api: NodeSession
) -> None:
    content = os.urandom(size_bytes)
    sent: object = iter([content[:10], content[10:]]) if chunked and size_bytes > 10 else content
    stored = api.put_file(sent).json()
    assert stored["size"] == size_bytes
    assert stored["checksum"] == hashlib.sha256(content).hexdigest()
    answer = api.get(f"/api/v1/files/{stored['file_id']}/download")
    assert answer.content == content


NAMES = [
    "отчёт за год.pdf",
    "报告.txt",
    "📦🚀.bin",
    "e\u0301tude",
    "\u202eexe.txt",
    'quo"te\\back',
    "a" * 255,
    "ж" * 255,
    "%2e%2e",
    " lead",
    "CON",
    "-rf",
]


def test_names_come_back_as_they_were_given_also_after_a_restart(node: NodeProcess) -> None:
    api, ids = node.session(), {}
    for name in NAMES:
        ids[name] = api.put_file(name.encode(), original_filename=name).json()["file_id"]
        form = api.post("/api/v1/files/upload", files={"file": (name, b"form", "text/plain")})
        assert form.status_code == 201, form.text
        assert form.json()["original_filename"] == name
    node.kill()
    node.start()
    api = node.session()
    for name, file_id in ids.items():
        answer = api.get(f"/api/v1/files/{file_id}/download")
        assert answer.content == name.encode()
        encoded = answer.headers["Content-Disposition"].split("filename*=UTF-8''")[1]
        assert requests.utils.unquote(encoded) == name


def test_the_body_is_asked_for_only_after_every_check_that_needs_none(node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, 5))
        assert connection.read_head()[0] == 100
        connection.send(b"hello")
        assert connection.read_answer().status == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer x"}, 401),
        ({"X-ArtStore-Attributes": "e30"}, 400),
        ({"Repr-Digest": "sha-256=oops"}, 400),
        ({"Content-Length": str(2**40)}, 413),
    ],
)
def test_a_refusal_comes_instead_of_the_interim_answer(
    headers: dict[str, str], status: int, node: NodeProcess
) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, 5, **headers))
        answer = connection.read_answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"


def test_a_refusal_without_the_body_read_arrives_though_the_client_sends_on(
    make_node: MakeNode,
) -> None:
    node = make_node(SE_MAX_CAPACITY="1MiB")
    for _ in range(5):
        answer = node.session().put_file(bytes(64 * MIB))
        assert error_of(answer) == (507, "STORAGE_FULL")
    eventually(lambda: not parts(node))


def test_64_parallel_uploads_into_room_for_10_store_exactly_those_that_fit(
    make_node: MakeNode,
) -> None:
    size_bytes = MIB
    # A file holds its attributes too: room for ten and a half of them.
    node = make_node(SE_MAX_CAPACITY=str(10 * size_bytes + size_bytes // 2))
    bodies_asked_for = []
    go = threading.Barrier(64)

    def upload(number: int) -> int:
        with connected(node) as connection:
            go.wait()
            connection.send(put_head(node, size_bytes))
            status, _ = connection.read_head()
            if status != 100:
                return status
            bodies_asked_for.append(number)
            connection.send(bytes(size_bytes))
            return connection.read_answer().status

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(upload, range(64)))
    assert sorted(answers) == [201] * 10 + [507] * 54
    assert len(bodies_asked_for) == 10
    page = node.session().get("/api/v1/files").json()
    assert page["total"] == 10
    assert parts(node) == []


def test_parallel_uploads_of_unknown_size_never_exceed_the_room(make_node: MakeNode) -> None:
    node = make_node(SE_MAX_CAPACITY=str(20 * MIB))

    def upload(_: int) -> int:
        return node.session().put_file(iter([bytes(MIB)] * 3)).status_code

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(upload, range(16)))
    assert set(answers) == {201, 507}
    room = node.session().get("/api/v1/info").json()["capacity"]
    assert room["used_bytes"] <= room["capacity_bytes"]
    assert room["reserved_bytes"] == 0
    assert parts(node) == []


@pytest.mark.parametrize("sent_bytes", [0, 100, 3 * MIB])
def test_a_client_that_goes_away_leaves_nothing(sent_bytes: int, node: NodeProcess) -> None:
    with connected(node) as connection:
        connection.send(put_head(node, 8 * MIB))
        assert connection.read_head()[0] == 100
        connection.send(bytes(sent_bytes))
    api = node.session()
    eventually(lambda: not parts(node))
    eventually(lambda: not api.get("/api/v1/info").json()["capacity"]["reserved_bytes"])
    eventually(lambda: any(line.get("status") == 499 for line in node.log_lines()))


def test_a_body_that_ends_early_is_said_to_be_incomplete(make_node: MakeNode) -> None:
    example = load("put_file-incomplete_body")
    node = make_node(SE_INSECURE_LOOPBACK="1")
    with connected(node) as connection:
        connection.send(put_head(node, 1000, Expect="") + b"x" * 32)
        connection.socket.shutdown(1)
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (400, example.response["body"]["error"]["code"])
    assert parts(node) == []


def test_the_same_upload_again_changes_nothing_and_other_bytes_are_a_conflict(
    api: NodeSession,
) -> None:
    file_id = str(uuid.uuid4())
    for size_bytes in (3, 3 * MIB):
        file_id = str(uuid.uuid4())
        content = os.urandom(size_bytes)
        first = api.put_file(content, file_id, description="first")
        again = api.put_file(content, file_id, description="second")
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        assert error_of(api.put_file(os.urandom(size_bytes), file_id)) == (409, "CONFLICT")
        assert api.get(f"/api/v1/files/{file_id}/download").content == content


def test_parallel_uploads_of_one_id_store_one_of_them(api: NodeSession, node: NodeProcess) -> None:
    file_id, bodies = str(uuid.uuid4()), [os.urandom(200_000) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda body: node.session().put_file(body, file_id), bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    winner = bodies[[answer.status_code for answer in answers].index(201)]
    assert api.get(f"/api/v1/files/{file_id}/download").content == winner


def test_an_abandoned_id_refuses_the_upload_that_was_under_way(node: NodeProcess) -> None:
    api, file_id = node.session(), str(uuid.uuid4())
    with connected(node) as connection:
        request = put_head(node, 200_000).replace(
            b"PUT /api/v1/files/", b"PUT /api/v1/files/" + file_id.encode() + b"?x=", 1
        )
        connection.send(request)
        assert connection.read_head()[0] == 100
        assert api.post(f"/api/v1/files/{file_id}/abandon").status_code == 204
        connection.send(bytes(200_000))
        answer = connection.read_answer()
    assert (answer.status, answer.code) == (410, "FILE_GONE")
    assert parts(node) == []


@pytest.mark.parametrize("fields_first", [True, False])
def test_form_fields_count_before_and_after_the_file(fields_first: bool, api: NodeSession) -> None:
    content = os.urandom(300_000)
    fields = [
        ("description", (None, "из формы")),
        ("tags", (None, "one")),
        ("tags", (None, "two")),
        ("metadata", (None, '{"a": [1, null]}')),
        ("retention_policy", (None, "permanent")),
        ("checksum", (None, hashlib.sha256(content).hexdigest().upper())),
    ]
    file = [("file", ("a.bin", content, "application/x-thing"))]
    answer = api.post(
        "/api/v1/files/upload", files=fields + file if fields_first else file + fields
    )
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    assert stored["description"] == "из формы"
    assert stored["tags"] == ["one", "two"]
    assert stored["metadata"] == {"a": [1, None]}
    assert (stored["retention_policy"], stored["ttl_days"], stored["expires_at"]) == (
        "permanent",
        None,
        None,
    )
    assert stored["content_type"] == "application/x-thing"
    assert api.get(answer.headers["Location"] + "/download").content == content


def test_the_uploader_is_the_token_s_subject_and_nothing_else(node: NodeProcess) -> None:
    session = NodeSession(node, node.token(sub="sa_robot_1"))
    stored = session.put_file(
        b"x", headers={"X-Uploaded-By": "someone"}, uploaded_by="someone"
    ).json()
    assert stored["uploaded_by"] == "sa_robot_1"


def test_names_on_disk_and_the_format_stay_inside(api: NodeSession) -> None:
    stored = api.put_file(b"x").json()
    listed = api.get("/api/v1/files", params={"limit": 1000}).json()["items"]
    changes = api.get("/api/v1/changes").json()["items"]
    for shown in (
        stored,
        api.get(f"/api/v1/files/{stored['file_id']}").json(),
        *listed,
        *(item.get("file", {}) for item in changes),
    ):
        assert not {"stored_name", "format", "path"} & shown.keys()


def test_acknowledged_files_survive_kill_9_in_the_middle_of_a_load(make_node: MakeNode) -> None:
    node = make_node()
    acknowledged: dict[str, bytes] = {}
    enough = threading.Event()

    def load_it(number: int) -> None:
        api = node.session()
        while True:
            content = os.urandom(200 + number * 40_000)
            try:
                answer = api.put_file(content)
            except requests.RequestException:
                return
            if answer.status_code == 201:
                acknowledged[answer.json()["file_id"]] = content
            if len(acknowledged) > 150:
                enough.set()

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(load_it, number) for number in range(8)]
        assert enough.wait(60)
        node.kill()
        for one in running:
            one.result()
    node.start()
    api = node.session()
    for file_id, content in acknowledged.items():
        assert api.get(f"/api/v1/files/{file_id}/download").content == content
    assert parts(node) == []


def test_a_digest_sent_along_is_verified_before_anything_is_stored(api: NodeSession) -> None:
    content = os.urandom(100_000)
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(content).digest()).decode() + ":"
    file_id = str(uuid.uuid4())
    assert error_of(api.put_file(content[:-1], file_id, {"Repr-Digest": digest})) == (
        400,
        "CHECKSUM_MISMATCH",
    )
    assert api.get(f"/api/v1/files/{file_id}").status_code == 404
    for name in ("Repr-Digest", "Content-Digest"):
        answer = api.put_file(content, headers={name: f"sha-512=:AAAA:, {digest}"})
        assert answer.status_code == 201, answer.text
        assert answer.headers["Repr-Digest"] == digest


def test_one_connection_carries_many_requests(node: NodeProcess) -> None:
    with connected(node) as connection:
        for _ in range(20):
            connection.send(put_head(node, 3, Expect="") + b"abc")
            assert connection.read_answer().status == 201


def test_pipelined_requests_are_answered_in_order(node: NodeProcess) -> None:
    with connected(node) as connection:
        requests_sent = [
            put_head(node, 3, Expect="", **{"X-Request-ID": f"number-{number}"}) + b"abc"
            for number in range(5)
        ]
        connection.send(b"".join(requests_sent))
        assert [connection.read_answer().headers["x-request-id"] for _ in range(5)] == [
            f"number-{number}" for number in range(5)
        ]

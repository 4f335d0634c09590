"""The examples of docs/wire: loading, playing one against a node, comparing the answer."""

import base64
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import requests

from storage_node.tests.node_process import REPOSITORY, NodeProcess, NodeSession

DIRECTORY = REPOSITORY / "docs" / "wire"
FILE_ID = re.compile(r"(?<=/files/)[0-9a-f-]{36}")


@dataclass(frozen=True)
class Example:
    """One file of docs/wire."""

    name: str
    content: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        return dict(self.content["request"])

    @property
    def response(self) -> dict[str, Any]:
        return dict(self.content["response"])

    @property
    def file_id(self) -> str | None:
        match = FILE_ID.search(self.content["request"]["path"])
        return match[0] if match else None

    def about(self, file_id: str | None) -> "Example":
        """The same example for another file, unless it or the other is about none."""
        own = self.file_id
        if own is None or file_id is None:
            return self
        return replace(self, content=json.loads(json.dumps(self.content).replace(own, file_id)))


def load(name: str) -> Example:
    return Example(name, json.loads((DIRECTORY / f"{name}.json").read_text()))


def load_all() -> list[Example]:
    return [load(path.stem) for path in sorted(DIRECTORY.glob("*.json"))]


def body_of(message: dict[str, Any]) -> bytes | None:
    if "body_base64" in message:
        return base64.b64decode(message["body_base64"])
    return json.dumps(message["body"], ensure_ascii=False).encode() if "body" in message else None


def play(example: Example, node: NodeProcess) -> requests.Response:
    """Send the example's request as it is written, with a real token in the place of the example's."""
    request = example.request
    headers = dict(request["headers"])
    session = NodeSession(node, None)
    if example.content["scope"]:
        headers["Authorization"] = f"Bearer {node.token(example.content['scope'])}"
    content = body_of(request)
    if headers.pop("Transfer-Encoding", None):
        content = iter([content])  # type: ignore[assignment]  # a generator is what makes requests send chunks
    return session.request(
        request["method"],
        request["path"],
        params=request["query"],
        headers=headers,
        data=content,
        stream=False,
    )


def play_given(example: Example, node: NodeProcess) -> None:
    """Play what the example says happened before, all of it about one file."""
    before = [load(name) for name in example.content.get("given", ())]
    file_id = next((one.file_id for one in (example, *before) if one.file_id), None)
    for given in before:
        answer = play(given.about(file_id), node)
        assert answer.status_code == given.response["status"], f"{given.name}: {answer.text}"


def check(example: Example, answer: requests.Response) -> None:
    """The answer is the example's, but for what the example calls volatile."""
    expected, volatile = example.response, set(example.content["volatile"])
    assert answer.status_code == expected["status"], answer.text
    for name, value in expected["headers"].items():
        assert name in answer.headers, f"header {name} is missing"
        if f"response.headers.{name}" not in volatile:
            assert answer.headers[name] == value, name
    if "body" in expected:
        compare(expected["body"], answer.json(), "response.body", volatile)
    else:
        assert answer.content == (body_of(expected) or b"")


def compare(expected: Any, found: Any, path: str, volatile: set[str]) -> None:
    """JSON equality, with volatile values compared by type and unknown members of objects allowed."""
    if path in volatile:
        assert expected is None or found is None or type(expected) is type(found), path
    elif isinstance(expected, dict):
        assert isinstance(found, dict), path
        assert expected.keys() <= found.keys(), f"{path} lacks {expected.keys() - found.keys()}"
        for name, value in expected.items():
            compare(value, found[name], f"{path}.{name}", volatile)
    elif isinstance(expected, list):
        assert isinstance(found, list), path
        assert len(found) == len(expected), f"{path}: {found}"
        for number, value in enumerate(expected):
            compare(value, found[number], f"{path}.{number}", volatile)
    else:
        assert found == expected, path

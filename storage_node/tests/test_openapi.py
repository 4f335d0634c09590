"""docs/openapi/storage-node.yaml says exactly what the routes offer, and every example of docs/wire fits it."""

import re
from typing import Any

import jsonschema_rs
import pytest
import yaml

from storage_node import api
from storage_node.tests.node_process import REPOSITORY
from storage_node.tests.wire_examples import Example, load_all

DOCUMENT = yaml.safe_load((REPOSITORY / "docs/openapi/storage-node.yaml").read_text())
METHODS = {"get", "put", "post", "patch", "delete"}


def documented() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method.upper()): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def offered() -> dict[tuple[str, str], api.WireCall]:
    table = api.addresses(None)  # type: ignore[arg-type]  # the table does not look at the node
    return {(path, method): call for path, calls in table.items() for method, call in calls.items()}


def test_the_document_lists_exactly_the_routes() -> None:
    assert documented().keys() == offered().keys()


def test_operations_bear_the_names_of_the_wire_calls() -> None:
    assert {key: operation["operationId"] for key, operation in documented().items()} == {
        key: call.name for key, call in offered().items()
    }


def test_operations_name_the_scope_the_route_demands() -> None:
    for key, call in offered().items():
        operation = documented()[key]
        if call.scope is None:
            assert operation["security"] in ([], [{}, {"elementToken": []}]), key
        else:
            assert "security" not in operation, key
            assert f"Scope {call.scope}." in operation["description"], key


def resolved(node: Any) -> Any:
    """The document's fragment with `$ref` followed and `nullable` turned into JSON Schema."""
    if isinstance(node, list):
        return [resolved(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return resolved(target)
    schema = {name: resolved(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


def operation_of(example: Example) -> dict[str, Any] | None:
    for (path, method), operation in documented().items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", path)
        if method == example.request["method"] and re.fullmatch(pattern, example.request["path"]):
            return operation
    return None


@pytest.mark.parametrize("example", load_all(), ids=lambda example: example.name)
def test_the_answer_of_an_example_fits_the_document(example: Example) -> None:
    operation = operation_of(example)
    body = example.response.get("body")
    if operation is None:
        assert example.content["call"] in ("any", "head_file")
        return
    responses = operation["responses"]
    answer = resolved(responses.get(str(example.response["status"]), responses["default"]))
    if body is None:
        assert "application/json" not in answer.get("content", {})
        return
    jsonschema_rs.validator_for(answer["content"]["application/json"]["schema"]).validate(body)

"""The node accepts every request of docs/wire and gives every answer of it."""

import pytest

from storage_node.tests.conftest import MakeNode
from storage_node.tests.node_process import NodeProcess
from storage_node.tests.wire_examples import Example, check, load, load_all, play, play_given

ALL = load_all()
# Examples of conditions that a request alone does not bring about; each is arranged by a test of its own below or in
# the file named here.
ARRANGED = {
    "download_file-damaged": "test_conditions.py",
    "download_file-gone_expired": "test_conditions.py",
    "get_file-internal_error": "test_envelope.py",
    "get_file-starting": "test_conditions.py",
    "put_file-incomplete_body": "test_uploads.py",
    "put_file-not_writable": "test_conditions.py",
    "put_file-outcome_unknown": "test_conditions.py",
    "reconcile-in_progress": "test_conditions.py",
    "list_changes-since": "below",
    "list_files-by_cursor": "below",
}
SHARED = [example for example in ALL if "node" not in example.content]
FRESH = [example for example in ALL if "node" in example.content and example.name not in ARRANGED]


def test_every_example_of_a_condition_has_a_test_that_arranges_it() -> None:
    conditions = {example.name for example in ALL if "state" in (example.content.get("node") or {})}
    assert conditions <= ARRANGED.keys() <= {example.name for example in ALL}


@pytest.mark.parametrize("example", SHARED, ids=lambda example: example.name)
def test_a_node_gives_the_answer_of(example: Example, node: NodeProcess) -> None:
    play_given(example, node)
    check(example, play(example, node))


@pytest.mark.parametrize("example", FRESH, ids=lambda example: example.name)
def test_a_fresh_node_gives_the_answer_of(example: Example, make_node: MakeNode) -> None:
    node = make_node(**example.content["node"])
    play_given(example, node)
    check(example, play(example, node))


def test_changes_since_a_cursor_hold_the_edited_file_and_the_tombstone(make_node: MakeNode) -> None:
    example = load("list_changes-since")
    node, expected = make_node(), example.response["body"]["items"]
    api = node.session()
    file_id = expected[0]["file"]["file_id"]
    play(load("put_file-created").about(file_id), node)
    start = api.get("/api/v1/changes").json()
    play(load("edit_file-edited").about(file_id), node)
    play(load("abandon-absent").about(expected[1]["tombstone"]["file_id"]), node)
    page = api.get(
        "/api/v1/changes", params={"epoch": start["epoch"], "since": start["next_since"]}
    ).json()
    assert page.keys() == example.response["body"].keys()
    assert [item.keys() for item in page["items"]] == [item.keys() for item in expected]
    assert page["items"][0]["file"].keys() == expected[0]["file"].keys()
    assert page["items"][0]["file"]["revision"] == expected[0]["file"]["revision"]
    assert page["items"][1]["tombstone"].keys() == expected[1]["tombstone"].keys()
    assert page["items"][1]["tombstone"]["status"] == expected[1]["tombstone"]["status"]


def test_a_list_goes_on_at_the_cursor_the_page_before_gave(make_node: MakeNode) -> None:
    example = load("list_files-by_cursor")
    node = make_node()
    api = node.session()
    ids = {api.put_file(b"x").json()["file_id"] for _ in range(3)}
    page, seen = api.get("/api/v1/files", params={"limit": 1}).json(), set()
    assert page.keys() == example.response["body"].keys()
    while True:
        seen |= {file["file_id"] for file in page["items"]}
        if page["next_cursor"] is None:
            break
        page = api.get("/api/v1/files", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert seen == ids
    assert not page["has_more"]

"""Drill: every rule of the README's table is broken, one at a time, and the tests named beside it fail.

The quick suite checks only that the table is the list and that its tests exist.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from storage_node.tests.broken_checkpoint_rules import CHECKPOINT_RULES
from storage_node.tests.broken_index_rules import COLLECTION, INDEX
from storage_node.tests.broken_log_rules import LOG_RULES
from storage_node.tests.broken_module import PROGRAM
from storage_node.tests.broken_rules import Broken
from storage_node.tests.drill_report import say

TESTS = PROGRAM / "tests"
CHAPTERS = {
    "Durability": LOG_RULES + CHECKPOINT_RULES,
    "Index": INDEX,
    "Garbage collection": COLLECTION,
}
EVERY = [entry for entries in CHAPTERS.values() for entry in entries]


def table(entries: list[Broken]) -> str:
    """The rules of a chapter as the README shows them."""
    lines = ["| rule | tests that fail when it is broken |", "|---|---|"]
    for entry in entries:
        tests = "<br>".join(f"`{test}`" for test in entry.tests)
        lines.append(f"| {entry.rule} | {tests} |")
    return "\n".join(lines)


def test_the_readme_shows_every_rule_and_its_tests() -> None:
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    for chapter, entries in CHAPTERS.items():
        assert f"### {chapter}\n\n{table(entries)}\n" in text, chapter


def test_every_test_named_for_a_rule_exists() -> None:
    names = {
        f"{path.name}::{name}"
        for path in TESTS.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {test for entry in EVERY for test in entry.tests} <= names


@pytest.mark.drill
def test_a_broken_rule_is_noticed_by_every_test_named_for_it() -> None:
    entries = [[entry.module, entry.before, entry.after, entry.tests] for entry in EVERY]
    ran = subprocess.run(
        [sys.executable, "-m", "storage_node.tests.broken_module"],
        cwd=PROGRAM.parent,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        input=json.dumps(entries),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1800,
    )
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    unnoticed = [
        f"{entry.rule}: {answer['error'] or sorted(set(entry.tests) - set(answer['failed']))}"
        for entry, answer in zip(EVERY, told, strict=True)
        if answer["error"] or set(answer["failed"]) != set(entry.tests)
    ]
    assert unnoticed == []
    say(f"broken rules: {len(EVERY)} broken one by one, each noticed by every test named for it")

"""One place survives what nobody foresaw; everything else catches failures by name."""

import ast
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from storage_node import periodic, reconcile
from storage_node.survival import Surviving
from storage_node.tests.small_element import SmallElement

PROGRAM = Path(__file__).parent.parent


def _swallowing_handlers(tree: ast.AST) -> Iterator[int]:
    """Lines of `except` without a name, or with the broadest, that do not end in raising again."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        named = [] if node.type is None else [ast.unparse(part) for part in ast.walk(node.type)]
        is_broad = node.type is None or {"Exception", "BaseException"} & set(named)
        if is_broad and not isinstance(node.body[-1], ast.Raise):
            yield node.lineno


def test_a_broad_except_stands_in_one_place_of_the_program() -> None:
    swallowing = []
    for path in sorted(PROGRAM.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        swallowing += [f"{path.name}:{line}" for line in _swallowing_handlers(tree)]
        swallowing += [
            path.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and node.name == "__exit__"
            and (node.returns is None or ast.unparse(node.returns) != "None")
        ]
    assert swallowing == ["survival.py"]


def test_a_broad_except_is_seen_by_the_test_above() -> None:
    for text in (
        "except:\n  pass",
        "except Exception:\n  log()",
        "except (OSError, BaseException):\n  x",
    ):
        assert list(_swallowing_handlers(ast.parse(f"try:\n  f()\n{text}"))) == [3]
    again = "try:\n  f()\nexcept BaseException:\n  tidy()\n  raise"
    assert list(_swallowing_handlers(ast.parse(again))) == []


def test_what_nobody_foresaw_is_logged_with_its_traceback_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Surviving(logging.getLogger("x"), "it failed", {"event": "e"}) as attempt:
        raise LookupError("unforeseen")
    assert attempt.failed
    [line] = caplog.records
    assert (line.levelname, line.getMessage(), line.__dict__["event"]) == (
        "ERROR",
        "it failed",
        "e",
    )
    assert "unforeseen" in str(line.exc_info)


def test_the_end_of_the_process_is_not_survived() -> None:
    with pytest.raises(KeyboardInterrupt), Surviving(logging.getLogger("x"), "it failed", {}):
        raise KeyboardInterrupt


def test_a_failed_round_of_the_periodic_work_is_not_the_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock fails as nobody foresaw; what comes next still has its turn, and in the end the work is done."""
    stop = threading.Event()
    settings = {
        "gc_interval_seconds": 0.001,
        "reconcile_interval_seconds": 0.001,
        "monotonic": time.monotonic,
    }
    with SmallElement(tmp_path / "se", settings=settings).open() as element:
        asked = []

        def now() -> datetime:
            asked.append(1)
            if len(asked) < 5:
                raise LookupError("a clock that does not answer")
            if len(asked) == 8:
                stop.set()
            return element.clock.now()

        periodic.run(element.store, stop, now)
        assert reconcile.last_report(element.store)["status"] == "finished"
    assert caplog.text.count("collecting garbage failed") == 2
    assert caplog.text.count("reconcile failed") == 2
    assert "a clock that does not answer" in caplog.text

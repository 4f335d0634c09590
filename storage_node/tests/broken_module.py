"""Runs tests of the node with one piece of its program replaced: a rule broken on purpose.

`python -m storage_node.tests.broken_module` reads a list of breakages from its input, JSON `[module, before, after, [tests]]`,
and writes for each a line of JSON: which of its tests failed, and what else went wrong. A child per breakage imports the
changed module; nothing on disk is touched.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

PROGRAM = Path(__file__).parent.parent
LIMIT_SECONDS = 90
# Not of the node: imported once, so that no child has to.
PRELOADED = ("pytest", "hypothesis", "hypothesis.stateful", "requests", "cryptography.x509", "jwt")


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, text: str) -> None:
        self._path, self._text = PROGRAM / module, text

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"storage_node.{self._path.stem}":
            return None
        loader = _Loader(fullname, str(self._path), self._text)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _Recorder:
    """A pytest plugin: which tests failed; an error at import is not a failure of a test."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.passed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.rpartition("/")[2].partition("[")[0]
        if report.failed:
            self.failed.add(name)
        elif report.when == "call":
            self.passed.add(name)


def _waited_too_long(*_: object) -> None:
    raise TimeoutError


def _run(module: str, before: str, after: str, tests: list[str]) -> dict[str, Any]:
    """In the child: the tests on the changed module."""
    text = (PROGRAM / module).read_text(encoding="utf-8")
    if text.count(before) != 1 or before == after:
        return {"error": f"{module} has the text to break {text.count(before)} times: rewrite it"}
    sys.meta_path.insert(0, _Finder(module, text.replace(before, after)))
    pytest, recorder = importlib.import_module("pytest"), _Recorder()
    folder = tempfile.mkdtemp(prefix="broken-")
    # A broken rule may make a test wait for ever; that is noticing, too.
    signal.signal(signal.SIGALRM, _waited_too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS, LIMIT_SECONDS)
    arguments = ["-q", "-c", "storage_node/pytest.ini", "--rootdir", "storage_node"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:schemathesis", f"--basetemp={folder}/tmp"]
    code = pytest.main(
        [*arguments, *(f"storage_node/tests/{test}" for test in tests)], plugins=[recorder]
    )
    shutil.rmtree(folder, ignore_errors=True)
    ran = recorder.failed | recorder.passed
    error = "" if ran == set(tests) else f"pytest ended with {int(code)}, tests ran: {sorted(ran)}"
    return {"failed": sorted(recorder.failed), "error": error}


def _in_a_child(entry: list[Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told: dict[str, Any] = {"error": "the child ended early"}
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            told = _run(*entry)
        finally:
            os.write(writing, json.dumps(told).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        told = json.loads(answer.read() or '{"error": "the child was killed"}')
    os.waitpid(child, 0)
    return dict(told)


if __name__ == "__main__":
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for entry in json.load(sys.stdin):
        print(json.dumps(_in_a_child(entry)), flush=True)

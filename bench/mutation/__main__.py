"""Mutation sampling: are our tests able to fail? A seeded sample of small faults is made in one module, tests are run on each.

    python -m bench.mutation storage_node/wal.py -- -c storage_node/pytest.ini --rootdir storage_node storage_node/tests/test_wal.py

Behind `--` stands what pytest is given: tests that run the module *in the process of pytest* (a fault is not seen by a node
started beside it). Nothing on disk is changed: a child of this process imports the module with the fault in it. The tests run once
unharmed, so that each fault meets only the tests that pass its line, quickest first. `--out FILE` keeps results, and a second call
goes on where the first stopped (`--budget-seconds`), so that the work can be cut into slices. Prints a row
`| module | mutants | sampled | killed | rate | bar |` and each survivor; exit status 1 when the rate is under the bar.
`--preload PACKAGE` names more packages that are the same for every fault and may be imported once, before any child.
"""

import argparse
import ast
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from bench.mutation.mutants import Mutant, all_mutants, mutated_tree

FILE_LIMIT_BYTES = 2**30
MEMORY_LIMIT_BYTES = 8 * 2**30
PRELOADED = ("pytest", "_pytest", "hypothesis", "schemathesis", "requests", "cryptography", "jwt")


@dataclass
class Baseline:
    """The tests on the unharmed module: seconds of each, and which lines each one passes ("" for the import)."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    exit_code: int = 0
    imported: list[str] = field(default_factory=list)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that pass the mutant's statement, quickest first. All of them where only the import does."""
        statement = range(mutant.lines[0], mutant.lines[1] + 1)
        passing = {
            test for test, lines in self.lines.items() if not set(lines).isdisjoint(statement)
        }
        if passing == {""}:
            passing = set(self.seconds)
        return sorted(passing & set(self.seconds), key=lambda test: (self.seconds[test], test))


class _Recorder:
    """A pytest plugin: which test takes how long and passes which lines."""

    def __init__(self, module: Path) -> None:
        import coverage  # noqa: PLC0415  # only the child that measures needs it

        self.baseline = Baseline()
        self._module = str(module.resolve())
        self._coverage = coverage.Coverage(
            data_file=None, include=[self._module], config_file=False
        )
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        spent = self.baseline.seconds.get(report.nodeid, 0.0)
        self.baseline.seconds[report.nodeid] = spent + report.duration

    def finish(self) -> Baseline:
        self._coverage.stop()
        data = self._coverage.get_data()
        for line, tests in data.contexts_by_lineno(self._module).items():
            for test in tests:
                self.baseline.lines.setdefault(test, []).append(line)
        return self.baseline


class _Select:
    """A pytest plugin: only these tests, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        kept = [item for item in items if item.nodeid in self._order]
        items[:] = sorted(kept, key=lambda item: self._order[item.nodeid])


class _Faulty(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # the loader's protocol
        return compile(self._tree, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the module with the fault to whoever imports it."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(
        self,
        fullname: str,
        path: object = None,  # noqa: ARG002  # the finder's protocol
        target: ModuleType | None = None,  # noqa: ARG002  # the finder's protocol
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Faulty(fullname, str(self._path.resolve()), self._tree)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


@dataclass
class Child:
    """A forked process at work on one mutant, with a directory of its own."""

    mutant: Mutant
    pid: int
    folder: Path
    ends_by: float

    def poll(self) -> str | None:
        """`killed`, `survived`, `timeout`; None while it runs."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done and time.monotonic() < self.ends_by:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not done:
            os.waitpid(self.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not done:
            return "timeout"
        return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"


def fork(work: Callable[[Path], int], log: Path) -> tuple[int, Path]:
    """Runs `work` in a child with its own session, temporary directory and output file; returns its id and directory."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    pid = os.fork()
    if pid:
        return pid, folder
    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = work(folder)
    finally:
        os._exit(int(code))
    raise AssertionError


def run_pytest(arguments: Sequence[str], folder: Path, plugin: object) -> int:
    """pytest in this process, with temporary files of its own and no cache."""
    import pytest  # noqa: PLC0415  # preloaded by main, before the fork

    own = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}"]
    return int(pytest.main([*own, *arguments], plugins=[plugin]))


def measure(module: Path, arguments: Sequence[str]) -> Baseline:
    """Runs the tests once on the unharmed module."""
    told = Path(tempfile.mkstemp(prefix="mutation-baseline-")[1])
    log = told.with_suffix(".log")

    def work(folder: Path) -> int:
        recorder = _Recorder(module)
        code = run_pytest(arguments, folder, recorder)
        baseline = recorder.finish()
        baseline.exit_code, baseline.imported = code, sorted(sys.modules)
        told.write_text(json.dumps(asdict(baseline)), encoding="utf-8")
        return code

    pid, folder = fork(work, log)
    os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    output, raw = log.read_text(errors="replace"), told.read_text(encoding="utf-8")
    log.unlink()
    told.unlink()
    if not raw or json.loads(raw)["exit_code"] != 0:
        sys.exit(f"The tests do not pass on the unharmed module:\n{output}")
    return Baseline(**json.loads(raw))


def preload(packages: Sequence[str], imported: Sequence[str]) -> None:
    """Imports what the tests import of these packages before any fork, so that no child has to."""
    for name in imported:
        if name.partition(".")[0] in packages:
            with contextlib.suppress(Exception):  # then each child imports it, as it would have
                importlib.import_module(name)


@dataclass
class Session:
    """One run over a sample: what is asked, what is known, what is done."""

    module: Path
    arguments: Sequence[str]
    baseline: Baseline
    out: Path | None
    results: dict[str, str] = field(default_factory=dict)

    @property
    def module_name(self) -> str:
        """The dotted name the tests import it by."""
        return ".".join(self.module.with_suffix("").parts)

    def start(self, mutant: Mutant) -> Child | None:
        """Sets a child on a mutant; None when no test passes its line, so that it survives unseen."""
        tests = self.baseline.tests_of(mutant)
        if not tests:
            self.note(mutant, "not covered")
            return None

        def work(folder: Path) -> int:
            tree = mutated_tree(self.module, mutant.number)
            sys.meta_path.insert(0, _Finder(self.module_name, self.module, tree))
            return run_pytest(self.arguments, folder, _Select(tests))

        limit_seconds = 20 + 5 * sum(self.baseline.seconds[test] for test in tests)
        pid, folder = fork(work, Path(os.devnull))
        return Child(mutant, pid, folder, time.monotonic() + limit_seconds)

    def note(self, mutant: Mutant, result: str) -> None:
        """Keeps a result."""
        self.results[mutant.title] = result
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps([mutant.title, result]) + "\n")

    def run(self, mutants: Sequence[Mutant], jobs: int, ends_by: float) -> None:
        """Works through the mutants, `jobs` at a time, and begins no more after `ends_by`."""
        waiting = [mutant for mutant in mutants if mutant.title not in self.results]
        running: list[Child] = []
        while running or (waiting and time.monotonic() < ends_by):
            while waiting and len(running) < jobs and time.monotonic() < ends_by:
                child = self.start(waiting.pop(0))
                running += [child] if child else []
            for child in [*running]:
                result = child.poll()
                if result is not None:
                    self.note(child.mutant, result)
                    running.remove(child)
            time.sleep(0.01)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutation sampling of one module.")
    parser.add_argument("module", type=Path, help="path of the module, from the current directory")
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bar", type=float, default=0.85)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON lines of results, to go on from")
    parser.add_argument("--budget-seconds", type=float, default=float("inf"))
    parser.add_argument("--preload", action="append", default=[*PRELOADED], metavar="PACKAGE")
    parser.add_argument("tests", nargs="+", help="what pytest is given, behind --")
    return parser.parse_args()


def main() -> int:
    """Samples, runs, reports."""
    options = _options()
    ends_by = time.monotonic() + options.budget_seconds
    sys.path.insert(0, str(Path.cwd()))
    mutants = all_mutants(options.module)
    chosen = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    baseline = measure(options.module, options.tests)
    preload(options.preload, baseline.imported)
    session = Session(options.module, options.tests, baseline, options.out)
    if options.out is not None and options.out.exists():
        session.results = dict(map(json.loads, options.out.read_text("utf-8").splitlines()))
    # In the order of the draw, so that a run cut short is a fair sample too.
    session.run(chosen, options.jobs, ends_by)
    chosen.sort(key=lambda mutant: mutant.number)
    done = [mutant for mutant in chosen if mutant.title in session.results]
    alive = [m for m in done if session.results[m.title] in ("survived", "not covered")]
    rate = 1 - len(alive) / max(1, len(done))
    for mutant in alive:
        print(f"- {options.module}:{mutant.title}  ({session.results[mutant.title]})")
    if len(done) < len(chosen):
        print(f"{len(chosen) - len(done)} still to do: call again with the same --out")
    print("| module | mutants | sampled | killed | rate | bar |\n|---|---|---|---|---|---|")
    print(
        f"| {options.module} | {len(mutants)} | {len(done)} | {len(done) - len(alive)} | {rate:.1%} | {options.bar:.0%} |"
    )
    return int(rate < options.bar)


if __name__ == "__main__":
    sys.exit(main())

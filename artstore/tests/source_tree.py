"""Our own source as syntax trees: what the guards read. Holds no rule."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM_FOLDERS = ("artstore", "apps", "storage_node")
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """One function as written; `length_lines` runs from its `def` line to its last line."""

    name: str
    line: int
    length_lines: int
    parameters: int


@dataclass(frozen=True)
class Module:
    """One source file, named as it is imported."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def is_test(self) -> bool:
        return ".tests" in self.name or self.name == "conftest"

    @property
    def is_migration(self) -> bool:
        return ".migrations" in self.name

    @property
    def length_lines(self) -> int:
        return self.text.count("\n")

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, FunctionNode):
                last = node.end_lineno or node.lineno
                yield Function(node.name, node.lineno, last - node.lineno + 1, _parameters(node))

    def imports(self) -> Iterator[tuple[str, int, bool]]:
        """Each imported dotted name, its line, and whether it stands inside a function.

        `from a import b` yields `a.b`: whether `b` is a module is for the reader to resolve.
        """
        inner = {
            id(child)
            for node in ast.walk(self.tree)
            if isinstance(node, FunctionNode)
            for child in ast.walk(node)
        }
        for node in ast.walk(self.tree):
            for name in _imported_names(node, self):
                yield name, getattr(node, "lineno", 0), id(node) in inner


def _parameters(node: FunctionNode) -> int:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in every)


def _imported_names(node: ast.AST, module: Module) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    source = node.module or ""
    if node.level:
        parts = module.name.split(".")
        keep = len(parts) - node.level + (1 if module.is_package else 0)
        source = ".".join([*parts[:keep], *([source] if source else [])])
    return [f"{source}.{alias.name}" for alias in node.names]


def our_modules(root: Path = ROOT, folders: Iterable[str] = PROGRAM_FOLDERS) -> list[Module]:
    """Every Python file of both programs, tests and migrations included."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return found

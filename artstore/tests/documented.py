"""What the code offers, read from its syntax trees, and what the tables in docs/ say of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from artstore.tests.source_tree import ROOT, Module

_VARIABLE = re.compile(r"(ARTSTORE|SE)_[A-Z0-9_]+|DATABASE_URL")
_CODE = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)*")
_METRIC_KINDS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
_METRIC_FAMILIES = {f"{kind}MetricFamily" for kind in _METRIC_KINDS}


def table_keys(page: str) -> list[str]:
    """The first cell of each table row of `docs/<page>.md`, without code marks."""
    rows = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[1].strip() for row in rows if row.startswith("|")]
    return [cell.strip("`") for cell in cells if cell.startswith("`")]


def _strings(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def settings_read(modules: list[Module]) -> set[str]:
    """Names of environment variables that appear as whole strings in shipped code.

    In the apps `SE_...` is an error code about a storage element, never a setting.
    """
    found: set[str] = set()
    for module in modules:
        if not module.is_test:
            names = {text for text in _strings(module.tree) if _VARIABLE.fullmatch(text)}
            in_app = module.name.startswith("apps.")
            found |= {name for name in names if not (in_app and name.startswith("SE_"))}
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
            yield name, node


def metrics_made(modules: list[Module]) -> set[str]:
    """Names given to Prometheus metrics in shipped code."""
    found: set[str] = set()
    for module in modules:
        if module.is_test:
            continue
        for name, call in _calls(module.tree):
            if name in _METRIC_KINDS | _METRIC_FAMILIES and call.args:
                first = call.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


def error_codes(modules: list[Module]) -> set[str]:
    """Every `code = "..."` of an error class, and the codes the envelope itself may choose."""
    found: set[str] = set()
    for module in modules:
        if module.is_test:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                found |= set(_class_codes(node))
    return found


def _class_codes(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        named = any(isinstance(target, ast.Name) and target.id == "code" for target in targets)
        value = getattr(statement, "value", None)
        if named and isinstance(value, ast.Constant) and _CODE.fullmatch(str(value.value)):
            yield str(value.value)


def command_names(root: Path = ROOT) -> set[str]:
    """Our `manage.py` commands, by file name."""
    folders = [*root.glob("apps/*/management/commands"), root / "artstore/management/commands"]
    return {path.stem for folder in folders for path in folder.glob("*.py") if path.stem[0] != "_"}

"""Which small faults can be made in a Python file, and the file with one of them: the raw material of `__main__.py`.

Not made: faults in annotations, decorators, docstrings, sentences for people (text with a space), log lines and
`__all__`. A fault there changes no behaviour that a test should pin down word by word. No I/O beyond reading the file.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LOGGERS = {"log", "logger", "logging"}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, which lines its statement takes, and how it reads. `number` finds it again in the file."""

    number: int
    line: int
    lines: tuple[int, int]
    before: str
    after: str

    @property
    def title(self) -> str:
        """Names the fault in one line, the same in every run over the same source."""
        return f"{self.line}: {self.before}  ->  {self.after}"


def all_mutants(path: Path) -> list[Mutant]:
    """Every fault this module knows how to make in a file, in the order of the text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    mutants = []
    for number, (statement, node, replacement) in enumerate(_faults(tree)):
        first, last = statement.lineno, _last_line(statement)
        title = (_text(node), _text(replacement))
        mutants.append(Mutant(number, getattr(node, "lineno", first), (first, last), *title))
    return mutants


def mutated_tree(path: Path, number: int) -> ast.Module:
    """The file's tree with fault `number` in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for found, (_, node, replacement) in enumerate(_faults(tree)):
        if found == number:
            changed = _Swap(node, replacement).visit(tree)
            return ast.fix_missing_locations(changed)
    raise LookupError(f"{path} has no fault {number}")


class _Swap(ast.NodeTransformer):
    def __init__(self, node: ast.AST, replacement: ast.AST) -> None:
        self._node, self._replacement = node, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._node:
            return ast.copy_location(self._replacement, node)
        return self.generic_visit(node)


def _faults(tree: ast.Module) -> Iterator[tuple[ast.stmt, ast.AST, ast.AST]]:
    """(statement, node, what stands there instead) in a fixed order."""
    for statement in _statements(tree):
        for replacement in _of_statement(statement):
            yield statement, statement, replacement
        for node in _expressions(statement):
            for make in _MAKERS.get(type(node), ()):
                for replacement in make(node):
                    yield statement, node, replacement


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.stmt) and not _is_for_people(child):
            yield child
        yield from _statements(child)


def _is_for_people(statement: ast.stmt) -> bool:
    """Docstrings and log lines."""
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Constant):
        return True
    called = value.func if isinstance(value, ast.Call) else None
    owner = called.value if isinstance(called, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in LOGGERS


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions of a statement itself: not of statements inside it, nor annotations and decorators."""
    skipped = {"annotation", "returns", "decorator_list", "type_params", "type_comment"}

    def below(node: ast.AST) -> Iterator[ast.AST]:
        for name, value in ast.iter_fields(node):
            if name in skipped:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.stmt | ast.excepthandler) or not isinstance(
                    child, ast.AST
                ):
                    continue
                yield child
                if not isinstance(child, ast.JoinedStr):
                    yield from below(child)

    yield from below(statement)


def _of_statement(statement: ast.stmt) -> Iterator[ast.stmt]:
    match statement:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]) | ast.AugAssign():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield ast.Return(ast.Constant(None))
    if isinstance(statement, ast.AugAssign) and type(statement.op) in _OPERATORS:
        other = copy.copy(statement)
        other.op = _OPERATORS[type(statement.op)]()
        yield other
    if isinstance(statement, ast.If | ast.While) and not isinstance(statement.test, ast.Constant):
        other_test = copy.copy(statement)
        other_test.test = ast.UnaryOp(ast.Not(), statement.test)
        yield other_test


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for place, operator in enumerate(node.ops):
        other = copy.copy(node)
        other.ops = [*node.ops]
        other.ops[place] = _COMPARISONS[type(operator)]()
        yield other


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in _OPERATORS:
        other = copy.copy(node)
        other.op = _OPERATORS[type(node.op)]()
        yield other


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    other = copy.copy(node)
    other.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    yield other


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _choice(node: ast.IfExp) -> Iterator[ast.AST]:
    yield ast.IfExp(node.test, node.orelse, node.body)


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int() | float():
            yield ast.Constant(node.value + 1)
        case str() if node.value and " " not in node.value:
            yield ast.Constant("XX" + node.value)
        case bytes() if node.value:
            yield ast.Constant(b"XX" + node.value)


_MAKERS: dict[type[ast.AST], tuple[Callable[..., Iterator[ast.AST]], ...]] = {
    ast.Compare: (_compare,),
    ast.BinOp: (_binary,),
    ast.BoolOp: (_boolean,),
    ast.UnaryOp: (_unary,),
    ast.IfExp: (_choice,),
    ast.Constant: (_constant,),
}


def _last_line(statement: ast.stmt) -> int:
    """Where the statement's own text ends: a compound one ends with its head."""
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body:
        return max(statement.lineno, body[0].lineno - 1)
    return statement.end_lineno or statement.lineno


def _text(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split("\n")[0]
    return text if len(text) <= 90 else f"{text[:87]}..."

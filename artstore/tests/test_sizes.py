"""Guards: how long a function, a door, a file and a parameter list may grow."""

import ast
import statistics
from collections.abc import Iterator

from artstore.tests.layers import DOOR_ROOMS
from artstore.tests.source_tree import Module, our_modules

# Rooms that translate and decide nothing. Forms, serializers and settings are tables, not doors.
DOORS = (DOOR_ROOMS | {"tasks"}) - {"forms", "serializers", "apps", "checks", "permissions"}


def shipped() -> list[Module]:
    return [module for module in our_modules() if not module.is_test and not module.is_migration]


def percentile_95(values: list[int]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def is_door(module: Module) -> bool:
    parts = module.name.split(".")
    return parts[0] == "apps" and len(parts) > 2 and parts[2] in DOORS


def oversized_functions(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        limit = 30 if is_door(module) else 60
        for function in module.functions():
            if function.length_lines > limit:
                place = f"{module.name}.{function.name}:{function.line}"
                yield f"{place} has {function.length_lines} lines; at most {limit}"


def crowded_functions(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        for function in module.functions():
            if function.parameters > 5:
                place = f"{module.name}.{function.name}:{function.line}"
                yield f"{place} takes {function.parameters} parameters; at most 5"


def oversized_files(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.length_lines > 500:
            yield f"{module.name} has {module.length_lines} lines; at most 500"


def undescribed(modules: list[Module]) -> Iterator[str]:
    for module in modules:
        if module.text.strip() and not ast.get_docstring(module.tree):
            yield f"{module.name} does not say what lives in it"


def test_no_function_outgrows_its_screen() -> None:
    modules = shipped()
    assert list(oversized_functions(modules)) == []
    assert percentile_95([f.length_lines for m in modules for f in m.functions()]) <= 40


def test_doors_translate_and_nothing_more() -> None:
    lengths = [f.length_lines for m in shipped() if is_door(m) for f in m.functions()]
    assert statistics.median(lengths) <= 15


def test_no_function_takes_more_than_five_parameters() -> None:
    assert list(crowded_functions(shipped())) == []


def test_no_file_outgrows_one_idea() -> None:
    assert list(oversized_files([m for m in our_modules() if not m.is_migration])) == []
    assert percentile_95([m.length_lines for m in shipped()]) <= 330


def test_every_module_says_what_lives_in_it() -> None:
    assert list(undescribed(shipped())) == []


def test_the_guards_notice_a_breach() -> None:
    body = "\n".join(["    x = 1"] * 61)
    long_function = Module("apps.admin.users", f"def f():\n{body}\n")
    long_door = Module("apps.admin.api", "def f():\n" + "    x = 1\n" * 31)
    crowded = Module("apps.admin.users", "def f(a, b, c, d, e, *, g): ...\n")
    assert list(oversized_functions([long_function]))
    assert list(oversized_functions([long_door]))
    assert list(crowded_functions([crowded]))
    assert list(oversized_files([Module("apps.admin.users", "\n" * 501)]))
    assert list(undescribed([crowded]))

"""Every rule of durability, index and garbage collection, broken once on purpose, with the tests that must notice.

`README.md` beside this shows the list; `test_drill_broken_rules.py` breaks each rule for real and sees its tests fail. A
breakage names a piece of the program by its text: whoever rewrites that piece rewrites the breakage too.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """One rule, the fault that breaks it (`before` becomes `after` in `module`), and tests that fail then."""

    rule: str
    module: str
    before: str
    after: str
    tests: tuple[str, ...]


def broken(rule: str, module: str, change: tuple[str, str], *tests: str) -> Broken:
    """A breakage: rule, module, (before, after), tests."""
    return Broken(rule, module, *change, tests)

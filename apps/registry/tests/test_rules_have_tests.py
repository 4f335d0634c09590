"""Guard: README.md beside this file names a test for every rule, and every test it names is there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| ([^|]+) \| (.+) \|$", (HERE / "README.md").read_text(), re.MULTILINE)
TESTS_OF = {first.strip(): re.findall(r"`(test_\w+)`", rest) for first, rest in ROWS}


def written_tests() -> set[str]:
    sources = [*HERE.glob("test_*.py"), *(HERE.parents[2] / "storage_node/tests").glob("test_*.py")]
    return {
        name
        for source in sources
        for name in re.findall(r"^def (test_\w+)\(", source.read_text(), re.MULTILINE)
    }


def test_every_rule_of_sync_and_every_item_of_prior_art_has_a_named_test() -> None:
    wanted = [*map(str, range(1, 11)), "lazy", *map(str, range(19, 29))]
    assert [name for name in wanted if not TESTS_OF.get(name)] == []


def test_every_test_that_is_named_exists() -> None:
    named = {name for tests in TESTS_OF.values() for name in tests}
    assert len(named) > 30
    assert sorted(named - written_tests()) == []

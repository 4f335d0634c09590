"""Guards: who may import whom. Each rule is shown to hold, and shown able to fail."""

from collections.abc import Callable, Iterator

import pytest

from artstore.tests import layers
from artstore.tests.source_tree import Module, our_modules

MODULES = our_modules()


def node_rule(modules: list[Module]) -> Iterator[str]:
    return layers.node_floors(modules, layers.NODE_FLOORS)


RULES = [
    layers.wrong_house,
    layers.wrong_room,
    layers.front_door_words,
    node_rule,
    layers.inner_imports,
    layers.cycles,
    layers.drawers,
]

A_REGISTRY = Module("apps.registry", "", is_package=True)
BAD_EXAMPLES = [
    (layers.wrong_house, [("apps.admin.users", "from apps.registry import sync")]),
    (layers.wrong_house, [("apps.query.search", "from apps.ingester import upload")]),
    (layers.wrong_house, [("artstore.api", "import apps.registry")]),
    (layers.wrong_house, [("apps.registry.elements", "import storage_node")]),
    (layers.wrong_house, [("storage_node.store", "from artstore.errors import Conflict")]),
    (layers.wrong_room, [("apps.registry.models", "from apps.registry.sync import run")]),
    (layers.wrong_room, [("apps.registry.sync", "from apps.registry.api import View")]),
    (layers.front_door_words, [("apps.registry.sync", "from django.http import HttpRequest")]),
    (layers.front_door_words, [("apps.registry.models", "import celery")]),
    (node_rule, [("storage_node.wal", "from storage_node.store import Store")]),
    (node_rule, [("storage_node.store", "import asyncio")]),
    (node_rule, [("storage_node.novelty", "")]),
    (layers.inner_imports, [("apps.registry.sync", "def f():\n    from apps.admin import users")]),
    (
        layers.cycles,
        [
            ("apps.admin.users", "from apps.admin import keys"),
            ("apps.admin.keys", "from apps.admin import users"),
        ],
    ),
    (layers.drawers, [("apps.admin.utils", "")]),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[list[Module]], Iterator[str]]) -> None:
    assert list(rule(MODULES)) == []


@pytest.mark.parametrize(("rule", "files"), BAD_EXAMPLES)
def test_the_rule_notices_a_breach(
    rule: Callable[[list[Module]], Iterator[str]], files: list[tuple[str, str]]
) -> None:
    rooms = ("users", "keys")
    known = ["apps.registry", "apps.ingester", "apps.admin", "artstore", "storage_node"]
    known += ["apps.registry.sync", "apps.registry.api", "storage_node.store", "artstore.errors"]
    known += [f"apps.admin.{room}" for room in rooms]
    written = {name for name, _ in files}
    modules = [Module(name, "") for name in known if name not in written]
    modules += [Module(name, text) for name, text in files]
    assert list(rule(modules))


def test_every_source_file_is_read() -> None:
    assert len(MODULES) > 40
    assert {"artstore.settings", "apps.registry.models"} <= {module.name for module in MODULES}

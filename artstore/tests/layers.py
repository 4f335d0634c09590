"""The rules of docs/architecture.md about who may import whom, as functions over modules.

Each rule takes modules and gives back complaints, so that a test can feed it a bad example too.
"""

import graphlib
from collections.abc import Iterable, Iterator, Mapping

from artstore.tests.source_tree import Module

# An app may import the apps listed beside it, and the ground floor.
APP_MAY_IMPORT = {
    "apps.admin": set(),
    "apps.registry": {"apps.admin"},
    "apps.ingester": {"apps.registry", "apps.admin"},
    "apps.query": {"apps.registry", "apps.admin"},
}
GROUND_FLOOR = {"artstore", "artstore.errors", "artstore.api", "artstore.paging", "artstore.pages"}
GROUND_FLOOR |= {"artstore.logs", "artstore.health", "artstore.database", "artstore.commands"}
GROUND_FLOOR |= {"artstore.unread", "artstore.parsers", "artstore.carried"}
GROUND_FLOOR |= {"artstore.shown", "artstore.moments", "artstore.opened"}

ERRORS, NOUNS, VERBS, TASKS, DOORS = range(5)
NOUN_ROOMS = {"models", "choices", "metrics", "attributes", "uploading", "search_text"}
# Modules that speak HTTP to a node: they know the wire and no verb.
CLIENT_ROOMS = {"node_client", "wire", "heads", "addresses", "answers", "deadlines"}
DOOR_ROOMS = {"api", "views", "urls", "serializers", "forms", "apps", "checks"}
DOOR_ROOMS |= {"authentication", "permissions", "management", "templatetags", "listing"}
DOOR_ROOMS |= {"middleware", "responses"}
# `rest_framework.` with its dot: simplejwt's token backend knows no request.
NOT_FOR_VERBS = ("rest_framework.", "django.http", "celery", "argparse", "django.shortcuts")

# The node, lowest floor first; a module imports only from its own floor or below.
NODE_FLOORS = (
    {"errors", "survival", "memory"},
    {"attribute_rules", "names", "attributes", "attributes_text"},
    {"records", "wal_format", "medium"},
    {"wal", "wal_scan", "disk", "index_schema", "remembered", "index", "index_reading"}
    | {
        "leaf_rows",
        "leaf_readers",
        "index_rebuild",
        "modes",
        "capacity",
        "clock_trust",
        "health",
        "headroom",
    },
    {"directory", "element", "redo", "change", "changes", "upkeep", "committer", "checkpoint"}
    | {"content", "feed", "uploads", "store"},
    {"garbage", "findings", "pace", "scrub", "survey", "reconcile", "verify"},
    {"api", "auth", "periodic", "config", "protocol", "metrics", "logs", "telemetry"}
    | {"keys", "call", "bridge", "envelope", "body", "drafts", "multipart_body", "answers"}
    | {"queries", "ranges", "readiness", "readings", "version", "tls", "request_log"}
    | {"at_once", "put_at_once", "in_place"}
    | {"api_files", "api_uploads", "api_downloads", "api_element", "api_maintenance"},
    {"app"},
    {"__main__"},
)
NODE_STORE_FLOOR = 4
NODE_ENGINE_TOP = 5
NOT_FOR_ENGINE = ("starlette", "asyncio", "uvicorn", "anyio")
DRAWERS = {"utils", "helpers", "common", "misc", "services", "managers", "base"}


def resolve(name: str, known: Mapping[str, Module]) -> str | None:
    """The module of ours that an imported dotted name lives in, if it is ours."""
    while name:
        if name in known:
            return name
        name = name.rpartition(".")[0]
    return None


def edges(modules: Iterable[Module]) -> Iterator[tuple[Module, str, int, bool]]:
    """(importer, imported module of ours, line, inside a function) for all but tests."""
    known = {module.name: module for module in modules}
    for module in known.values():
        for name, line, inside in module.imports():
            target = resolve(name, known)
            if target and target != module.name:
                yield module, target, line, inside


def house(name: str) -> str:
    """`apps.admin` for anything in that app, else the top-level package."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "apps" else parts[0]


def room_rank(name: str) -> int:
    """How near the front of its app a module stands."""
    room = [*name.split("."), "", ""][2]
    if room == "errors":
        return ERRORS
    if room in NOUN_ROOMS or room in CLIENT_ROOMS:
        return NOUNS
    if room == "tasks":
        return TASKS
    return DOORS if room in DOOR_ROOMS else VERBS


def wrong_house(modules: list[Module]) -> Iterator[str]:
    """Imports between programs or apps that have no arrow."""
    for module, target, line, _ in edges(modules):
        source_house, target_house = house(module.name), house(target)
        if module.is_test or module.is_migration or source_house == target_house:
            continue
        allowed = target_house in APP_MAY_IMPORT.get(source_house, set())
        if source_house.startswith("apps.") and target in GROUND_FLOOR:
            allowed = True
        if module.name.startswith("artstore.management.commands"):
            allowed = target_house.startswith("apps.")
        if not allowed:
            yield f"{module.name}:{line} may not import {target}"


def wrong_room(modules: list[Module]) -> Iterator[str]:
    """Inside an app calls go from doors to verbs to nouns, never back."""
    for module, target, line, _ in edges(modules):
        if module.is_test or module.is_migration or house(module.name) != house(target):
            continue
        in_app = module.name.startswith("apps.") and target.count(".") > 1
        if in_app and room_rank(module.name) < room_rank(target):
            yield f"{module.name}:{line} may not import {target}: it stands nearer the door"


def front_door_words(modules: list[Module]) -> Iterator[str]:
    """Verbs and nouns never see a request, DRF, Celery or argparse."""
    for module in modules:
        is_app_code = module.name.count(".") > 1 and module.name.startswith("apps.")
        if not is_app_code or module.is_test or module.is_migration:
            continue
        if room_rank(module.name) > VERBS:
            continue
        for name, line, _ in module.imports():
            if f"{name}.".startswith(NOT_FOR_VERBS):
                yield f"{module.name}:{line} is no door and may not import {name}"


def node_floors(modules: list[Module], floors: tuple[set[str], ...]) -> Iterator[str]:
    """In the node, imports go downwards; async and HTTP stop at its doors."""
    floor_of = {name: floor for floor, names in enumerate(floors) for name in names}
    for module in modules:
        room = module.name.removeprefix("storage_node").removeprefix(".").partition(".")[0]
        if module.is_test or not module.name.startswith("storage_node.") or not room:
            continue
        if room not in floor_of:
            yield f"{module.name} has no floor: place it in artstore/tests/layers.py"
            continue
        for name, line, _ in module.imports():
            other = name.split(".")[1] if name.startswith("storage_node.") else ""
            if floor_of.get(other, -1) > floor_of[room]:
                yield f"{module.name}:{line} may not import {name}: it stands higher"
            if floor_of[room] <= NODE_ENGINE_TOP and name.startswith(NOT_FOR_ENGINE):
                yield f"{module.name}:{line} is engine and may not import {name}"


def inner_imports(modules: list[Module]) -> Iterator[str]:
    """Our own code is imported at the top of a file, where a reader sees it."""
    for module, target, line, inside in edges(modules):
        if inside and not module.is_test:
            yield f"{module.name}:{line} imports {target} inside a function"


def cycles(modules: list[Module]) -> Iterator[str]:
    """A module that reaches itself. A package's `__init__` is not counted as importing its parts."""
    graph: dict[str, set[str]] = {}
    for module, target, _, _ in edges(modules):
        if not module.is_test and not module.name.startswith(target + "."):
            graph.setdefault(module.name, set()).add(target)
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as found:
        yield " -> ".join(found.args[1])


def drawers(modules: list[Module]) -> Iterator[str]:
    """A module named after nothing collects everything."""
    for module in modules:
        if module.name.rpartition(".")[2] in DRAWERS:
            yield f"{module.name} is named after no idea"

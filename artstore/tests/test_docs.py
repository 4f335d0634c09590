"""Guards: every setting, command, metric and error code is in docs/, and nothing else is."""

import re
from collections.abc import Callable

import pytest
from django.core.management import get_commands, load_command_class

from artstore.api import _DRF_CODES, _FOREIGN_FAILURES, _STATUS_CODES
from artstore.tests import documented
from artstore.tests.source_tree import ROOT, Module, our_modules

MODULES = our_modules()
# Read by libraries, not by us; described because an operator sets them.
FOREIGN_SETTINGS = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"}
NODE_COMMANDS = {
    f"python -m storage_node {name}"
    for name in (
        "serve",
        "init",
        "reconcile",
        "collect-garbage",
        "rebuild-index",
        "verify",
        "accept-restored",
    )
}


def envelope_codes() -> set[str]:
    named = {code for code, _ in _DRF_CODES.values()} | set(_STATUS_CODES.values())
    return named | {answer[0] for _, answer in _FOREIGN_FAILURES}


def settings_offered() -> set[str]:
    """`NAME_FILE` is a way to give `NAME`, told in its row."""
    gunicorn = Module("deploy.gunicorn", (ROOT / "deploy/gunicorn.conf.py").read_text())
    read = documented.settings_read([*MODULES, gunicorn])
    return {name for name in read if name.removesuffix("_FILE") not in read - {name}}


OFFERED: dict[str, Callable[[], set[str]]] = {
    "configuration": lambda: settings_offered() | FOREIGN_SETTINGS,
    "metrics": lambda: documented.metrics_made(MODULES),
    "errors": lambda: documented.error_codes(MODULES) | envelope_codes(),
    "commands": lambda: documented.command_names() | NODE_COMMANDS,
}


@pytest.mark.parametrize("page", OFFERED)
def test_the_page_lists_exactly_what_the_code_offers(page: str) -> None:
    listed = [key.removeprefix("manage.py ") for key in documented.table_keys(page)]
    offered = OFFERED[page]()
    assert offered, f"the reader of {page} finds nothing in the code"
    assert sorted(offered - set(listed)) == [], f"not in docs/{page}.md"
    assert sorted(set(listed) - offered) == [], f"in docs/{page}.md, not in the code"
    assert len(listed) == len(set(listed)), f"docs/{page}.md says something twice"


def test_the_readers_see_a_new_setting_metric_and_code() -> None:
    text = """
    import environ, prometheus_client
    X = environ.Env().int("ARTSTORE_NEW_SECONDS", default=1)
    M = prometheus_client.Counter("artstore_new_total", "new", ["a"])
    class Odd(Exception):
        code = "ODD_THING"
    """
    module = Module("apps.admin.users", re.sub(r"^    ", "", text, flags=re.MULTILINE))
    assert documented.settings_read([module]) == {"ARTSTORE_NEW_SECONDS"}
    assert documented.metrics_made([module]) == {"artstore_new_total"}
    assert documented.error_codes([module]) == {"ODD_THING"}


def test_every_link_between_our_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("apps/*/README.md")]
    pages += [*ROOT.glob("storage_node/README.md"), *ROOT.glob("deploy/**/*.md")]
    broken = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []


def test_every_file_our_pages_name_exists() -> None:
    named = re.compile(r"`((?:apps|artstore|storage_node|templates|deploy|bench)/[\w./-]+)`")
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    gone = [
        f"{page.relative_to(ROOT)} names {path}"
        for page in pages
        for path in named.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]
    assert gone == []


def test_every_command_our_pages_show_can_be_typed() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    shown = [
        typed.split()
        for page in pages
        for typed in re.findall(r'make manage ARGS="(\w[^"]*)"', page.read_text(encoding="utf-8"))
    ]
    assert shown
    for name, *arguments in shown:
        command = load_command_class(get_commands()[name], name)
        command.create_parser("manage.py", name).parse_args(arguments)

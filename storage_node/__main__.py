"""The shell door: `python -m storage_node <command>`. Parses, calls, prints; decides nothing.

Commands that write take the directory's lock, so they refuse while a node is running on it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from storage_node import app, config, directory, garbage, logs, memory, reconcile, verify
from storage_node.app import utc_now
from storage_node.config import ConfigInvalid
from storage_node.errors import NodeError
from storage_node.store import Store

USAGE_EXIT = 2
REFUSED_EXIT = 3
FINDINGS_EXIT = 1


def _serve(_: argparse.Namespace) -> int:
    memory.share_arenas()
    settings = config.read(os.environ)
    logs.configure(settings.log_level, settings.log_format)
    ready = app.prepared(settings)
    claimed = directory.claim(config.store_options(settings), utc_now())
    uvloop.run(app.serve(ready, claimed))
    return 0


def _init(_: argparse.Namespace) -> int:
    settings = config.read_for_shell(os.environ)
    options = replace(config.store_options(settings), init=True)
    made = directory.claim(options, utc_now())
    _print({"storage_id": made.storage_id, "instance_id": str(made.instance_id), "mode": made.mode})
    made.close()
    return 0


def _opened() -> Store:
    settings = config.read_for_shell(os.environ)
    return Store.open(directory.claim(config.store_options(settings), utc_now()), utc_now())


def _reconcile(_: argparse.Namespace) -> int:
    store = _opened()
    try:
        report = reconcile.run(store, utc_now(), "shell")
    finally:
        store.close()
    _print(report)
    return FINDINGS_EXIT if any(report["findings"].values()) else 0


def _collect_garbage(arguments: argparse.Namespace) -> int:
    store = _opened()
    try:
        report = garbage.collect(
            store, utc_now(), dry_run=arguments.dry_run, trust_clock=arguments.trust_clock
        )
    finally:
        store.close()
    _print(report.to_wire())
    return 0


def _rebuild_index(_: argparse.Namespace) -> int:
    settings = config.read_for_shell(os.environ)
    claimed = directory.claim(config.store_options(settings), utc_now())
    store = Store.open(claimed, utc_now(), rebuild=True)
    _print({"epoch": str(store.epoch), "counts": store.info(utc_now()).counts})
    store.close()
    return 0


def _accept_restored(_: argparse.Namespace) -> int:
    settings = config.read_for_shell(os.environ)
    instance_id = directory.accept_restored(config.store_options(settings), utc_now())
    _print({"storage_id": settings.storage_id, "instance_id": str(instance_id)})
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    findings = verify.verify(arguments.directory, sys.stdout.write)
    return FINDINGS_EXIT if findings else 0


def _print(members: object) -> None:
    sys.stdout.write(json.dumps(members, ensure_ascii=False, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m storage_node",
        description="A storage node. Settings are SE_* of the environment: docs/configuration.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], help_line: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_line, description=help_line)
        command.set_defaults(run=run)
        return command

    add("serve", _serve, "Serve the directory over HTTPS until told to stop.")
    add("init", _init, "Make a new, empty element in SE_DATA_DIR.")
    add(
        "reconcile",
        _reconcile,
        "Compare attributes, index and bytes once; exit status 1 when something was found.",
    )
    collecting = add("collect-garbage", _collect_garbage, "Free what expired or was deleted.")
    collecting.add_argument(
        "--dry-run", action="store_true", help="only list what would go, why, and how many bytes"
    )
    collecting.add_argument(
        "--trust-clock",
        action="store_true",
        help="free bytes although no token has confirmed the clock",
    )
    add(
        "rebuild-index",
        _rebuild_index,
        "Make the index anew from the attribute files; starts a new epoch.",
    )
    add(
        "accept-restored",
        _accept_restored,
        "Make a directory copied from a backup servable: empty log, new instance.",
    )
    verifying = add(
        "verify",
        _verify,
        "Check every file of a directory without changing anything; exit status 1 on findings.",
    )
    verifying.add_argument("directory", type=Path)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a refusal is a sentence on stderr and an exit status, never a traceback."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except ConfigInvalid as refusal:
        sys.stderr.write("".join(f"storage_node: {problem}\n" for problem in refusal.problems))
        return USAGE_EXIT
    except NodeError as refusal:
        sys.stderr.write(f"storage_node: {refusal.message}\n")
        return REFUSED_EXIT
    return status


if __name__ == "__main__":
    sys.exit(main())

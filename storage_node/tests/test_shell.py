"""The shell door: `python -m storage_node <command>` refuses while a node runs, and prints what it did."""

import json
from pathlib import Path

from storage_node.tests.conftest import MakeNode
from storage_node.tests.node_process import REPOSITORY


def test_commands_that_write_refuse_while_the_node_runs(make_node: MakeNode) -> None:
    node = make_node()
    before = node.session().get("/api/v1/info").json()
    for command in (
        "init",
        "reconcile",
        "collect-garbage",
        "rebuild-index",
        "accept-restored",
    ):
        refused = node.run(command)
        assert refused.returncode == 3, refused.stderr
        assert "in use" in refused.stderr
        assert "API" in refused.stderr
        assert refused.stdout == ""
        assert "Traceback" not in refused.stderr
    # Reading is free at any time; what it reads may be behind the log, and it says so.
    node.session().put_file(b"x")
    verified = node.run("verify", str(node.data_dir))
    assert verified.returncode == 0, verified.stdout
    assert verified.stdout.startswith("log not replayed: ")
    after = node.session().get("/api/v1/info").json()
    assert (after["epoch"], after["instance_id"]) == (before["epoch"], before["instance_id"])


def test_help_names_every_command_and_what_it_does(make_node: MakeNode) -> None:
    node = make_node(start=False)
    told = node.run("--help")
    assert told.returncode == 0
    assert "docs/configuration.md" in told.stdout
    commands = (
        "serve",
        "init",
        "reconcile",
        "collect-garbage",
        "rebuild-index",
        "accept-restored",
        "verify",
    )
    for command in commands:
        assert f"    {command} " in told.stdout
    for flag in ("--dry-run", "--trust-clock"):
        assert flag in node.run("collect-garbage", "--help").stdout
    operations = (REPOSITORY / "docs" / "operations.md").read_text()
    for command in set(commands) - {"serve"}:
        assert f"| `{command}" in operations


def test_what_is_no_command_ends_with_2_and_a_directory_that_is_none_with_3(
    make_node: MakeNode, tmp_path: Path
) -> None:
    node = make_node(start=False)
    for arguments in ((), ("no-such-command",), ("reconcile", "--no-such-flag"), ("verify",)):
        refused = node.run(*arguments)
        assert refused.returncode == 2, arguments
        assert "usage:" in refused.stderr
    for arguments in (("verify", str(tmp_path / "nothing")), ("accept-restored",)):
        refused = node.run(*arguments)
        assert refused.returncode == 3, arguments
        assert refused.stderr.startswith("storage_node: ")
        assert "Traceback" not in refused.stderr


def test_reconcile_from_the_shell_ends_with_1_when_it_found_something(make_node: MakeNode) -> None:
    node = make_node()
    node.session().put_file(b"12345")
    assert node.stop() == 0
    leaf = node.data_dir / "files" / "00" / "00"
    leaf.mkdir(parents=True, exist_ok=True)
    (leaf / "nobody's").write_bytes(b"x")
    found = node.run("reconcile")
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)["findings"]["orphaned_file"] == 1
    assert node.run("reconcile").returncode == 0


def test_housekeeping_from_the_shell(make_node: MakeNode) -> None:
    node = make_node(SE_EXPIRED_GRACE="0")
    api = node.session()
    kept = api.put_file(b"kept").json()["file_id"]
    doomed = api.put_file(bytes(100_000)).json()["file_id"]
    api.delete(f"/api/v1/files/{doomed}")
    before = api.get("/api/v1/info").json()
    assert node.stop() == 0
    reconciled = node.run("reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    assert json.loads(reconciled.stdout)["status"] == "finished"
    for flags, freed in (((), 0), (("--trust-clock", "--dry-run"), 1), (("--trust-clock",), 1)):
        collected = json.loads(node.run("collect-garbage", *flags).stdout)
        assert collected["freed_files"] == freed, collected
    rebuilt = json.loads(node.run("rebuild-index").stdout)
    assert rebuilt["epoch"] != before["epoch"]
    verified = node.run("verify", str(node.data_dir))
    assert verified.returncode == 0, verified.stdout
    accepted = json.loads(node.run("accept-restored").stdout)
    assert accepted["instance_id"] != before["instance_id"]
    node.start()
    assert node.session().get(f"/api/v1/files/{kept}/download").content == b"kept"


def test_init_makes_an_element_and_verify_tells_damage(make_node: MakeNode) -> None:
    node = make_node(start=False, SE_INIT="0", SE_MODE="rw")
    made = node.run("init")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["mode"] == "rw"
    node.start()
    node.session().put_file(b"12345")
    node.stop()
    path = next(
        path
        for path in (node.data_dir / "files").rglob("*file_*")
        if path.is_file() and path.suffix != ".json"
    )
    path.write_bytes(b"54321")
    verified = node.run("verify", str(node.data_dir))
    assert verified.returncode == 1
    assert "Traceback" not in verified.stdout + verified.stderr


def test_a_missing_setting_is_told_without_a_traceback(make_node: MakeNode) -> None:
    node = make_node(start=False, SE_DATA_DIR="")
    for command in ("serve", "init", "reconcile"):
        refused = node.run(command)
        assert refused.returncode == 2
        assert "SE_DATA_DIR" in refused.stderr
        assert "Traceback" not in refused.stderr

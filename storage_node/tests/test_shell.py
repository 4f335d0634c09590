"""The shell door: `python -m storage_node <command>` refuses while a node runs, and prints what it did."""

import json

from storage_node.tests.conftest import MakeNode


def test_commands_that_write_refuse_while_the_node_runs(make_node: MakeNode) -> None:
    node = make_node()
    for command in ("reconcile", "collect-garbage", "rebuild-index", "accept-restored"):
        refused = node.run(command)
        assert refused.returncode == 3, refused.stderr
        assert "in use" in refused.stderr
        assert "API" in refused.stderr


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

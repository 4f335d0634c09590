"""What an operator watches: after real work on a real node, /metrics tells what was done and how it went."""

import re

import requests

from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.node_process import NodeProcess


def samples(node: NodeProcess) -> dict[str, float]:
    """Every sample of the node's own metrics, by name with labels."""
    text = requests.get(
        f"{node.base_url}/metrics", verify=str(node.certificates.ca), timeout=20
    ).text
    found = re.findall(r"^(artstore_node_[^ ]+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_log_garbage_reconcile_scrub_and_room_are_told_after_real_work(
    make_node: MakeNode,
) -> None:
    node = make_node(SE_MAX_CAPACITY="64MiB")
    api = node.session()
    before = samples(node)
    kept, deleted, broken = (
        api.put_file(bytes([number]) * 1000).json()["file_id"] for number in range(3)
    )
    assert api.delete(f"/api/v1/files/{deleted}").status_code == 200
    assert api.post("/api/v1/maintenance/collect-garbage").json()["freed_bytes"] == 1000
    content = next(
        path
        for path in eventually(lambda: list((node.data_dir / "files").rglob(f"*{broken}*")))
        if not path.name.endswith(".attr.json")
    )
    eventually(lambda: content.stat().st_size == 1000)
    content.write_bytes(b"short")
    orphan = content.with_name("nobody.bin")
    orphan.write_bytes(b"nobody knows")
    report = api.post("/api/v1/maintenance/reconcile?wait=true").json()
    assert report["status"] == "finished"
    told = samples(node)
    assert told["artstore_node_log_bytes"] > 0
    synced = told["artstore_node_log_sync_seconds_count"]
    assert synced >= before["artstore_node_log_sync_seconds_count"] + 5
    assert told['artstore_node_log_sync_seconds_bucket{le="+Inf"}'] == synced
    assert told["artstore_node_log_sync_seconds_sum"] > 0
    assert told['artstore_node_garbage_runs_total{outcome="finished"}'] == 1
    assert told['artstore_node_garbage_runs_total{outcome="postponed"}'] == 0
    assert told["artstore_node_garbage_freed_files_total"] == 1
    assert told["artstore_node_garbage_freed_bytes_total"] == 1000
    assert told['artstore_node_reconcile_findings{finding="size_mismatch"}'] == 1
    assert told['artstore_node_reconcile_findings{finding="orphaned_file"}'] == 1
    assert told['artstore_node_reconcile_findings{finding="missing_file"}'] == 0
    assert 0 < told["artstore_node_scrub_age_seconds"] < 3600
    assert told["artstore_node_reserved_bytes"] == 0
    assert told["artstore_node_capacity_bytes"] == 64 * 2**20
    room = api.get("/api/v1/info").json()["capacity"]
    assert told["artstore_node_used_bytes"] == room["used_bytes"] > 0
    assert api.get(f"/api/v1/files/{kept}/download").status_code == 200


def test_a_collection_put_off_in_a_mode_that_keeps_every_byte_is_counted_apart(
    make_node: MakeNode,
) -> None:
    node = make_node(SE_MODE="ro")
    api = node.session()
    api.post("/api/v1/maintenance/collect-garbage")
    api.post("/api/v1/maintenance/collect-garbage?dry_run=true")
    told = samples(node)
    assert told['artstore_node_garbage_runs_total{outcome="postponed"}'] == 1
    assert told['artstore_node_garbage_runs_total{outcome="finished"}'] == 0
    assert told["artstore_node_scrub_age_seconds"] == 0

"""Readiness: each part's state as `ok`, `degraded` (only writes fail) or `fail` (reads fail too), and the worst of them.

Writes no probe file: a full disk must not take reads out of service.
"""

from storage_node.call import Node

Checks = dict[str, dict[str, str]]
_WORST_FIRST = ("fail", "degraded", "ok")


def readiness(node: Node) -> tuple[str, Checks]:
    """The overall status and the checks behind it."""
    checks = {"keys": _keys(node)} | _engine(node)
    found = {check["status"] for check in checks.values()}
    return next(status for status in _WORST_FIRST if status in found), checks


def _engine(node: Node) -> Checks:
    if node.opened is None:
        return {"index": {"status": "fail", "message": "rebuilding"}}
    info = node.opened.info(node.clock())
    checks: Checks = {
        "index": {"status": "ok"},
        "disk": {"status": "ok"},
        "clock": {"status": "ok"},
    }
    if info.status_reasons:
        checks["disk"] = {"status": "degraded", "message": "; ".join(info.status_reasons)}
    if info.clock_reason is not None:
        # Reads and writes go on; only the freeing of bytes waits.
        checks["clock"]["message"] = f"no bytes are freed: {info.clock_reason}"
    return checks


def _keys(node: Node) -> dict[str, str]:
    ring = node.check.ring
    age = ring.age_seconds()
    if age is None:
        return {
            "status": "fail",
            "message": "no signing keys obtained yet; is SE_JWKS_URL or SE_JWKS_FILE right?",
        }
    if age > ring.max_age_seconds:
        return {"status": "fail", "message": "signing keys are older than SE_JWKS_MAX_AGE"}
    return {"status": "ok"}

"""Wire calls about the element itself: info, mode; and health and metrics beside them."""

from typing import Any

from starlette.requests import Request

from storage_node.answers import Answer, json_answer
from storage_node.api_files import require_json
from storage_node.attributes import stamp
from storage_node.body import read_json_bytes
from storage_node.call import Node, call_of
from storage_node.drafts import parse_object
from storage_node.errors import Forbidden, ValidationFailed
from storage_node.readiness import readiness
from storage_node.version import CONTRACT, SERVICE, VERSION

MODES = ("edit", "rw", "ro", "ar")
_EXPOSITION_FORMAT = b"text/plain; version=0.0.4; charset=utf-8"


class ElementCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def get_info(self, request: Request) -> Answer:
        """What anyone may know; with storage:read also room, counts and where the change feed stands."""
        node, authorization = self._node, call_of(request.scope).headers.get(b"authorization")
        members: dict[str, Any] = {
            "storage_id": node.config.storage_id,
            "instance_id": node.instance_id,
            "service": SERVICE,
            "version": VERSION,
            "contract": CONTRACT,
            **node.short_info(node.clock()),
        }
        if authorization is not None and await self._may_see_all(request, authorization):
            members |= node.store.info(node.clock()).to_wire()
        return json_answer(members)

    async def _may_see_all(self, request: Request, authorization: bytes) -> bool:
        """A bad token is refused like anywhere; a good one without the scope sees what anyone sees."""
        try:
            principal = await self._node.check.principal(
                authorization, "storage:read", self._node.clock()
            )
        except Forbidden:
            return False
        call_of(request.scope).principal = principal
        return True

    async def mode_transition(self, request: Request) -> Answer:
        """Change the mode; answered when the change is durable."""
        require_json(request)
        target, confirm = _target_mode(parse_object(await read_json_bytes(request)))
        principal = call_of(request.scope).principal
        assert principal is not None  # the route demands a scope
        change = self._node.store.transition_mode(
            target, confirm, principal.subject, self._node.clock()
        )
        changed = await self._node.bridge.wait(change)
        return json_answer(
            {
                "previous_mode": changed.previous_mode,
                "current_mode": changed.current_mode,
                "transitioned_at": stamp(changed.transitioned_at),
            }
        )

    async def live(self, _: Request) -> Answer:
        """The process answers."""
        return json_answer(self._about("ok"))

    async def ready(self, _: Request) -> Answer:
        """What works: `degraded` when only writes are impossible, `fail` when reads are."""
        status, checks = readiness(self._node)
        return json_answer(
            self._about(status) | {"checks": checks}, 503 if status == "fail" else 200
        )

    async def metrics(self, _: Request) -> Answer:
        """Prometheus exposition."""
        text = self._node.metrics.text()
        length = (b"content-length", b"%d" % len(text))
        return Answer(200, [(b"content-type", _EXPOSITION_FORMAT), length], text)

    def _about(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "timestamp": stamp(self._node.clock()),
            "version": VERSION,
            "service": SERVICE,
        }


def _target_mode(members: dict[str, Any]) -> tuple[str, bool]:
    target, confirm = members.get("target_mode"), members.get("confirm", False)
    problems = {}
    if target not in MODES:
        problems["target_mode"] = ["must be one of edit, rw, ro, ar"]
    if not isinstance(confirm, bool):
        problems["confirm"] = ["must be true or false"]
    if problems:
        raise ValidationFailed("The mode was not changed: the request is not valid.", problems)
    return str(target), bool(confirm)

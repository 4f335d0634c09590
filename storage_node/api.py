"""The HTTP door: which address and method is which wire call, and the scope it needs. Async ends here.

Handlers are in `api_files`, `api_uploads`, `api_downloads`, `api_element`,
`api_maintenance`; failures are answered in `envelope.py`.
`docs/openapi/storage-node.yaml` describes the same table, and a test compares the two.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.routing import Route, Router

from storage_node.answers import Answer
from storage_node.api_downloads import DownloadCalls
from storage_node.api_element import ElementCalls
from storage_node.api_files import FileCalls
from storage_node.api_maintenance import MaintenanceCalls
from storage_node.api_uploads import UploadCalls
from storage_node.call import Call, Node, call_of
from storage_node.errors import MethodNotAllowed, UnknownRoute

PREFIX = "/api/v1"
_FILES = PREFIX + "/files/"
_OF_A_FILE = _FILES + "{file_id}"
READ_FILES, WRITE_FILES = "files:read", "files:write"
DOWNLOAD_FILE, PUT_FILE = "download_file", "put_file"
READ_STORAGE, WRITE_STORAGE = "storage:read", "storage:write"

Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True)
class WireCall:
    """One call of the wire contract. `scope` None: anyone may, or the handler looks at the token itself."""

    name: str
    scope: str | None
    handler: Handler


class Address:
    """Everything that can be done at one address."""

    def __init__(self, node: Node, calls: dict[str, WireCall]) -> None:
        self._node = node
        self.calls = calls
        if "GET" in calls:
            self.calls = {"HEAD": calls["GET"], **calls}

    async def answer(self, scope: Any, receive: Any, call: Call) -> Answer:
        """Check the caller, then hand over to the call's handler."""
        wire_call = self.calls.get(scope["method"])
        if wire_call is None:
            allowed = sorted(self.calls)
            raise MethodNotAllowed(
                f"{scope['method'][:16]} is not possible here; {', '.join(allowed)} is.", allowed
            )
        call.route = wire_call.name
        if wire_call.scope is not None:
            authorization = call.headers.get(b"authorization")
            now = self._node.clock()
            call.principal = await self._node.check.principal(authorization, wire_call.scope, now)
        return await wire_call.handler(Request(scope, receive))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As an endpoint of the router."""
        answer = await self.answer(scope, receive, call_of(scope))
        await answer(scope, receive, send)


def addresses(node: Node) -> dict[str, dict[str, WireCall]]:
    """The table: address to method to call."""
    files, uploads, downloads = FileCalls(node), UploadCalls(node), DownloadCalls(node)
    element, maintenance = ElementCalls(node), MaintenanceCalls(node)
    download = WireCall(DOWNLOAD_FILE, READ_FILES, downloads.download_file)
    under_prefix = {
        "/files/upload": {"POST": WireCall("upload_form", WRITE_FILES, uploads.upload_form)},
        "/files/{file_id}": {
            "PUT": WireCall(PUT_FILE, WRITE_FILES, uploads.put_file),
            "GET": WireCall("get_file", READ_FILES, files.get_file),
            "PATCH": WireCall("edit_file", WRITE_FILES, files.edit_file),
            "DELETE": WireCall("delete_file", WRITE_FILES, files.delete_file),
        },
        "/files/{file_id}/download": {"GET": download},
        "/files/{file_id}/abandon": {"POST": WireCall("abandon", WRITE_FILES, files.abandon)},
        "/files": {"GET": WireCall("list_files", READ_FILES, files.list_files)},
        "/info": {"GET": WireCall("get_info", None, element.get_info)},
        "/changes": {"GET": WireCall("list_changes", READ_FILES, files.list_changes)},
        "/mode/transition": {
            "POST": WireCall("mode_transition", WRITE_STORAGE, element.mode_transition)
        },
        "/maintenance/reconcile": {
            "POST": WireCall("reconcile", WRITE_STORAGE, maintenance.reconcile),
            "GET": WireCall("get_reconcile", READ_STORAGE, maintenance.get_reconcile),
        },
        "/maintenance/collect-garbage": {
            "POST": WireCall("collect_garbage", WRITE_STORAGE, maintenance.collect_garbage)
        },
    }
    bare = {
        "/health/live": {"GET": WireCall("live", None, element.live)},
        "/health/ready": {"GET": WireCall("ready", None, element.ready)},
        "/metrics": {"GET": WireCall("metrics", None, element.metrics)},
    }
    return {PREFIX + address: calls for address, calls in under_prefix.items()} | bare


async def _unknown(_scope: Any, _receive: Any, _send: Any) -> None:
    raise UnknownRoute(
        "There is nothing at this address; docs/wire-contract.md lists what there is."
    )


class Doors(Router):
    """The table as a Starlette router that knows its few addresses by heart: trying one pattern after the other costs
    a small download more than finding its file. Addresses with a trailing slash are other addresses."""

    def __init__(self, node: Node) -> None:
        table = {address: Address(node, calls) for address, calls in addresses(node).items()}
        routes = [Route(address, endpoint) for address, endpoint in table.items()]
        super().__init__(routes, redirect_slashes=False, default=_unknown)
        self._fixed = {address: door for address, door in table.items() if "{" not in address}
        of_a_file = len(_OF_A_FILE)
        self._of_a_file = {
            address[of_a_file:]: door
            for address, door in table.items()
            if address.startswith(_OF_A_FILE)
        }

    async def answer(self, scope: Any, receive: Any, call: Call) -> Answer:
        """What the call at this address answers; raises UnknownRoute where there is none."""
        path: str = scope["path"]
        door = self._fixed.get(path)
        if door is None and path.startswith(_FILES):
            file_id, slash, rest = path[len(_FILES) :].partition("/")
            scope["path_params"] = {"file_id": file_id}
            door = self._of_a_file.get(slash + rest) if file_id else None
        if door is None:
            await _unknown(scope, receive, None)
        assert door is not None  # the line above raises
        return await door.answer(scope, receive, call)

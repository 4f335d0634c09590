"""The HTTP door: which address and method is which wire call, and the scope it needs. Async ends here.

Handlers are in `api_files`, `api_uploads`, `api_downloads`, `api_element`,
`api_maintenance`; failures are answered in `envelope.py`.
`docs/openapi/storage-node.yaml` describes the same table, and a test compares the two.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from storage_node.api_downloads import DownloadCalls
from storage_node.api_element import ElementCalls
from storage_node.api_files import FileCalls
from storage_node.api_maintenance import MaintenanceCalls
from storage_node.api_uploads import UploadCalls
from storage_node.call import Node, call_of
from storage_node.errors import MethodNotAllowed, UnknownRoute

PREFIX = "/api/v1"
READ_FILES, WRITE_FILES = "files:read", "files:write"
READ_STORAGE, WRITE_STORAGE = "storage:read", "storage:write"

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class WireCall:
    """One call of the wire contract. `scope` None: anyone may, or the handler looks at the token itself."""

    name: str
    scope: str | None
    handler: Handler


class Address:
    """Everything that can be done at one address; an ASGI app, so that no adapter stands in between."""

    def __init__(self, node: Node, calls: dict[str, WireCall]) -> None:
        self._node = node
        self.calls = calls
        if "GET" in calls:
            self.calls = {"HEAD": calls["GET"], **calls}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        wire_call = self.calls.get(scope["method"])
        if wire_call is None:
            allowed = sorted(self.calls)
            raise MethodNotAllowed(
                f"{scope['method'][:16]} is not possible here; {', '.join(allowed)} is.", allowed
            )
        call = call_of(scope)
        call.route = wire_call.name
        request = Request(scope, receive)
        if wire_call.scope is not None:
            authorization = request.headers.get("authorization")
            call.principal = await self._node.check.principal(
                authorization, wire_call.scope, self._node.clock()
            )
        response = await wire_call.handler(request)
        await response(scope, receive, send)


def addresses(node: Node) -> dict[str, dict[str, WireCall]]:
    """The table: address to method to call."""
    files, uploads, downloads = FileCalls(node), UploadCalls(node), DownloadCalls(node)
    element, maintenance = ElementCalls(node), MaintenanceCalls(node)
    download = WireCall("download_file", READ_FILES, downloads.download_file)
    under_prefix = {
        "/info": {"GET": WireCall("get_info", None, element.get_info)},
        "/files": {"GET": WireCall("list_files", READ_FILES, files.list_files)},
        "/files/upload": {"POST": WireCall("upload_form", WRITE_FILES, uploads.upload_form)},
        "/files/{file_id}": {
            "PUT": WireCall("put_file", WRITE_FILES, uploads.put_file),
            "GET": WireCall("get_file", READ_FILES, files.get_file),
            "PATCH": WireCall("edit_file", WRITE_FILES, files.edit_file),
            "DELETE": WireCall("delete_file", WRITE_FILES, files.delete_file),
        },
        "/files/{file_id}/abandon": {"POST": WireCall("abandon", WRITE_FILES, files.abandon)},
        "/files/{file_id}/download": {"GET": download},
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


def router(node: Node) -> Router:
    """The table as a router. Addresses with a trailing slash are other addresses."""
    routes = [Route(address, Address(node, calls)) for address, calls in addresses(node).items()]
    return Router(routes, redirect_slashes=False, default=_unknown)

"""Wire calls that start the node's own housekeeping: reconcile and garbage collection."""

import asyncio

from starlette.requests import Request

from storage_node import garbage, reconcile
from storage_node.answers import Answer, json_answer
from storage_node.call import Node
from storage_node.queries import Query


class MaintenanceCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def reconcile(self, request: Request) -> Answer:
        """Start a reconcile, or with `?wait=true` run one and give its report."""
        wait = _flag(request, "wait")
        run = reconcile.begin(self._node.store, self._node.clock(), "request")
        finishing = asyncio.get_running_loop().run_in_executor(
            self._node.housekeeping, run.finish, self._node.clock, self._node.stopping.wait
        )
        if not wait:
            return json_answer(run.report(), 202)
        return json_answer(await finishing)

    async def get_reconcile(self, _: Request) -> Answer:
        """The last run, or the one under way."""
        return json_answer(reconcile.last_report(self._node.store))

    async def collect_garbage(self, request: Request) -> Answer:
        """Free what expired or was deleted; with `?dry_run=true` only say what would be."""
        dry_run = _flag(request, "dry_run")
        report = await asyncio.get_running_loop().run_in_executor(
            self._node.housekeeping, garbage.collect, self._node.store, self._node.clock(), dry_run
        )
        return json_answer(report.to_wire())


def _flag(request: Request, name: str) -> bool:
    query = Query(request.query_params, "The call was refused: a parameter is out of range.")
    flag = query.flag(name)
    query.finish()
    return flag

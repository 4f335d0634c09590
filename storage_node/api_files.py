"""Wire calls about files that move no file bytes: get, edit, delete, abandon, list, changes.

One short handler each: read the request, call the engine, write the answer. Routes are in `api.py`.
"""

import json
import re
from uuid import UUID

from starlette.requests import Request

from storage_node import drafts
from storage_node.answers import (
    Answer,
    file_answer,
    nothing,
    raw_json_answer,
    verified_file_answer,
)
from storage_node.body import read_json_bytes
from storage_node.call import CALL_KEY, Node, call_of
from storage_node.errors import FileHere, UnsupportedMediaType, ValidationFailed
from storage_node.index_reading import ListQuery
from storage_node.queries import Query, whole_number

MAX_PAGE = 1000
MAX_OFFSET = 10_000
STATUSES = ("active", "expired", "deleted", "damaged")
_REVISION = re.compile(r'"([0-9]{1,18})"')


class FileCalls:
    """Handlers over one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def get_file(self, request: Request) -> Answer:
        """Attributes, and when the bytes were last seen to agree with them."""
        stored = self._node.store.get(file_id_of(request), self._node.clock())
        return verified_file_answer(stored.attributes, stored.verified_at)

    async def edit_file(self, request: Request) -> Answer:
        """Replace description, tags or metadata; answered when the change is durable."""
        file_id, revision = file_id_of(request), _if_match(request)
        require_json(request)
        patch = drafts.from_patch(await read_json_bytes(request))
        change = self._node.store.edit(file_id, patch, revision, self._node.clock())
        return file_answer(await self._node.bridge.wait(change))

    async def delete_file(self, request: Request) -> Answer:
        """Mark deleted; garbage collection frees the bytes later."""
        change = self._node.store.delete(
            file_id_of(request), _if_match(request), self._node.clock()
        )
        return file_answer(await self._node.bridge.wait(change))

    async def abandon(self, request: Request) -> Answer:
        """Give an id up for good, unless its file is here."""
        file_id = file_id_of(request)
        present = await self._node.bridge.wait(
            self._node.store.abandon(file_id, self._node.clock())
        )
        if present is not None:
            raise FileHere(
                "The id was not given up: its file is here. Adopt it.", present.to_wire()
            )
        return nothing()

    async def list_files(self, request: Request) -> Answer:
        """One page of files in a fixed order."""
        query = Query(request.query_params, "The list was refused: a parameter is out of range.")
        wanted = ListQuery(
            limit=query.number("limit", 100, whole_number(1, MAX_PAGE)),
            offset=query.number("offset", 0, whole_number(0, MAX_OFFSET)),
            cursor=query.text("cursor"),
            status=query.one_of("status", STATUSES),
        )
        query.finish()
        page = self._node.store.list_page(wanted, self._node.clock())
        tail = {
            "total": page.total,
            "limit": page.limit,
            "offset": page.offset,
            "has_more": page.has_more,
            "next_cursor": page.next_cursor,
        }
        return raw_json_answer(f'{{"items": [{", ".join(page.items)}], {json.dumps(tail)[1:]}')

    async def list_changes(self, request: Request) -> Answer:
        """What changed after a change number, in order; everything after 0."""
        query = Query(
            request.query_params, "The changes were refused: a parameter is out of range."
        )
        since = query.number("since", 0, whole_number(0, 2**63 - 1))
        limit = query.number("limit", MAX_PAGE, whole_number(1, MAX_PAGE))
        epoch = query.text("epoch")
        if since and epoch is None:
            query.refuse("epoch", "is required with a since above 0")
        query.finish()
        page = self._node.store.changes(epoch, since, limit)
        items = ", ".join(
            f'{{"change": {item.change}, "{item.kind}": {item.body}}}' for item in page.items
        )
        head = {
            "storage_id": self._node.config.storage_id,
            "instance_id": self._node.instance_id,
            "epoch": page.epoch,
            "next_since": page.next_since,
            "has_more": page.has_more,
            "totals": page.totals,
        }
        return raw_json_answer(f'{json.dumps(head)[:-1]}, "items": [{items}]}}')


def file_id_of(request: Request) -> UUID:
    """The id in the address; the log line has it from here on."""
    text = request.scope["path_params"]["file_id"].lower()
    file_id = drafts.parse_file_id(text)
    request.scope[CALL_KEY].file_id = text
    return file_id


def _if_match(request: Request) -> int | None:
    """The revision that `If-Match` names; None when there is no condition."""
    header = call_of(request.scope).header(b"if-match")
    if header is None or header.strip() == "*":
        return None
    match = _REVISION.fullmatch(header.strip())
    if match is None:
        raise ValidationFailed(
            "The change was refused: If-Match can not be read.",
            {"If-Match": ['must be one "<revision>"']},
        )
    return int(match[1])


def require_json(request: Request) -> None:
    """A body that claims to be anything but JSON is not read."""
    kind = (call_of(request.scope).header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType("The request was refused: send its body as application/json.")

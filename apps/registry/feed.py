"""Reads an element's change feed page by page, checks each item by itself, and stays one page ahead
of whoever applies them. Writes nothing.
"""

import gc
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from apps.registry import answers, listed
from apps.registry.answers import Answer
from apps.registry.attributes import AttributesInvalid, Tombstone, file_id_of, parse_tombstone
from apps.registry.errors import NodeFailure
from apps.registry.node_client import NodeClient
from artstore import database

PAGE_ITEMS = 1000
# So many are given on as one: applying one costs some 20 ms whatever it holds, in a dozen answers of PostgreSQL,
# after each of which the thread that reads ahead has to be asked for the interpreter. But nobody waits for
# them longer than this, for the lease is renewed page by page.
GATHERED_PAGES = 8
GATHERED_SECONDS = 2.0
# Files with the longest texts fill an answer of tens of megabytes, and there are four pages in memory.
GATHERED_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that cannot become a record. Without an id it cannot even be counted as seen."""

    file_id: uuid.UUID | None
    reason: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What the element counts: everything it lists, and its active files in three ways."""

    listed_files: int
    active: tuple[int, int, int]


@dataclass(slots=True)
class Page:
    """One page of the feed. `totals` come with the last one."""

    epoch: str
    next_since: int
    has_more: bool
    totals: Totals | None
    # Rows by their ids, as `listed` writes both.
    files: dict[str, str] = field(default_factory=dict)
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    items: int = 0
    size_bytes: int = 0
    # As COPY takes it, once somebody has written it out: all of it, or its files as new records.
    lines: bytes = b""
    records: bytes = b""


def pages(
    client: NodeClient, since: int, epoch: str, prepare: Callable[[Page], None] | None = None
) -> Iterator[Page]:
    """Every page from `since` to the end of the feed; the next one is fetched, and prepared, meanwhile."""

    def coming_after(since: int, epoch: str) -> Page:
        page = _fetch(client, since, epoch)
        if prepare is not None:
            prepare(page)
        return page

    with ThreadPoolExecutor(1, "feed") as ahead:
        coming: Future[Page] | None = ahead.submit(coming_after, since, epoch)
        while coming is not None:
            page = coming.result()
            coming = (
                ahead.submit(coming_after, page.next_since, page.epoch) if page.has_more else None
            )
            yield page


def _fetch(client: NodeClient, since: int, epoch: str) -> Page:
    """The page after `since`, and those behind it that come soon."""
    enough = time.monotonic() + GATHERED_SECONDS
    collecting = gc.isenabled()
    # A page makes objects by the ten thousand and no cycle among them. To look for one each time, through all that
    # the process holds, takes a fifth of the time a page takes.
    gc.disable()
    try:
        page = read_page(client.list_changes(since, epoch, PAGE_ITEMS), since)
        for _more in range(GATHERED_PAGES - 1):
            late = time.monotonic() > enough or page.size_bytes > GATHERED_BYTES
            if late or not page.has_more:
                break
            following = _following(client, page)
            if following is None or following.epoch != page.epoch:
                break
            _join(page, following)
        return page
    finally:
        if collecting:
            gc.enable()
        # Making the token may have opened a connection for this thread.
        database.release()


def answered(client: NodeClient, epoch: str) -> Iterator[tuple[Answer, Page]]:
    """The whole feed, an answer at a time, for whoever needs more of it than rows."""
    since, has_more = 0, True
    while has_more:
        answer = client.list_changes(since, epoch, PAGE_ITEMS)
        page = read_page(answer, since)
        yield answer, page
        since, has_more = page.next_since, page.has_more


def _following(client: NodeClient, page: Page) -> Page | None:
    """None when it cannot be had: what there is is given on, and asking for the rest says why."""
    try:
        answer = client.list_changes(page.next_since, page.epoch, PAGE_ITEMS)
        return read_page(answer, page.next_since)
    except NodeFailure:
        return None


def _join(page: Page, later: Page) -> None:
    """What is said later of a file counts."""
    for file_id in later.tombstones:
        page.files.pop(file_id, None)
    for file_id in later.files:
        page.tombstones.pop(file_id, None)
    page.files |= later.files
    page.tombstones |= later.tombstones
    page.rejected += later.rejected
    page.items += later.items
    page.size_bytes += later.size_bytes
    page.next_since, page.has_more, page.totals = later.next_since, later.has_more, later.totals


def read_page(answer: Answer, since: int) -> Page:
    """The page as values; raises when the page as a whole makes no sense."""
    body = answer.body
    items, next_since, has_more = body.get("items"), body.get("next_since"), body.get("has_more")
    if not isinstance(items, list) or type(next_since) is not int or type(has_more) is not bool:
        raise answers.invalid("is no page of changes")
    if has_more and next_since <= since:
        raise answers.invalid("is a page of changes that leads nowhere")
    if body.get("epoch") != answer.identity.epoch or not answer.identity.epoch:
        raise answers.invalid("names two epochs")
    totals = None if has_more else _totals(body.get("totals"))
    page = Page(answer.identity.epoch, next_since, has_more, totals, items=len(items))
    page.size_bytes = answer.size_bytes
    for item in items:
        _sort_in(page, item)
    return page


def _sort_in(page: Page, item: Any) -> None:
    """Put one item where it belongs. A later one about the same file replaces an earlier one."""
    content = item if isinstance(item, dict) else {}
    try:
        if "tombstone" in content:
            tombstone = parse_tombstone(content["tombstone"])
            file_id = str(tombstone.file_id)
            page.files.pop(file_id, None)
            page.tombstones[file_id] = tombstone
        else:
            row = listed.read(content.get("file"))
            file_id = listed.id_of(row)
            page.tombstones.pop(file_id, None)
            page.files[file_id] = row
    except AttributesInvalid as failure:
        found = _id_of(content.get("file", content.get("tombstone")))
        page.rejected.append(Rejected(found, str(failure)))


def _id_of(item: Any) -> uuid.UUID | None:
    try:
        return file_id_of(item) if isinstance(item, dict) else None
    except AttributesInvalid:
        return None


def _totals(body: Any) -> Totals:
    try:
        listed = sum(int(counts["files"]) for counts in body.values())
        active = body["active"]
        return Totals(
            listed, (int(active["files"]), int(active["bytes"]), int(active["revisions"]))
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as failure:
        raise answers.invalid("is a last page of changes without totals") from failure

"""From a search query to the files it is about: every mode and filter as a condition in SQL.

Each kind of condition has an index made for it; `NAME_WORDS` and `EXTENSION` are written exactly as
the indexes in this app's migrations are, or PostgreSQL would not use them. No order, no paging.
Written out, because making the same of Django's expressions takes longer than most searches.
"""

import datetime as dt

from psycopg.types.json import Jsonb

from apps.query import text
from apps.query.asking import SearchMode, SearchQuery, SortBy
from apps.query.sql import Sql, joined
from apps.registry.models import FileStatus
from apps.registry.search_text import SEARCH_CONFIG, name_key

# Each run of letters and digits is a word here, stop words and all, with no ending cut off.
NAME_WORDS = (
    "to_tsvector('pg_catalog.simple'::regconfig,"
    " regexp_replace(name_key, '[^[:alnum:]]+', ' ', 'g'))"
)
# What stands behind the last dot; nothing where there is no dot.
EXTENSION = "NULLIF(SPLIT_PART(name_key, '.', -1), name_key)"
# Not an equation: most of the files that a planner sees before this one pass it too.
_WITHIN = "STRPOS({}, %s) <> 0"


def matches(query: SearchQuery, now: dt.datetime) -> Sql:
    """All files that `query` is about, in no order."""
    return _narrowed(_having_status(query.status, now), query)


def alternatives(query: SearchQuery, now: dt.datetime) -> list[Sql]:
    """`matches` in parts of one status column each, so that each can be read in order.

    Expired are those whose record says so and those past their time: no index has both in order.
    """
    if query.status != FileStatus.EXPIRED:
        return [matches(query, now)]
    return [_narrowed(part, query) for part in (_said(query.status), _overdue(now))]


def _said(status: str) -> Sql:
    return Sql("status = %s", (str(status),))


def _overdue(now: dt.datetime) -> Sql:
    """As `registry.models.overdue`: called active by its record, and past its time."""
    return Sql("status = %s AND expires_at <= %s", (FileStatus.ACTIVE.value, now))


def _having_status(status: str, now: dt.datetime) -> Sql:
    """As `FileRecord.status_at` tells it, which the column may not say yet."""
    if status == FileStatus.ACTIVE:
        lasting = Sql("(expires_at IS NULL OR expires_at > %s)", (now,))
        return joined(" AND ", [_said(status), lasting])
    if status == FileStatus.EXPIRED:
        return joined(" OR ", [_said(status), _overdue(now).wrapped("(", ")")]).wrapped("(", ")")
    return _said(status)


def _narrowed(found: Sql, query: SearchQuery) -> Sql:
    conditions = [found, *_plain_conditions(query)]
    if query.filename:
        conditions.append(_containing(query.filename))
    if query.file_extension:
        conditions.append(_with_extension(query.file_extension))
    if query.query:
        conditions.append(_asked(query))
    return joined(" AND ", conditions)


def match_in_order(query: SearchQuery) -> bool:
    """Whether one index has all that is asked for, in the order asked for."""
    sizes = (query.min_size, query.max_size)
    if query.query or query.filename or query.tags or query.metadata or query.checksum:
        return False
    by_time = (
        query.uploaded_by,
        query.retention_policy,
        query.content_type,
        query.file_extension,
        query.element_id,
    )
    given = sum(bool(value) for value in by_time)
    if query.sort is SortBy.UPLOADED_AT:
        return given <= 1 and sizes == (None, None)
    times = (query.uploaded_after, query.uploaded_before)
    others = times if query.sort is SortBy.SIZE else (*times, *sizes)
    return given == 0 and all(value is None for value in others)


def tsquery(query: SearchQuery) -> Sql:
    """The query as PostgreSQL's text search reads it; constant, so that plans know its words."""
    groups = text.web_terms(query.query)
    if not groups:
        return Sql("''::tsquery")
    return _either([joined(" && ", [_any_way(term) for term in group]) for group in groups])


def _either(ways: list[Sql]) -> Sql:
    return joined(" || ", [way.wrapped("(", ")") for way in ways]).wrapped("(", ")")


def _any_way(term: text.Term) -> Sql:
    phrase = f"phraseto_tsquery('{SEARCH_CONFIG}'::regconfig, %s)"
    ways = _either([Sql(phrase, (words,)) for words in term.phrases])
    # Forbidden is whatever stands there in any way.
    return ways.wrapped("!!", "") if term.negated else ways


def _plain_conditions(query: SearchQuery) -> list[Sql]:
    """Filters that are one comparison each; the dear ones last, for rows are tried in this order."""
    wanted = {
        "uploaded_by = %s": query.uploaded_by or None,
        "retention_policy = %s": query.retention_policy or None,
        "content_type = %s": query.content_type or None,
        "size >= %s": query.min_size,
        "size <= %s": query.max_size,
        "uploaded_at >= %s": query.uploaded_after,
        "uploaded_at <= %s": query.uploaded_before,
        "checksum = %s": query.checksum.lower() or None,
        "storage_element_id = %s": query.element_id,
        "tags @> %s::varchar(64)[]": list(query.tags) or None,
        "metadata @> %s": Jsonb(dict(query.metadata)) if query.metadata else None,
    }
    return [Sql(condition, (value,)) for condition, value in wanted.items() if value is not None]


def _with_extension(extension: str) -> Sql:
    """The index knows the last part; `tar.gz` narrows it further."""
    key = name_key(extension.lstrip("."))
    last = Sql(f"{EXTENSION} = %s", (key.rpartition(".")[2],))
    if "." not in key:
        return last
    ending = f".{key}"
    tail = Sql(_WITHIN.format("RIGHT(name_key, %s)"), (len(ending), ending))
    return joined(" AND ", [last, tail])


def _asked(query: SearchQuery) -> Sql:
    if query.mode is SearchMode.FULLTEXT:
        return tsquery(query).wrapped("search_vector @@ ", "")
    if query.mode is SearchMode.EXACT:
        return Sql("name_key = %s", (name_key(query.query),))
    return _containing(query.query)


def _containing(part: str) -> Sql:
    key = name_key(part)
    if len(key) > text.SHORT_CHARACTERS:
        return Sql("name_key LIKE %s", (f"%{text.as_like(key)}%",))
    word = text.leading_word(key)
    if not word:
        return Sql("FALSE")
    starts = f"{NAME_WORDS} @@ to_tsquery('pg_catalog.simple'::regconfig, %s)"
    # Where rows are read in order, most of them need not be cut into words.
    found = [Sql(_WITHIN.format("name_key"), (key,)), Sql(starts, (f"{word}:*",))]
    if word != key:
        found.append(Sql("name_key ~ %s", (text.word_start_pattern(key),)))
    return joined(" AND ", found)

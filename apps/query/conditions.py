"""From a search query to the files it is about: every mode and filter as a condition.

Each kind of condition has an index made for it; `NAME_WORDS` and `EXTENSION` are written exactly as
the indexes in this app's migrations are, or PostgreSQL would not use them. No order, no paging.
"""

import datetime as dt
import operator
from collections.abc import Callable

from django.contrib.postgres.search import CombinedSearchQuery, SearchVectorField
from django.contrib.postgres.search import SearchQuery as TsQuery
from django.db.models import F, Func, Q

from apps.query import text
from apps.query.asking import SearchMode, SearchQuery, SortBy
from apps.registry.models import FileRecord, FileRecordQuerySet, FileStatus, overdue
from apps.registry.search_text import SEARCH_CONFIG, name_key

Ask = CombinedSearchQuery | TsQuery
Join = Callable[[Ask, Ask], Ask]

# Each run of letters and digits is a word here, stop words and all, with no ending cut off.
NAME_WORDS = Func(
    F("name_key"),
    template=(
        "to_tsvector('pg_catalog.simple'::regconfig,"
        " regexp_replace(%(expressions)s, '[^[:alnum:]]+', ' ', 'g'))"
    ),
    output_field=SearchVectorField(),
)
# What stands behind the last dot; nothing where there is no dot.
EXTENSION = Func(
    F("name_key"), template="NULLIF(SPLIT_PART(%(expressions)s, '.', -1), %(expressions)s)"
)


def matches(query: SearchQuery, now: dt.datetime) -> FileRecordQuerySet:
    """All files that `query` is about, in no order."""
    return _narrowed(FileRecord.objects.having_status(query.status, now), query)


def alternatives(query: SearchQuery, now: dt.datetime) -> list[FileRecordQuerySet]:
    """`matches` in parts of one status column each, so that each can be read in order.

    Expired are those whose record says so and those past their time: no index has both in order.
    """
    if query.status != FileStatus.EXPIRED:
        return [matches(query, now)]
    said = FileRecord.objects.filter(status=FileStatus.EXPIRED)
    return [_narrowed(part, query) for part in (said, FileRecord.objects.filter(overdue(now)))]


def _narrowed(found: FileRecordQuerySet, query: SearchQuery) -> FileRecordQuerySet:
    found = found.filter(*_plain_conditions(query))
    if query.filename:
        found = _containing(found, query.filename)
    if query.file_extension:
        found = _with_extension(found, query.file_extension)
    return _asked(found, query)


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


def tsquery(query: SearchQuery) -> Ask:
    """The query as PostgreSQL's text search reads it; constant, so that plans know its words."""
    groups = text.web_terms(query.query)
    if not groups:
        return TsQuery("", config=SEARCH_CONFIG)
    return _joined(operator.or_, [_all_of(group) for group in groups])


def _all_of(terms: list[text.Term]) -> Ask:
    return _joined(operator.and_, [_any_way(term) for term in terms])


def _joined(join: Join, parts: list[Ask]) -> Ask:
    """Two halves at a time: a chain of hundreds of words would be nested too deep to be compiled."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return join(_joined(join, parts[:middle]), _joined(join, parts[middle:]))


def _any_way(term: text.Term) -> Ask:
    ways: list[Ask] = [
        TsQuery(phrase, config=SEARCH_CONFIG, search_type="phrase", invert=term.negated)
        for phrase in term.phrases
    ]
    # Forbidden is whatever stands there in any way: not this and not that.
    return _joined(operator.and_ if term.negated else operator.or_, ways)


def _plain_conditions(query: SearchQuery) -> list[Q]:
    """Filters that are one comparison each."""
    wanted = {
        "tags__contains": list(query.tags) or None,
        "metadata__contains": query.metadata or None,
        "uploaded_by": query.uploaded_by or None,
        "retention_policy": query.retention_policy or None,
        "size__gte": query.min_size,
        "size__lte": query.max_size,
        "uploaded_at__gte": query.uploaded_after,
        "uploaded_at__lte": query.uploaded_before,
        "content_type": query.content_type or None,
        "checksum": query.checksum.lower() or None,
        "storage_element_id": query.element_id,
    }
    return [Q(**{name: value}) for name, value in wanted.items() if value is not None]


def _with_extension(found: FileRecordQuerySet, extension: str) -> FileRecordQuerySet:
    """The index knows the last part; `tar.gz` narrows it further."""
    key = name_key(extension.lstrip("."))
    found = found.alias(extension=EXTENSION)
    found = found.filter(Q(extension=key.rpartition(".")[2]))
    return found.filter(Q(name_key__endswith=f".{key}")) if "." in key else found


def _asked(found: FileRecordQuerySet, query: SearchQuery) -> FileRecordQuerySet:
    if not query.query:
        return found
    if query.mode is SearchMode.FULLTEXT:
        return found.filter(search_vector=tsquery(query))
    if query.mode is SearchMode.EXACT:
        return found.filter(name_key=name_key(query.query))
    return _containing(found, query.query)


def _containing(found: FileRecordQuerySet, part: str) -> FileRecordQuerySet:
    key = name_key(part)
    if len(key) > text.SHORT_CHARACTERS:
        # The lookup escapes the wildcards of LIKE.
        return found.filter(Q(name_key__contains=key))
    word = text.leading_word(key)
    if not word:
        return found.none()
    starts = TsQuery(f"{word}:*", config="pg_catalog.simple", search_type="raw")
    found = found.alias(name_words=NAME_WORDS).filter(Q(name_words=starts))
    return found if word == key else found.filter(Q(name_key__regex=text.word_start_pattern(key)))

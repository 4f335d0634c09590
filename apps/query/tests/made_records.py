"""Many records at once, made inside PostgreSQL: English, Russian and mixed names of every kind.

Shared by the tests of plans and by the benches. Deterministic for a given count and elements.
One in twenty is deleted, one expired, and one in fifty past its time though its record says active.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db import connection

WORDS = [
    "annual",
    "report",
    "budget",
    "turbine",
    "valve",
    "drawing",
    "model",
    "dataset",
    "measurement",
    "invoice",
    "contract",
    "draft",
    "release",
    "notes",
    "sensor",
    "alpha",
    "beta",
    "gamma",
    "north",
    "south",
    "pump",
    "motor",
    "bearing",
    "weights",
    "checkpoint",
    "photo",
    "scan",
    "letter",
    "minutes",
    "protocol",
    "manual",
]
RUSSIAN_WORDS = [
    "отчёт",
    "годовой",
    "бюджет",
    "турбина",
    "клапан",
    "чертёж",
    "модель",
    "данные",
    "измерение",
    "счёт",
    "договор",
    "черновик",
    "выпуск",
    "заметки",
    "датчик",
    "север",
    "юг",
    "насос",
    "двигатель",
    "подшипник",
    "веса",
    "снимок",
    "письмо",
    "протокол",
    "руководство",
    "приказ",
    "смета",
    "акт",
    "ведомость",
    "справка",
]
EXTENSIONS = [
    "pdf",
    "docx",
    "xlsx",
    "csv",
    "png",
    "jpg",
    "tar.gz",
    "zip",
    "step",
    "bin",
    "h5",
    "parquet",
    "txt",
    "log",
    "json",
]

_INSERT = """
INSERT INTO registry_filerecord (
    file_id, storage_element_id, original_filename, content_type, size, checksum, uploaded_by,
    uploaded_at, updated_at, description, tags, metadata, status, retention_policy, ttl_days,
    expires_at, stored_revision, deletion_reason, body_sent)
SELECT
    md5(n::text)::uuid, (%(elements)s::uuid[])[
        1 + CASE WHEN n %% 10 < 6 THEN 0 ELSE n / 10 %% greatest(1, %(element_count)s) END],
    CASE n %% 4
        WHEN 0 THEN initcap(w1) || '_' || w2 || '-' || (2000 + n %% 27) || '.' || ext
        WHEN 1 THEN r1 || ' ' || r2 || ' ' || n || '.' || ext
        WHEN 2 THEN r1 || '_' || w1 || '_v' || (n %% 9) || '.' || upper(ext)
        ELSE initcap(w1) || initcap(w2) || 'AB-' || (n %% 10000) || '_' || (n %% 7) || '.' || ext
    END,
    CASE n %% 3 WHEN 0 THEN 'application/pdf' WHEN 1 THEN 'image/png'
        ELSE 'application/octet-stream' END,
    (n * 7919::bigint) %% 1000000007, encode(sha256(n::text::bytea), 'hex'),
    'sa_' || (CASE WHEN n %% 10 < 8 THEN n %% 5 ELSE n %% 2000 END),
    timestamptz '2026-11-01 00:00:00Z' - n * interval '7 seconds',
    timestamptz '2026-11-01 00:00:00Z' - n * interval '7 seconds',
    CASE n %% 3 WHEN 0 THEN NULL WHEN 1 THEN w2 || ' of the ' || w3 || ', part ' || n
        ELSE r2 || ' для ' || r3 || ' № ' || n END,
    CASE n %% 5 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY[w3, 'common'] WHEN 2 THEN ARRAY[r3]
        WHEN 3 THEN ARRAY['common', 'batch-' || (n / 1000)] ELSE ARRAY[w1, r1, 'AB-' || n] END,
    CASE n %% 2 WHEN 0 THEN '{}'::jsonb ELSE jsonb_build_object(
        'project', 'p' || (n %% 500), 'run', n, 'nested', jsonb_build_object('ok', n %% 4 = 1)) END,
    CASE WHEN n %% 20 = 0 THEN 'deleted' WHEN n %% 20 = 1 THEN 'expired' ELSE 'active' END,
    CASE WHEN n %% 100 = 7 THEN 'permanent' ELSE 'temporary' END, 30,
    CASE WHEN n %% 100 = 7 THEN NULL WHEN n %% 50 = 3 THEN timestamptz '2026-11-02 00:00:00Z'
        ELSE timestamptz '2028-01-01 00:00:00Z' END, 1, '', false
FROM (
    SELECT n,
        (%(words)s::text[])[1 + (n * 7) %% %(word_count)s] AS w1,
        (%(words)s::text[])[1 + (n / 3) %% %(word_count)s] AS w2,
        (%(words)s::text[])[1 + (n / 11) %% %(word_count)s] AS w3,
        (%(russian)s::text[])[1 + (n * 5) %% %(russian_count)s] AS r1,
        (%(russian)s::text[])[1 + (n / 7) %% %(russian_count)s] AS r2,
        (%(russian)s::text[])[1 + (n / 13) %% %(russian_count)s] AS r3,
        (%(extensions)s::text[])[1 + n %% %(extension_count)s] AS ext
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
) AS made
"""


def recipe() -> str:
    """All that decides what the records are; who keeps them makes them anew when it changes."""
    return repr((_INSERT, WORDS, RUSSIAN_WORDS, EXTENSIONS))


def make_records(count: int, elements: Sequence[uuid.UUID] = ()) -> None:
    """Insert `count` records, most on the first of `elements`, and let the planner know them.

    The indexes of search are built afterwards: that takes a third of keeping them up row by row.
    """
    with connection.cursor() as cursor:
        built = _drop_search_indexes(cursor)
        for first in range(1, count + 1, 100_000):
            values: dict[str, Any] = {
                "words": WORDS,
                "word_count": len(WORDS),
                "russian": RUSSIAN_WORDS,
                "russian_count": len(RUSSIAN_WORDS),
                "extensions": EXTENSIONS,
                "extension_count": len(EXTENSIONS),
                "first": first,
                "last": min(first + 99_999, count),
                "elements": list(elements),
                "element_count": len(elements),
            }
            cursor.execute(_INSERT, values)
        # A table cannot get an index while checks of its rows are put off.
        cursor.execute("set constraints all immediate")
        for definition in built:
            cursor.execute(definition)
        cursor.execute("ANALYZE registry_filerecord")


def _drop_search_indexes(cursor: Any) -> list[str]:
    """What has to be executed to have them again, statistics targets included."""
    cursor.execute(
        "select indexname, indexdef, attstattarget from pg_indexes join pg_attribute"
        " on attrelid = indexname::regclass and attnum = 1"
        " where tablename = 'registry_filerecord' and indexname like 'query_%'"
    )
    again = []
    for name, definition, target in cursor.fetchall():
        cursor.execute(f'drop index "{name}"')
        again.append(definition)
        if target is not None and target >= 0:
            again.append(f'alter index "{name}" alter column 1 set statistics {target}')
    return again

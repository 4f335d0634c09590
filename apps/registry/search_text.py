"""How text is written for searches: what `FileRecord` generates of it, and the same in Python."""

import unicodedata

from django.db.models import F, Func

# The text search configuration of the vector; a query has to name the same.
SEARCH_CONFIG = "pg_catalog.russian"

# What names are compared, ordered and looked through by: composed and lower case. It is stored, since an
# index or a condition would make it anew for each row. Only ASCII is composed without a look.
NAME_KEY = Func(
    F("original_filename"),
    template=(
        "LOWER(CASE WHEN OCTET_LENGTH(%(expressions)s) = LENGTH(%(expressions)s)"
        " THEN %(expressions)s ELSE NORMALIZE(%(expressions)s, NFC) END)"
    ),
)
SEARCH_VECTOR = Func(
    F("original_filename"),
    F("tags"),
    F("description"),
    F("metadata"),
    function="artstore_search_vector",
)

_AS_TYPED = str.maketrans("ёЁ", "еЕ")


def as_indexed(text: str) -> str:
    """`text` in the form the vector holds: composed, and with one letter for е and ё."""
    return unicodedata.normalize("NFC", text).translate(_AS_TYPED)


def name_key(text: str) -> str:
    """`text` in the form of `FileRecord.name_key`."""
    return unicodedata.normalize("NFC", text).lower()

"""How text is written before it meets `FileRecord.search_vector`. Mirrors its SQL function."""

import unicodedata

# The text search configuration of the vector; a query has to name the same.
SEARCH_CONFIG = "pg_catalog.russian"

_AS_TYPED = str.maketrans("ёЁ", "еЕ")


def as_indexed(text: str) -> str:
    """`text` in the form the vector holds: composed, and with one letter for е and ё."""
    return unicodedata.normalize("NFC", text).translate(_AS_TYPED)

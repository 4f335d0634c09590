"""Where console sessions are kept: rows under a keyed digest of what the cookie says.

So whoever reads the table, or a dump of it, has no cookie to come in with. Ending a person's
sessions is `sessions.py`.
"""

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.utils import timezone

from apps.admin.digests import keyed

# The column is Django's and holds forty characters: 160 bits of the digest.
_ROW_KEY_CHARACTERS = 40


class SessionStore(DatabaseStore):
    """Django's database sessions, found by digest."""

    def exists(self, session_key: str) -> bool:
        return super().exists(_row_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = _row_key(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        wanted = session_key or self.session_key
        if wanted is not None:
            super().delete(_row_key(wanted))

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        if self.session_key is None:
            return None
        found = self.model.objects.filter(
            session_key=_row_key(self.session_key), expire_date__gt=timezone.now()
        ).first()
        if found is None:
            # What Django does with a key it does not know: the next save makes a new one.
            self._session_key = None
        return found


def forget_expired() -> None:
    """Drop the rows of sessions that have run out."""
    SessionStore.clear_expired()


def _row_key(session_key: str) -> str:
    return keyed("console_session", session_key)[:_ROW_KEY_CHARACTERS]

"""The principal: whoever a token or a session speaks for. How one is found is `authentication.py`."""

import uuid
from dataclasses import dataclass

from apps.admin.models import User


@dataclass(frozen=True)
class Principal:
    """A user or a service account, as one request sees it.

    `subject` is what files and audit events record: the username or the client_id. A user has a
    role and no scopes, a service account scopes and no role. `session_id` names the login a
    user's token came from.
    """

    kind: str
    subject: str
    id: uuid.UUID
    role: str | None = None
    scopes: frozenset[str] = frozenset()
    session_id: uuid.UUID | None = None

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def is_user(self) -> bool:
        return self.kind == "user"


def of_user(user: User, session_id: uuid.UUID | None = None) -> Principal:
    return Principal("user", user.username, user.id, role=user.role, session_id=session_id)

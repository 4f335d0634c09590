"""What an element itself says of one file: when it last read every byte and found them right."""

import datetime as dt
import uuid

from apps.admin.principals import Principal
from apps.registry import credentials, editing
from apps.registry.credentials import Caller


def last_verified(file_id: uuid.UUID, principal: Principal) -> dt.datetime | None:
    """When the element last checked the file's bytes; None when it never has, or cannot say."""
    element = editing.get(file_id).storage_element
    if element is None:
        return None
    caller = Caller(principal.subject, "admin", ("files:read",))
    answer = credentials.client(element, caller).get_file_raw(file_id)
    said = answer.body.get("verified_at")
    return dt.datetime.fromisoformat(said) if isinstance(said, str) else None

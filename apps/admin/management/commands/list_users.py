"""`manage.py list_users`."""

from typing import Any

from django.utils import timezone

from apps.admin import lockout
from apps.admin.models import User
from artstore.commands import OperatorCommand
from artstore.moments import rfc3339


class Command(OperatorCommand):
    help = "List users: name, role, whether active or locked, last login."

    def handle(self, *_args: Any, **_options: Any) -> None:
        people = list(User.objects.order_by("username"))
        locks = lockout.states([person.username for person in people], timezone.now())
        for person in people:
            state = "active" if person.is_active else "inactive"
            state = "locked" if locks[person.username].is_locked else state
            seen = rfc3339(person.last_login_at) if person.last_login_at else "never"
            self.stdout.write(f"{person.username}\t{person.role}\t{state}\t{seen}")

"""How passwords are hashed: argon2id, with memory that many logins at once can afford."""

import threading

from django.contrib.auth.hashers import Argon2PasswordHasher

# Each running hash holds its memory and a core; more at once would only wait for each other.
_AT_ONCE = 4
_turns = threading.BoundedSemaphore(_AT_ONCE)


class BoundedArgon2Hasher(Argon2PasswordHasher):
    """argon2id with 19 MiB, two passes and one lane: OWASP's figures for a server.

    Django's default takes 100 MiB per hash, which sixty-four threads of logins would multiply.
    """

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        with _turns:
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _turns:
            return super().verify(password, encoded)

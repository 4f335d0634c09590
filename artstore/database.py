"""The database connection of the thread at hand, given back while it is not needed.

A transfer can take hours and there are more transfers than connections, so whoever is about to
move bytes gives its connection back first; the next query opens or borrows another.
"""

from django.db import connection


def release() -> None:
    """Give the connection back to the pool, or close it where there is none.

    Inside a transaction nothing happens: no transfer may run there, and tests that wrap
    themselves in one would lose their ground.
    """
    if not connection.in_atomic_block:
        connection.close()


def is_kept() -> bool:
    """Whether this thread keeps its connection from request to request: it does where there is no pool."""
    return bool(connection.settings_dict["CONN_MAX_AGE"])


def take_time() -> None:
    """Lift the limit on a web process's statements for the rest of the transaction at hand.

    For acts of an operator that change as many records as there are.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")

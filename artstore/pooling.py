"""The connections of the database pool, which are borrowed and given back several times a request.

Settings name the class; nothing else lives here.
"""

import select
from typing import Any

import psycopg


class PooledConnection(psycopg.Connection[Any]):
    """Answers the pool's question whether it still lives without asking the server each time.

    The pool asks with an empty query. A server that went away has closed the socket or said
    goodbye on it, so a connection at rest with nothing to read is as good as one that answered.
    """

    def execute(self, query: Any, *arguments: Any, **options: Any) -> psycopg.Cursor[Any]:
        if query == "" and self._is_quiet():
            return self.cursor()
        return super().execute(query, *arguments, **options)

    def _is_quiet(self) -> bool:
        if self.closed or self.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return False
        ear = select.poll()
        ear.register(self.fileno(), select.POLLIN)
        return not ear.poll(0)

"""The queue's connection is the database's, whatever the library in between makes of it."""

import pytest
from pgmq.base import PGMQConfig
from psycopg.conninfo import conninfo_to_dict

from artstore.broker import queue_conninfo


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://artstore:plain@db.example.org/artstore",
        "postgresql://artstore:p%20w%27%5C%40%2F@db.example.org:6432/art%20store",
        "postgresql://artstore:pw@/artstore?host=/run/postgres",
        "postgresql://artstore:pw@db.example.org/artstore?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://artstore@/artstore?host=/run/with%20a%20blank",
    ],
)
def test_every_part_of_the_address_reaches_libpq(url: str) -> None:
    wanted = {"port": "5432", "password": ""} | conninfo_to_dict(url)
    assert conninfo_to_dict(PGMQConfig(conn_string=queue_conninfo(url)).dsn) == wanted

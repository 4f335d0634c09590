"""How the message queues in PostgreSQL are reached. Only settings.py needs this."""

from psycopg.conninfo import conninfo_to_dict, make_conninfo


def queue_conninfo(database_url: str) -> str:
    """`database_url` in a form that survives the pgmq library.

    The library takes five fields out of a connection string and joins them again without quoting:
    a socket directory, `sslmode` or a blank in the password would be lost, the second of them
    silently. It writes the password last, and to libpq the last of equal keys counts, so the whole
    connection string travels there.
    """
    known = {name: str(text) for name, text in conninfo_to_dict(database_url).items()}
    password = make_conninfo(password=known.pop("password", "")).removeprefix("password=")
    everything = f"{password or chr(39) * 2} {make_conninfo(**known)}"
    return make_conninfo(host="-", port="5432", dbname="-", user="-", password=everything)

"""What can keep the embedded system from running, each with what to do. No HTTP here."""


class EmbeddedError(Exception):
    """The message says what was attempted, what went wrong and what to do."""


class PostgresUnavailable(EmbeddedError):
    """No PostgreSQL could be found, prepared or started."""


class ChildFailed(EmbeddedError):
    """A process of the system did not come up."""


class PortBusy(EmbeddedError):
    """A port the system needs is taken; the message names the setting that moves it."""


class AlreadyRunning(EmbeddedError):
    """Another supervisor holds the same home directory."""

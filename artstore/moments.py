"""How a moment is written, everywhere: in answers, logs of acts, exports and the output of commands."""

import datetime as dt


def rfc3339(moment: dt.datetime) -> str:
    """RFC 3339 in UTC with `Z`, microseconds kept when there are any."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")

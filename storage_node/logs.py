"""How the node logs: JSON or text lines on stderr, one per request and one per event. Nothing secret is a log field.

Callers pass facts as `extra=`; they become members of the line beside time, level and message.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

# One encoder for every line: making one per line costs as much as the encoding.
encode_json = json.JSONEncoder(ensure_ascii=False, default=str).encode
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }


def stamp(moment_seconds: float) -> str:
    moment = datetime.fromtimestamp(moment_seconds, UTC)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


class JsonLines(logging.Formatter):
    """One JSON object per line, keys in the order they were given."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= _facts(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return encode_json(line)


class TextLines(logging.Formatter):
    """For people: time, level, message, then facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(
            f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"
            for name, value in _facts(record).items()
        )
        line = f"{stamp(record.created)} {record.levelname.lower():7} {record.getMessage()} {facts}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str, log_format: str) -> None:
    """Send everything to stderr in one format; uvicorn's own lines included, its access log not."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, root.level))
    # The lines need neither thread nor process names; not asking for them makes each cheaper.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

"""The log's line per request: the same members as the loggers' lines, made in one go and written once per turn of the
event loop. At some thousand requests a second the logging machinery would cost more than the requests.
"""

import asyncio
import logging
import re
import sys
import time
from functools import lru_cache
from typing import NamedTuple

from storage_node.auth import Principal
from storage_node.call import Call
from storage_node.logs import TextLines, encode_json, stamp

_CUT = ', "cut": true'
# Text that JSON shows as it is.
_PLAIN = re.compile(r"[ !#-\[\]-~]*")


class RequestLine(NamedTuple):
    """What the line tells beside what `call` knows."""

    method: str
    path: str
    milliseconds: float
    cut: bool
    call: Call


class RequestLog:
    """Writes to stderr, where the loggers write too."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("storage_node.requests")
        self._waiting: list[str] = []
        handlers = logging.getLogger().handlers
        self._as_text = bool(handlers) and isinstance(handlers[0].formatter, TextLines)
        self._second = 0
        self._second_text = ""
        self.is_on = self._logger.isEnabledFor(logging.INFO)

    def write(self, line: RequestLine) -> None:
        """Keep the line for this turn's write."""
        if self._as_text:
            self._logger.info("request", extra=_facts(line))
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(self._text(line))

    def flush(self) -> None:
        """Write what waits."""
        self._waiting.append("")
        sys.stderr.write("\n".join(self._waiting))
        sys.stderr.flush()
        self._waiting.clear()

    def _text(self, line: RequestLine) -> str:
        call = line.call
        file = "" if call.file_id is None else f'"file_id": {_quoted(call.file_id)}, '
        is_plain = call.trace_id is None and not line.cut
        tail = "}" if is_plain else f"{_CUT if line.cut else ''}{_trace(call.trace_id)}}}"
        return (
            f'{{"time": "{self._now()}", "level": "info", "message": "request", "request_id": "{call.request_id}", '
            f'"method": "{line.method}", "path": {_quoted(line.path)}, "route": "{call.route}", "status": {call.status}, '
            f'{_of_principal(call.principal)}{file}"bytes_in": {call.bytes_in}, '
            f'"bytes_out": {call.bytes_out}, "milliseconds": {line.milliseconds:.3f}{tail}'
        )

    def _now(self) -> str:
        """The time to the millisecond; the part down to the second is made once per second."""
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._second, self._second_text = second, stamp(second)[:20]
        return f"{self._second_text}{int((moment - second) * 1000):03}Z"


def _facts(line: RequestLine) -> dict[str, object]:
    call, principal = line.call, line.call.principal
    return {
        "request_id": call.request_id,
        "method": line.method,
        "path": line.path,
        "route": call.route,
        "status": call.status,
        "principal": principal.subject if principal else None,
        "acting_module": principal.module if principal else None,
        "file_id": call.file_id,
        "bytes_in": call.bytes_in,
        "bytes_out": call.bytes_out,
        "milliseconds": round(line.milliseconds, 3),
        "cut": line.cut or None,
        "trace_id": call.trace_id,
    }


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else encode_json(text)


def _of_principal(principal: Principal | None) -> str:
    return "" if principal is None else _named(principal.subject, principal.module)


@lru_cache(1024)
def _named(subject: str, module: str | None) -> str:
    """Few principals make many requests."""
    return f'"principal": {_quoted(subject)}, {_if_any("acting_module", module)}'


def _if_any(name: str, text: str | None) -> str:
    return "" if text is None else f'"{name}": {_quoted(text)}, '


def _trace(trace_id: str | None) -> str:
    return "" if trace_id is None else f', "trace_id": "{trace_id}"'

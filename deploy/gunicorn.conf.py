"""gunicorn for one web process that also carries transfers. Every number can be set.

A transfer holds a thread for as long as its client takes, so there are many threads, no limit on
requests per worker, and patience when stopping. sync workers would be killed in a long upload.
"""

import json
import os
import resource
import socket
import uuid
from http import HTTPStatus

from gunicorn import util

bind = os.environ.get("ARTSTORE_BIND", "127.0.0.1:8000")
worker_class = "artstore.web_worker.Worker"
workers = int(os.environ.get("ARTSTORE_WEB_PROCESSES", "1"))
threads = int(os.environ.get("ARTSTORE_WEB_THREADS", "96"))
# Waiting connections, idle ones and those in a thread; gunicorn's 1000 would be the limit otherwise.
worker_connections = threads + 1000
# A transfer has its client's connection, the element's, and sometimes a file.
_files, _most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(
    resource.RLIMIT_NOFILE, (max(_files, min(_most_files, 4 * threads + 1024)), _most_files)
)
# Heartbeat of the worker's own loop, not a limit on requests.
timeout = 120
graceful_timeout = int(os.environ.get("ARTSTORE_WEB_STOP_SECONDS", "30"))
keepalive = 15
max_requests = 0
backlog = 1024
# A token, a digest and a traceparent fit; a header bomb does not.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16_384
# The heartbeat file must never wait for a disk.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - gunicorn makes its own file there
forwarded_allow_ips = os.environ.get("ARTSTORE_PROXY_ADDRESSES", "127.0.0.1,::1")
# A request's statement that takes longer is stopped; libpq reads this, and nothing but the web does.
_statement_seconds = float(os.environ.get("ARTSTORE_STATEMENT_TIMEOUT_SECONDS", "30"))
if _statement_seconds > 0:
    _timeout = f"-c statement_timeout={max(1, int(_statement_seconds * 1000))}"
    os.environ["PGOPTIONS"] = f"{os.environ.get('PGOPTIONS', '')} {_timeout}".strip()
accesslog = None
errorlog = "-"
control_socket_disable = True
preload_app = False


def write_envelope(sock: socket.socket, status: int, _reason: str, message: str) -> None:
    """What gunicorn itself refuses (414, 417, 431, a garbled request) has the shape of every error."""
    internal = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    text = "The server failed to answer." if internal else message or "The request is malformed."
    error = {"code": "INTERNAL_ERROR" if internal else "VALIDATION_ERROR", "message": text}
    if not internal:
        error["details"] = {"non_field_errors": [text]}
    request_id = str(uuid.uuid4())
    body = json.dumps({"error": error, "request_id": request_id}).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-ID: {request_id}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode() + body)


# gunicorn has no setting for it; every place in it that answers by itself calls this.
util.write_error = write_envelope

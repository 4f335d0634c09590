"""gunicorn for one web process that also carries transfers. Every number can be set.

A transfer holds a thread for as long as its client takes, so there are many threads, no limit on
requests per worker, and patience when stopping. sync workers would be killed in a long upload.
"""

import os

bind = os.environ.get("ARTSTORE_BIND", "127.0.0.1:8000")
worker_class = "gthread"
workers = int(os.environ.get("ARTSTORE_WEB_PROCESSES", "1"))
threads = int(os.environ.get("ARTSTORE_WEB_THREADS", "96"))
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
accesslog = None
errorlog = "-"
control_socket_disable = True
preload_app = False

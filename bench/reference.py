"""What a node is measured against: an nginx of our own with WebDAV, on loopback, in the same run.

Starts and stops it; says nothing about what is measured. Debian's nginx-light has all that is needed.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        root {directory}/files;
        dav_methods PUT DELETE;
        create_full_put_path on;
    }}
}}
"""


@dataclass
class Nginx:
    """One nginx with one worker: the node has one process too."""

    directory: Path
    cert: Path
    key: Path
    port: int
    tls_port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def files(self) -> Path:
        """Where it keeps what is PUT."""
        return self.directory / "files"

    def __enter__(self) -> "Nginx":
        self.files.mkdir(parents=True)
        for path in (self.directory, self.files):
            path.chmod(0o777)
        configuration = self.directory / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(**vars(self)))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        user = ["-g", f"user {os.environ.get('USER') or 'root'};"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [program, "-c", str(configuration), *user], stderr=subprocess.DEVNULL
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None:
                raise RuntimeError((self.directory / "error.log").read_text())
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

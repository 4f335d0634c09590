"""A real nginx with the files of deploy/nginx, on loopback and in a directory of its own.

The files are used as they are, but for the names and paths an operator changes, too.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from storage_node.tests.node_process import REPOSITORY

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
_MAIN = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/artstore.conf;
}}
"""


@dataclass
class NginxProcess:
    """nginx in front of a web process; `base_url` is where clients come in."""

    folder: Path
    web_port: int
    port: int
    element_cas: str
    secret: str
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "NginxProcess":
        assert NGINX is not None
        self.folder.mkdir(parents=True)
        self._write()
        as_us = ["-g", "user root;"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [NGINX, "-c", str(self.folder / "nginx.conf"), *as_us], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                requests.get(f"{self.base_url}/health/live", timeout=5)
            except requests.RequestException:
                time.sleep(0.02)
            else:
                return self
        raise RuntimeError("nginx did not start:\n" + (self.folder / "error.log").read_text())

    def __exit__(self, *_details: object) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _write(self) -> None:
        changes = {
            "server 127.0.0.1:8000;": f"server 127.0.0.1:{self.web_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port};",
            "ssl_certificate /etc/artstore/tls/fullchain.pem;": "",
            "ssl_certificate_key /etc/artstore/tls/privkey.pem;": "",
            "/etc/artstore/handover-secret.conf": f"{self.folder}/handover-secret.conf",
            "/etc/artstore/nginx/handover.conf": f"{self.folder}/handover.conf",
            "/etc/artstore/element-cas.pem": f"{self.folder}/element-cas.pem",
        }
        (self.folder / "nginx.conf").write_text(_MAIN.format(folder=self.folder))
        for name in ("artstore.conf", "handover.conf"):
            text = (REPOSITORY / "deploy" / "nginx" / name).read_text()
            for shipped, ours in changes.items():
                text = text.replace(shipped, ours)
            (self.folder / name).write_text(text)
        (self.folder / "element-cas.pem").write_text(self.element_cas)
        (self.folder / "handover-secret.conf").write_text(
            f'proxy_set_header X-ArtStore-Handover "{self.secret}";\n'
        )

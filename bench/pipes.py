"""Large files through Django: the Ingester and Query as pipes, against the same file straight to the node.

    .venv/bin/python -m bench.pipes [--size-mib 1024] [--rounds 3]

The node speaks TLS in every row; curl is the client. Where nginx is installed the hand-over of
downloads is measured too, with the CPU that the web process (and nginx) spent on it.
"""

import argparse
import base64
import json
import os
import secrets
import statistics
import subprocess
import uuid
from contextlib import ExitStack
from pathlib import Path

from apps.query.tests.nginx_process import NGINX, NginxProcess
from artstore.tests.live import LiveSystem, free_ports
from bench import whole_system
from bench.rounds import Row, alternate, report

MIB = 1 << 20
ELEMENT = "node-edit"


class Bench:
    """The system, one large file, and every way it can go."""

    def __init__(self, system: LiveSystem, directory: Path, size_mib: int) -> None:
        self.system, self.size_mib = system, size_mib
        self.source = directory / "source.bin"
        with self.source.open("wb") as file:
            for _ in range(size_mib):
                file.write(os.urandom(MIB))
        account = whole_system.account(system)
        self.api_token = whole_system.api_token(system, account)
        self.element_token = whole_system.element_token(system, account, ELEMENT)
        self.node_url = str(system.element(ELEMENT)["url"]) + "/api/v1/files"
        self.web_pid = self._pid_of_web()
        self.cpu: dict[str, list[float]] = {}
        self.nginx: NginxProcess | None = None
        self.kept = self._store()

    def _pid_of_web(self) -> int:
        """gunicorn's master; its worker is its child."""
        children = json.loads((self.system.home / "children.json").read_text())
        for pid in children:
            if b"artstore.wsgi" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise RuntimeError("the system has no web process")

    def _curl(self, token: str, *arguments: str) -> tuple[float, str]:
        """Seconds and body (of answers that are small)."""
        done = subprocess.run(
            [
                *("curl", "-sS", "--fail-with-body", "--cacert", self.system.ca_file),
                *("-H", f"Authorization: Bearer {token}", "-w", "\n%{time_total}", *arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-500:] + done.stderr)
        body, _, seconds = done.stdout.rpartition("\n")
        return float(seconds), body

    def name_the_element(self) -> None:
        """nginx compares certificates with names, so the element's URL has to have one."""
        elements = f"{self.system.api}/storage-elements"
        with self.system.session(self.system.admin_token()) as session:
            listed = session.get(elements, timeout=30).json()["items"]
            element = next(item for item in listed if item["storage_id"] == ELEMENT)
            named = str(element["url"]).replace("127.0.0.1", "localhost")
            answer = session.patch(f"{elements}/{element['id']}", json={"url": named}, timeout=30)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)

    def _rate(self, seconds: float) -> float:
        return self.size_mib * MIB / 1e6 / seconds

    def _store(self) -> str:
        _seconds, body = self._upload()
        return str(json.loads(body)["file_id"])

    def _upload(self) -> tuple[float, str]:
        url = f"{self.system.api}/files/upload?filename=source.bin"
        return self._curl(self.api_token, "-T", str(self.source), url)

    def _forget(self, file_id: str) -> None:
        """The node's next garbage collection, seconds away here, frees the bytes."""
        self._curl(self.element_token, "-X", "DELETE", f"{self.node_url}/{file_id}")

    def up(self) -> float:
        seconds, body = self._upload()
        self._forget(json.loads(body)["file_id"])
        return self._rate(seconds)

    def up_straight(self) -> float:
        file_id = str(uuid.uuid4())
        told = {"original_filename": "source.bin", "retention_policy": "temporary", "ttl_days": 30}
        attributes = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
        seconds, _body = self._curl(
            self.element_token,
            *("-H", f"X-ArtStore-Attributes: {attributes}"),
            *("-T", str(self.source), f"{self.node_url}/{file_id}"),
        )
        self._forget(file_id)
        return self._rate(seconds)

    def down_straight(self) -> float:
        url = f"{self.node_url}/{self.kept}/download"
        return self._rate(self._curl(self.element_token, "-o", "/dev/null", url)[0])

    def down(self) -> float:
        return self._down("piped", self.system.base_url)

    def down_handed_over(self) -> float:
        assert self.nginx is not None
        return self._down("handed over", self.nginx.base_url)

    def _down(self, how: str, base_url: str) -> float:
        before = self._cpu()
        url = f"{base_url}/api/v1/files/{self.kept}/download"
        seconds, _body = self._curl(self.api_token, "-o", "/dev/null", url)
        web, nginx = (after - began for after, began in zip(self._cpu(), before, strict=True))
        self.cpu.setdefault(f"{how}, web", []).append(web)
        self.cpu.setdefault(f"{how}, nginx", []).append(nginx)
        return self._rate(seconds)

    def _cpu(self) -> tuple[float, float]:
        nginx = self.nginx.process.pid if self.nginx and self.nginx.process else 0
        return whole_system.cpu_seconds(self.web_pid), whole_system.cpu_seconds(
            nginx
        ) if nginx else 0.0

    def cpu_remark(self) -> str:
        told = [f"{how} {statistics.median(spent):.2f} s" for how, spent in self.cpu.items()]
        return f"CPU per download of {self.size_mib} MiB: {'; '.join(told)}"


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    secret = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        system, directory = stack.enter_context(
            whole_system.running(
                ARTSTORE_NODE_CAPACITY="64GiB", SE_GC_INTERVAL="5s", ARTSTORE_HANDOVER_SECRET=secret
            )
        )
        bench = Bench(system, directory, arguments.size_mib)
        measurements = {
            "up straight": bench.up_straight,
            "up": bench.up,
            "down straight": bench.down_straight,
            "down": bench.down,
        }
        if NGINX:
            cas = Path(system.ca_file).read_text()
            web_port = int(system.environment["ARTSTORE_WEB_PORT"])
            bench.nginx = stack.enter_context(
                NginxProcess(directory / "nginx", web_port, free_ports(1)[0], cas, secret)
            )
            bench.name_the_element()
            measurements["down handed over"] = bench.down_handed_over
        values = alternate(arguments.rounds, measurements)
        remarks = [bench.cpu_remark(), "straight: curl to the node itself, over TLS"]
    size = f"{arguments.size_mib} MiB"
    rows = [
        Row(
            f"{size} upload through the Ingester",
            "MB/s",
            ">= 0.6 (0.85)",
            values["up"],
            values["up straight"],
        ),
        Row(
            f"{size} download through Query",
            "MB/s",
            ">= 0.75 (0.95)",
            values["down"],
            values["down straight"],
        ),
    ]
    if "down handed over" in values:
        rows.append(
            Row(
                f"{size} download handed over to nginx",
                "MB/s",
                ">= 0.95 at a fifth of the CPU",
                values["down handed over"],
                values["down straight"],
            )
        )
    report("pipes", rows, remarks)


if __name__ == "__main__":
    main()

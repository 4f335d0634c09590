"""Small files of a node against nginx: 4 KiB durable uploads with attributes, and 4 KiB downloads.

    .venv-node/bin/python -m bench.node_small [--seconds 20] [--rounds 5]

wrk is the client of both. The reference PUTs are neither durable nor have they attributes. A run lasts over several
checkpoints of the node (it makes one a minute or per so many bytes of log, see docs/on-disk-format.md).
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.reference import Nginx
from bench.rounds import ROUNDS, Row, alternate, report
from storage_node.tests.node_process import (
    Certificates,
    Issuer,
    NodeProcess,
    attributes_header,
    free_port,
)

SIZE_BYTES = 4096
KEPT = 2000
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")

PUT_SCRIPT = """
local thread_number = 0
function setup(thread) thread:set("id", thread_number); thread_number = thread_number + 1 end
local body = string.rep("x", {size})
function init(args) math.randomseed(id * 7919 + {seed}); count = 0 end
function hex(n) return string.format("%0" .. n .. "x", math.random(0, 16 ^ n - 1)) end
function request()
    count = count + 1
    local name = hex(8) .. "-" .. hex(4) .. "-4" .. hex(3) .. "-a" .. hex(3) .. "-" .. hex(6) .. string.format("%06x", count)
    return wrk.format("PUT", "{prefix}" .. name, {{["Authorization"] = "Bearer {token}", ["X-ArtStore-Attributes"] = "{attributes}"}}, body)
end
function response(status) if status ~= 201 then refused = (refused or 0) + 1; if refused < 5 then print("status", status) end end end
"""

GET_SCRIPT = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local place = 0
function request()
    place = place % #paths + 1
    return wrk.format("GET", paths[place], {{["Authorization"] = "Bearer {token}"}})
end
"""


def wrk(url: str, script: Path, clients: int, seconds: int) -> float:
    """Requests per second; refuses a run with answers other than 2xx."""
    threads = min(2, clients)
    done = subprocess.run(
        [
            "wrk",
            "-t",
            str(threads),
            "-c",
            str(clients),
            "-d",
            f"{seconds}s",
            "-s",
            str(script),
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rate = _RATE.search(done.stdout)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)
    return float(rate[1])


class Bench:
    """One node, one nginx."""

    def __init__(self, directory: Path, node: NodeProcess, nginx: Nginx, seconds: int) -> None:
        self.directory, self.node, self.nginx, self.seconds = directory, node, nginx, seconds
        self.token = node.token(exp=int(time.time()) + 86400)
        self.seed = 0
        self.kept = self._keep()

    def _keep(self) -> tuple[Path, Path]:
        ours, theirs = self.directory / "ours.txt", self.directory / "theirs.txt"
        session = self.node.session()
        ids = [
            session.put_file(os.urandom(SIZE_BYTES), retention_policy="permanent").json()["file_id"]
            for _ in range(KEPT)
        ]
        ours.write_text("".join(f"/api/v1/files/{file_id}/download\n" for file_id in ids))
        for number in range(KEPT):
            (self.nginx.files / f"kept-{number}").write_bytes(os.urandom(SIZE_BYTES))
        theirs.write_text("".join(f"/kept-{number}\n" for number in range(KEPT)))
        return ours, theirs

    def _put(self, url: str, prefix: str, clients: int) -> float:
        self.seed += 1
        attributes = attributes_header(
            {
                "original_filename": "measurement.bin",
                "retention_policy": "permanent",
                "tags": ["a", "b"],
            }
        )
        script = self.directory / "put.lua"
        script.write_text(
            PUT_SCRIPT.format(
                size=SIZE_BYTES,
                seed=self.seed * 100_003 + os.getpid(),
                prefix=prefix,
                token=self.token,
                attributes=attributes,
            )
        )
        return wrk(url, script, clients, self.seconds)

    def put(self, clients: int) -> float:
        return self._put(self.node.base_url, "/api/v1/files/", clients)

    def reference_put(self, clients: int) -> float:
        rate = self._put(f"http://127.0.0.1:{self.nginx.port}", "/put/", clients)
        shutil.rmtree(self.nginx.files / "put", ignore_errors=True)
        return rate

    def _get(self, url: str, paths: Path) -> float:
        script = self.directory / "get.lua"
        script.write_text(GET_SCRIPT.format(paths=paths, token=self.token))
        return wrk(url, script, 32, self.seconds)

    def get(self) -> float:
        return self._get(self.node.base_url, self.kept[0])

    def reference_get(self) -> float:
        return self._get(f"http://127.0.0.1:{self.nginx.port}", self.kept[1])


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="artstore-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        certificates, issuer = Certificates.make(directory / "certs"), Issuer.make()
        environment = {"SE_INSECURE_LOOPBACK": "1", "SE_MAX_CAPACITY": "50GiB"}
        with (
            Nginx(
                directory / "nginx", certificates.cert, certificates.key, free_port(), free_port()
            ) as nginx,
            NodeProcess(directory / "node", certificates, issuer, "bench", environment) as node,
        ):
            bench = Bench(directory, node, nginx, arguments.seconds)
            values = alternate(
                arguments.rounds,
                {
                    "nginx put 8": lambda: bench.reference_put(8),
                    "put 8": lambda: bench.put(8),
                    "nginx put 32": lambda: bench.reference_put(32),
                    "put 32": lambda: bench.put(32),
                    "nginx get": bench.reference_get,
                    "get": bench.get,
                },
            )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    rows = [
        Row(
            f"4 KiB durable uploads with attributes, {clients} clients",
            "/s",
            ">= 0.45 (0.65)",
            values[f"put {clients}"],
            values[f"nginx put {clients}"],
        )
        for clients in (8, 32)
    ]
    rows.append(
        Row("4 KiB downloads, 32 clients", "/s", ">= 0.4 (0.6)", values["get"], values["nginx get"])
    )
    report("node-small", rows, ["the node logs each request as JSON, nginx writes its access log"])


if __name__ == "__main__":
    main()

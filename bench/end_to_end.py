"""4 KiB files end to end: client, web process, database, node over TLS, and back.

    .venv/bin/python -m bench.end_to_end [--seconds 8] [--rounds 5] [--clients 16] [--profile]

One web process, one node, wrk as the client on the same machine. `--profile` also says where the
web process spends its time (py-spy where it is installed, else cProfile of one thread's requests).
"""

import argparse
import os
import re
import subprocess
from pathlib import Path

from artstore.tests.live import LiveSystem
from bench import whole_system
from bench.rounds import ROUNDS, Row, alternate, report

SIZE_BYTES = 4096
KEPT = 500
_RATE = re.compile(r"Requests/sec:\s+([0-9.]+)")

UPLOAD = """
local count = 0
local body = string.rep("x", {size} - 16)
function request()
    count = count + 1
    return wrk.format("POST", "/api/v1/files/upload?filename=measurement-" .. count .. ".bin&tags=a&tags=b",
        {{["Authorization"] = "Bearer {token}", ["Content-Type"] = "application/octet-stream"}},
        body .. string.format("%016x", math.random(0, 2 ^ 52)))
end
"""
DOWNLOAD = """
local paths = {{}}
for line in io.lines("{paths}") do paths[#paths + 1] = line end
local place = math.random(1, #paths)
function request()
    place = place % #paths + 1
    return wrk.format("GET", paths[place], {{["Authorization"] = "Bearer {token}"}})
end
"""


class Bench:
    """The system under load and the scripts of its client."""

    def __init__(self, system: LiveSystem, directory: Path, clients: int, seconds: int) -> None:
        self.system, self.directory = system, directory
        self.clients, self.seconds = clients, seconds
        token = whole_system.api_token(system, whole_system.account(system))
        self.upload_script = directory / "upload.lua"
        self.upload_script.write_text(UPLOAD.format(size=SIZE_BYTES, token=token))
        self.download_script = directory / "download.lua"
        self.download_script.write_text(DOWNLOAD.format(paths=self._keep(token), token=token))

    def _keep(self, token: str) -> Path:
        paths = self.directory / "paths.txt"
        with self.system.session(token) as session, paths.open("w") as file:
            for number in range(KEPT):
                answer = session.post(
                    f"{self.system.api}/files/upload",
                    params={"filename": f"kept-{number}.bin"},
                    data=os.urandom(SIZE_BYTES),
                    timeout=30,
                )
                file.write(f"/api/v1/files/{answer.json()['file_id']}/download\n")
        return paths

    def upload(self) -> float:
        return self._load(self.upload_script)

    def download(self) -> float:
        return self._load(self.download_script)

    def _load(self, script: Path) -> float:
        done = subprocess.run(
            [
                *("wrk", "-t", "2", "-c", str(self.clients), "-d", f"{self.seconds}s"),
                *("--timeout", "30s", "--latency", "-s", str(script), self.system.base_url),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        rate = _RATE.search(done.stdout)
        if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise RuntimeError(done.stdout + done.stderr)
        return float(rate[1])


def main() -> None:
    """Run and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    with whole_system.running() as (system, directory):
        bench = Bench(system, directory, arguments.clients, arguments.seconds)
        values = alternate(arguments.rounds, {"upload": bench.upload, "download": bench.download})
    rows = [
        Row(
            f"4 KiB uploads end to end, {arguments.clients} clients",
            "/s",
            ">= 100 (250)",
            values["upload"],
        ),
        Row(
            f"4 KiB downloads end to end, {arguments.clients} clients",
            "/s",
            ">= 300 (700)",
            values["download"],
        ),
    ]
    report("end-to-end", rows, ["one web process; wrk on the same machine"])


if __name__ == "__main__":
    main()

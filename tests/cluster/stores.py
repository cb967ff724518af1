# SPDX-License-Identifier: Apache-2.0
"""Other stores of blobs than SeaweedFS, one process each: ``CLUSTER_STORE=rclone pytest tests/cluster`` tries one.

A program is looked for beside Python and on PATH.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import processes
from tests.conftest import ROOT_KEY

_COMMANDS = {
    "rclone": "{0} serve s3 --addr 127.0.0.1:{port} --auth-key {key},{secret} --config /dev/null {folder}/data",
    "moto": "{0} -H 127.0.0.1 -p {port}",
    "cloudchamber": "{0} -m cloudchamber start --foreground --state {folder}/data --port {port} --https-port 0",
}
_PROGRAMS = {"rclone": "rclone", "moto": "moto_server", "cloudchamber": sys.executable}
KEEPS = ("seaweedfs", "rclone", "cloudchamber")
"""Those that have what they took when they are started again."""


def wanted() -> str:
    return os.environ.get("CLUSTER_STORE", "seaweedfs")


def program(name: str) -> str | None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which(_PROGRAMS[name], path=path)


@dataclass
class OneStore:
    """A store that is one process, which is also its S3 door."""

    folder: Path
    name: str
    door: str = "store"
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return ROOT_KEY if self.name == "cloudchamber" else ":".join(processes.KEY)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start it; returns when it answers."""
        (self.folder / "data").mkdir(parents=True)
        self.port = processes.free_ports(1)[0]
        self.start(self.door)

    def start(self, name: str) -> None:
        """Start it, anew maybe."""
        key, _, secret = self.key.partition(":")
        words = _COMMANDS[self.name].format(
            program(self.name), port=self.port, key=key, secret=secret, folder=self.folder
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
        with (self.folder / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words.split(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=environment | {"CLOUDCHAMBER_ROOT_KEY": ROOT_KEY}, preexec_fn=processes.end_with_us,
            )  # fmt: skip
        processes.wait_for(self.name, lambda: processes.answers(self.port))

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stop(self) -> None:
        for name in self.processes:
            self.kill(name)

# SPDX-License-Identifier: Apache-2.0
"""Runs attack.py in a sandbox of one mode beside victims of its user, prints the table. `attacked.py MODE FOLDER`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from cloudchamber.sandbox.spawner import open_sandboxes
from cloudchamber.sandbox.spec import Limits, Listener, Mount, SandboxSpec

HERE = Path(__file__).parent
MEMORY_MIB, PIDS, TMP_MIB, OPEN_FILES = 256, 100, 16, 500


def listening(address, family=socket.AF_INET):
    made = socket.socket(family)
    made.bind(address)
    made.listen(50)

    def accept() -> None:
        while True:
            made.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()
    return made.getsockname()


def answering():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("0.0.0.0", 0))

    def answer() -> None:
        while True:
            made.sendto(b"VICTIM", made.recvfrom(100)[1])

    threading.Thread(target=answer, daemon=True).start()
    return made.getsockname()[1]


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def victims(base: Path) -> tuple[dict, subprocess.Popen]:
    state = base / "state"
    for name, text in (
        ("state/keys.db", "KEYS"),
        ("state/sandbox/i-other/volume/data", "DATA"),
        ("home/.ssh/id", "SSH"),
        ("other-tmp/file", "TMP"),
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    lan = own_address()
    abstract = f"cloudchamber-attack-{os.getpid()}"
    listening("\0" + abstract, socket.AF_UNIX)
    unix = f"/tmp/ccatk-{os.getpid()}"
    listening(unix, socket.AF_UNIX)
    victim = subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)", "victim-mark"],
        env={"SECRET": "topsecret"},
        stdout=subprocess.PIPE,
    )
    assert victim.stdout
    victim.stdout.readline()
    targets = {
        "state": str(state),
        "home": str(base / "home"),
        "tmp": str(base / "other-tmp/file"),
        "pid": victim.pid,
        "mark": "victim-mark",
        "shadow": "x",
        "db": listening(("127.0.0.1", 0))[1],
        "imds": listening(("127.0.0.1", 0))[1],
        "lan": lan,
        "lan_port": listening((lan, 0))[1],
        "udp": answering(),
        "memory_mib": MEMORY_MIB,
        "pids": PIDS,
        "tmp_mib": TMP_MIB,
        "open_files": OPEN_FILES,
        "abstract": abstract,
        "unix": unix,
        "mnt": os.readlink("/proc/self/ns/mnt"),
    }
    return targets, victim


async def main(mode: str, base: Path) -> None:
    targets, victim = victims(base)
    sandboxes = open_sandboxes(base / "state" / "sandbox", mode)
    await sandboxes.start()
    folder = base / "state" / "sandbox" / "i-1"
    try:
        sandbox = await sandboxes.launch(
            SandboxSpec(
                id="i-1",
                folder=folder,
                program=("python3" if mode != "plain" else sys.executable, "${mount:/srv/attack.py}"),
                env={
                    "TARGETS": json.dumps(targets),
                    "ENDPOINT": "${listener:endpoint}",
                    "PATH": os.path.dirname(sys.executable) + ":/usr/bin",
                },
                private_ip="172.31.0.5",
                volume=folder / "volume",
                limits=Limits(MEMORY_MIB << 20, 0.0, PIDS, TMP_MIB << 20, OPEN_FILES),
                mounts=(Mount(HERE / "attack.py", "/srv/attack.py"),),
                listeners=(Listener("endpoint", "127.0.0.1", 4566),),
            )
        )
        async with asyncio.timeout(60):
            await sandbox.exited()
        print(sandbox.console().decode())
        print("NOT BLOCKED " + json.dumps(list(sandboxes.not_blocked)))
    finally:
        await sandboxes.stop()
        victim.kill()
        victim.communicate()
        os.unlink(targets["unix"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

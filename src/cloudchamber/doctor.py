# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber doctor`: what this machine can do, what is missing, and the one command that would help."""

from __future__ import annotations

import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber import client
from cloudchamber.base.errors import ChamberError
from cloudchamber.sandbox.modes import stronger
from cloudchamber.settings import from_environment
from cloudchamber.store.room import LOW, free_octets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.settings import Cluster

_ROOM_WANTED = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    next_step: str = ""


def examine(state: Path) -> list[Finding]:
    """Look at this machine, and at the chamber on `state` if one runs."""
    found = [_python(), _disk(state), _nft()]
    running = client.find(state)
    if running is None:
        settings = from_environment(state=state)
        found.append(_port(settings.port))
        found += _shared(settings.cluster)
        found.append(Finding("chamber", True, f"none runs on {state}", "cloudchamber start"))
        return [*found, *_sandbox(_tried())]
    about = running.about
    found.append(Finding("chamber", True, f"runs at {running.endpoint}, process {about['pid']}"))
    found += _sandbox(about)
    if about.get("shared"):
        found.append(Finding("form", True, f"one of several chambers: {about['shared']}"))
    if about["root_key_given"]:
        found.append(Finding("root key", False, "was given: a well-known key is root for every local process"))
    return found


def _shared(cluster: Cluster | None) -> list[Finding]:
    """Whether what several chambers share can be reached from here."""
    if cluster is None:
        return []
    from cloudchamber.base.clock import SystemClock
    from cloudchamber.store.postgres_session import connect
    from cloudchamber.store.s3_client import Place, Store

    found: list[Finding] = []
    try:
        with connect(cluster.database) as made:
            where = f"{made.info.host}:{made.info.port}/{made.info.dbname}"
            found.append(Finding("database", True, f"PostgreSQL {made.info.server_version // 10_000} at {where}"))
    except ChamberError as error:
        found.append(Finding("database", False, error.message, error.hint))
    try:
        place = Place.of(cluster.blobs, *cluster.blobs_key)
        Store(place, SystemClock(), 1).check()
        found.append(Finding("blobs", True, f"{place.endpoint}/{place.bucket}/{place.prefix}"))
    except ChamberError as error:
        found.append(Finding("blobs", False, error.message, error.hint))
    return found


def _sandbox(about: Mapping[str, Any]) -> list[Finding]:
    mode = about["sandbox_mode"]
    why, helps = stronger(mode, about.get("refused_modes", {}))
    detail = f"mode {mode}, limits by {about['limits_by']}"
    if why:
        detail += f"; EC2 instances need namespaces, and there are none: {why}"
    found = [Finding("sandbox", mode.startswith("ns-"), detail, helps), _limits(about["limits_by"])]
    return found + [Finding("not blocked", False, line) for line in about["not_blocked"]]


def _limits(by: str) -> Finding:
    """What an instance type or a function's memory really limits here."""
    if by == "rlimits":
        limited = "the number of processes, and the memory of each by itself, by rlimits; processors and disk are not"
        return Finding(
            "limits", False, limited, "run the chamber as root, or in a session of systemd with control groups v2"
        )
    limited = f"memory and processes by {by}, and processors where it has them; the disk is not"
    return Finding("limits", True, limited)


def _tried() -> dict[str, Any]:
    """What a chamber would find here: the modes are really tried, in a folder that is removed."""
    import asyncio
    import tempfile

    from cloudchamber.sandbox.spawner import open_sandboxes

    async def tried() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="cloudchamber-") as folder:
            sandboxes = open_sandboxes(Path(folder))
            await sandboxes.start()
            try:
                return {
                    "sandbox_mode": sandboxes.mode,
                    "limits_by": sandboxes.limits_by,
                    "refused_modes": dict(sandboxes.refused),
                    "not_blocked": list(sandboxes.not_blocked),
                }
            finally:
                await sandboxes.stop()

    return asyncio.run(tried())


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), f"{version} at {sys.executable}")


def _disk(state: Path) -> Finding:
    folder = next(p for p in (state, *state.parents) if p.exists())
    free = free_octets(folder)
    if free <= LOW:
        detail = f"full: {free / 1024**2:.0f} MiB free at {folder}; objects are refused until there is more"
        return Finding("disk", False, detail, "delete objects, or free space on that disk")
    return Finding("disk", free > _ROOM_WANTED, f"{free / 1024**3:.1f} GiB free at {folder}")


def _nft() -> Finding:
    if shutil.which("nft") or Path("/usr/sbin/nft").exists():
        return Finding("nftables", True, "security groups filter inside the sandbox's network too")
    return Finding(
        "nftables", False, "nft is missing: security groups hold at the chamber's door only", "apt-get install nftables"
    )


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding("port", False, f"{port} is taken", "start with another --port")
    return Finding("port", True, f"{port} is free")

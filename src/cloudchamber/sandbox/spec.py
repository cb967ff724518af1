# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is to be: plain values, written to `spec.json` in its folder and read back after a restart."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Mode = Literal["ns-root", "ns-user", "landlock", "plain"]


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path inside the sandbox."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens inside and is accepted outside, by the chamber.

    `side` is where it lives: `own` in the sandbox's own network namespace (its 127.0.0.1), `router` in the
    router's, behind the sandbox's default route (169.254.169.254). In modes without network namespaces the
    address is 127.0.0.1 and the port is any free one: ask `Sandbox.address(name)`.
    """

    name: str
    address: str
    port: int
    side: Literal["own", "router"] = "own"
    kind: Literal["tcp", "udp", "datagrams"] = "tcp"
    """`datagrams`: UDP to whatever address; each datagram says its true destination (`IP_ORIGDSTADDR`)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use at most; 0 means no limit of ours."""

    memory_bytes: int = 0
    vcpus: float = 0.0
    pids: int = 512
    tmp_bytes: int = 512 * 1024 * 1024
    open_files: int = 4096
    tmp_apart: bool = False
    """Whether what lies in /tmp, in memory, does not count towards `memory_bytes`: looked at ten times a second."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a security group, as it holds for one sandbox. `protocol` is `tcp`, `udp`, `icmp` or `-1` (all)."""

    direction: Literal["in", "out"]
    protocol: str
    port_from: int
    port_to: int
    cidr: str
    why: str = ""
    """Group and rule id, for the track: `sg-0123 sgr-0456`."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One sandbox.

    `program` is what runs as PID 1's child: an argv, executed inside. The sandbox ends when it ends: an instance's
    program waits (`exec sleep infinity`) when its start-up script is done. With `warm` set, the process is instead
    forked from the spawner's warm Python (awslambdaric, boto3 loaded) and `program[0]` names a module whose `main()`
    is called with the sandbox's env set; the rest is `sys.argv[1:]`.
    In `program` and in values of `env`, `${listener:NAME}` becomes `address:port` of that listener and
    `${mount:TARGET}` the path of that mount: in modes without namespaces both are only known at the start.
    A program without PATH, HOME or LANG in `env` gets them; the chamber's own interpreter comes first in PATH.
    `private_ip` gives the sandbox an eth0 and a router; empty gives it only a loopback.
    `detached` sandboxes outlive the chamber (instances); others end with it (functions).
    """

    id: str
    folder: Path
    program: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    warm: bool = False
    interpreter: str = ""
    """Path of another Python (3.11 or later) whose warm process is forked; empty for the chamber's own."""
    hostname: str = "localhost"
    private_ip: str = ""
    subnet: str = "172.31.0.0/20"
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further lines of /etc/hosts: name -> address."""
    listeners: tuple[Listener, ...] = ()
    outbound_port: int = 0
    """TCP that leaves the sandbox, to whatever address, is led to the listener on this port of its router: who accepts
    there asks the connection for its true destination (`SO_ORIGINAL_DST`). 0: nothing leads further than the router."""
    datagram_port: int = 0
    """UDP that leaves the sandbox, to whatever address, is led to the listener (`datagrams`) on this port of its
    router, where the kernel can do that (`nft_tproxy`); who reads there decides. It is dropped where it cannot, and
    for 0."""
    mounts: tuple[Mount, ...] = ()
    volume: Path | None = None
    """Folder that keeps /etc /home /root /var /opt /srv of an instance from one start to the next."""
    disks: Path | None = None
    """Folder whose folders are the further volumes of an instance: all of it is `/mnt`, writable, and follows it."""
    workdir: str = "/"
    limits: Limits = field(default_factory=Limits)
    rules: tuple[Rule, ...] | None = None
    detached: bool = False
    ca_pem: bytes = b""
    """The chamber's CA, added to the sandbox's trust store (/etc/ssl/certs/ca-certificates.crt)."""
    ptrace: bool = False
    console: Literal["file", "pipe"] = "file"
    """Where stdout and stderr go: `console.log` in the folder, or a pipe that the chamber reads (`Sandbox.output`)."""


def to_json(spec: SandboxSpec) -> dict[str, Any]:
    """A spec as JSON values."""
    values: dict[str, Any] = {each.name: getattr(spec, each.name) for each in fields(spec)}
    values["folder"] = str(spec.folder)
    values["volume"] = str(spec.volume) if spec.volume else None
    values["disks"] = str(spec.disks) if spec.disks else None
    values["ca_pem"] = base64.b64encode(spec.ca_pem).decode()
    values["env"], values["hosts"], values["limits"] = dict(spec.env), dict(spec.hosts), asdict(spec.limits)
    values["listeners"] = [asdict(listener) for listener in spec.listeners]
    values["mounts"] = [asdict(mount) | {"source": str(mount.source)} for mount in spec.mounts]
    values["rules"] = None if spec.rules is None else [asdict(rule) for rule in spec.rules]
    return values


def from_json(values: dict[str, Any]) -> SandboxSpec:
    """A spec from what `to_json` made, also after a trip through `json`."""
    known = dict(values)
    known["folder"] = Path(values["folder"])
    known["volume"] = Path(values["volume"]) if values["volume"] else None
    known["disks"] = Path(values["disks"]) if values.get("disks") else None
    known["ca_pem"] = base64.b64decode(values["ca_pem"])
    known["program"] = tuple(values["program"])
    known["listeners"] = tuple(Listener(**listener) for listener in values["listeners"])
    known["mounts"] = tuple(
        Mount(Path(mount["source"]), mount["target"], mount["writable"]) for mount in values["mounts"]
    )
    known["limits"] = Limits(**values["limits"])
    known["rules"] = None if values["rules"] is None else tuple(Rule(**rule) for rule in values["rules"])
    return SandboxSpec(**known)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sandbox ended: `code` as a shell says it (negative: killed by that signal), and whether memory ran out."""

    code: int
    out_of_memory: bool = False
    detail: str = ""

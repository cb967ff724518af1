# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is to be: plain values, written to `spec.json` in its folder and read back after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    kind: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use at most; 0 means no limit of ours."""

    memory_bytes: int = 0
    vcpus: float = 0.0
    pids: int = 512
    tmp_bytes: int = 512 * 1024 * 1024
    open_files: int = 4096


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

    `program` is what runs as PID 1's child: an argv, executed inside. With `warm` set, the process is instead
    forked from the spawner's warm Python (awslambdaric, boto3 loaded) and `program` is `(module, function)`-style:
    `("cloudchamber.sandbox.warm_lambda",)`, called with the sandbox's env set.
    `private_ip` gives the sandbox an eth0 and a router; empty gives it only a loopback.
    `detached` sandboxes outlive the chamber (instances); others end with it (functions).
    """

    id: str
    folder: Path
    program: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    warm: bool = False
    hostname: str = "localhost"
    private_ip: str = ""
    subnet: str = "172.31.0.0/20"
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further lines of /etc/hosts: name -> address."""
    listeners: tuple[Listener, ...] = ()
    mounts: tuple[Mount, ...] = ()
    volume: Path | None = None
    """Folder that keeps /etc /home /root /var /opt /srv of an instance from one start to the next."""
    workdir: str = "/"
    limits: Limits = field(default_factory=Limits)
    rules: tuple[Rule, ...] | None = None
    detached: bool = False
    ca_pem: bytes = b""
    """The chamber's CA, added to the sandbox's trust store (/etc/ssl/certs/ca-certificates.crt)."""
    ptrace: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sandbox ended: `code` as a shell says it (negative: killed by that signal), and whether memory ran out."""

    code: int
    out_of_memory: bool = False
    detail: str = ""

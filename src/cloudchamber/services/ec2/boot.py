# SPDX-License-Identifier: Apache-2.0
"""What the sandbox of an instance is to be: its programs, addresses, limits, listeners."""

from __future__ import annotations

import base64
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudchamber.sandbox.spec import Limits, Listener, SandboxSpec
from cloudchamber.services.ec2 import catalog, datagrams, names, resolver, traffic, truststore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.spec import Rule
    from cloudchamber.services.ec2 import nets, tables

_GUEST = Path(__file__).resolve().parent / "guest"
_PIDS = 2048
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def spec(
    doors: Doors,
    row: tables.Instance,
    subnet: nets.Subnet,
    document: str,
    host_key: str,
    *,
    folder: Path,
    volume: Path,
    rules: tuple[Rule, ...],
    further: Iterable[Listener],
) -> SandboxSpec:
    """The sandbox of an instance.

    `document` is its user data, read and packed; `host_key` the public key of its SSH server; `further` are listeners
    inside: endpoints of databases.
    """
    kind = catalog.TYPES[row.type]
    private_dns = names.private_dns(row.private_ip, row.region)
    return SandboxSpec(
        id=row.id,
        folder=folder,
        program=(sys.executable, "-I", "-S", str(_GUEST / "init.py")),
        env=_environment(doors, row, kind, document, host_key),
        hostname=private_dns.partition(".")[0],
        private_ip=row.private_ip,
        subnet=subnet.cidr,
        hosts={private_dns: row.private_ip, truststore.NAME: truststore.ADDRESS},
        listeners=(
            Listener("imds", "169.254.169.254", 80, "router"),
            Listener("truststore", truststore.ADDRESS, 443, "router"),
            Listener("names", resolver.ADDRESS, 53, "router", "udp"),
            Listener("outbound", "0.0.0.0", traffic.PORT, "router"),
            Listener("datagrams", "0.0.0.0", datagrams.PORT, "router", "datagrams"),
            Listener("endpoint", "127.0.0.1", urlsplit(doors.endpoint).port or 80),
            *further,
        ),
        outbound_port=traffic.PORT,
        datagram_port=datagrams.PORT,
        volume=volume,
        disks=folder / "mnt",
        limits=Limits(memory_bytes=kind.memory_mib * 1024 * 1024, vcpus=float(kind.vcpus), pids=_PIDS),
        rules=rules,
        detached=True,
        ca_pem=doors.authority.certificate_pem,
        ptrace=True,
    )


def _environment(
    doors: Doors, row: tables.Instance, kind: catalog.InstanceType, document: str, host_key: str
) -> dict[str, str]:
    boot = {
        "mode": doors.sandboxes.mode,
        "instance_id": row.id,
        "user_data": document,
        "ssh_key": row.public_key,
        "host_key": host_key,
        "region": row.region,
        "endpoint": doors.endpoint,
        "type": row.type,
        "vcpus": kind.vcpus,
        "memory_mib": kind.memory_mib,
        "private_ip": row.private_ip,
    }
    return {
        "PATH": os.pathsep.join([str(_GUEST / "bin"), sysconfig.get_path("scripts"), *_SYSTEM_PATH]),
        "HOME": "/root",
        "USER": "root",
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": "http://${listener:endpoint}",
        "AWS_REGION": row.region,
        "AWS_DEFAULT_REGION": row.region,
        "CLOUDCHAMBER_BOOT": base64.b64encode(json.dumps(boot).encode()).decode(),
    }

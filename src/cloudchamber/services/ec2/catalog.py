# SPDX-License-Identifier: Apache-2.0
"""What can be run: instance types with their true sizes, and the one image. Pure.

Sizes: Amazon EC2 instance types guide (general purpose, compute optimized, memory optimized, previous generation).
The image is this machine: its programs, read-only, with private /etc, /home, /root, /var, /opt and /srv.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cloudchamber.services.ec2 import devices

SSM_PREFIX = "/aws/service/ami-amazon-linux-latest/"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One instance type. `memory_mib` as DescribeInstanceTypes gives it."""

    name: str
    vcpus: int
    memory_mib: int
    architecture: str = "x86_64"
    threads_per_core: int = 2
    current: bool = True
    hypervisor: str = "nitro"

    @property
    def burstable(self) -> bool:
        """Whether it has CPU credits on AWS."""
        return self.name.startswith("t")


_BURST = {
    "nano": (2, 512),
    "micro": (2, 1024),
    "small": (2, 2048),
    "medium": (2, 4096),
    "large": (2, 8192),
    "xlarge": (4, 16384),
    "2xlarge": (8, 32768),
}
_SIZES = {
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
    "24xlarge": 96,
}
_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8}


def _table() -> dict[str, InstanceType]:
    found = [
        InstanceType("m1.small", 1, 1740, "x86_64", 1, False, "xen"),
        InstanceType("t1.micro", 1, 627, "x86_64", 1, False, "xen"),
        InstanceType("m1.medium", 1, 3840, "x86_64", 1, False, "xen"),
        InstanceType("m1.large", 2, 7680, "x86_64", 1, False, "xen"),
        InstanceType("m1.xlarge", 4, 15360, "x86_64", 1, False, "xen"),
        InstanceType("m3.medium", 1, 3840, "x86_64", 1, False, "xen"),
        InstanceType("m3.large", 2, 7680, "x86_64", 2, False, "xen"),
        InstanceType("m3.xlarge", 4, 15360, "x86_64", 2, False, "xen"),
        InstanceType("m3.2xlarge", 8, 30720, "x86_64", 2, False, "xen"),
        InstanceType("m4.large", 2, 8192, "x86_64", 2, True, "xen"),
        InstanceType("m4.xlarge", 4, 16384, "x86_64", 2, True, "xen"),
        InstanceType("m4.2xlarge", 8, 32768, "x86_64", 2, True, "xen"),
        InstanceType("m4.4xlarge", 16, 65536, "x86_64", 2, True, "xen"),
        InstanceType("m4.10xlarge", 40, 163840, "x86_64", 2, True, "xen"),
        InstanceType("m4.16xlarge", 64, 262144, "x86_64", 2, True, "xen"),
        InstanceType("t2.nano", 1, 512, "x86_64", 1, True, "xen"),
        InstanceType("t2.micro", 1, 1024, "x86_64", 1, True, "xen"),
        InstanceType("t2.small", 1, 2048, "x86_64", 1, True, "xen"),
        InstanceType("t2.medium", 2, 4096, "x86_64", 1, True, "xen"),
        InstanceType("t2.large", 2, 8192, "x86_64", 1, True, "xen"),
        InstanceType("t2.xlarge", 4, 16384, "x86_64", 1, True, "xen"),
        InstanceType("t2.2xlarge", 8, 32768, "x86_64", 1, True, "xen"),
    ]
    for family in ("t3", "t3a", "t4g"):
        arm = family.endswith("g")
        found += [
            InstanceType(f"{family}.{size}", vcpus, mib, "arm64" if arm else "x86_64", 1 if arm else 2)
            for size, (vcpus, mib) in _BURST.items()
        ]
    for family in ("c5", "c6i", "c7i", "m5", "m6i", "m7i", "r5", "r6i", "r7i"):
        for size, vcpus in _SIZES.items():
            if family == "c5" and size in ("8xlarge", "16xlarge"):
                continue
            found.append(InstanceType(f"{family}.{size}", vcpus, vcpus * _GIB_PER_VCPU[family[0]] * 1024))
    found += [InstanceType("c5.9xlarge", 36, 73728), InstanceType("c5.18xlarge", 72, 147456)]
    for family in ("c6g", "c7g", "m6g", "m7g", "r6g", "r7g"):
        for size, vcpus in {"medium": 1, **_SIZES}.items():
            if size != "24xlarge":
                mib = vcpus * _GIB_PER_VCPU[family[0]] * 1024
                found.append(InstanceType(f"{family}.{size}", vcpus, mib, "arm64", 1))
    return {one.name: one for one in found}


TYPES = _table()


def architecture(machine: str) -> str:
    """AWS's name of an architecture, from the machine's (`uname -m`)."""
    return "arm64" if machine.lower() in ("aarch64", "arm64") else "x86_64"


@dataclass(frozen=True, slots=True)
class Image:
    """One AMI."""

    id: str
    name: str
    description: str
    architecture: str
    created: str = "2026-11-01T00:00:00.000Z"


DISKS = (devices.Disk("/dev/xvda", 8, "gp3", 3000, 125),)
"""The volumes of an instance of these images."""


def images(arch: str) -> list[Image]:
    """The images that this machine can run. Their ids do not depend on the machine."""
    return [
        Image(
            "ami-0" + hashlib.sha256(f"cloudchamber/al2023/{arch}".encode()).hexdigest()[:16],
            f"al2023-ami-cloudchamber-kernel-6.1-{arch}",
            "cloudchamber: this machine's own programs in a sandbox (stands where Amazon Linux 2023 does)",
            arch,
        )
    ]


def parameters(arch: str) -> dict[str, str]:
    """SSM public parameters -> AMI id, for the architecture of this machine."""
    image = images(arch)[0].id
    kinds = (
        "al2023-ami-kernel-6.1",
        "al2023-ami-kernel-default",
        "al2023-ami-minimal-kernel-6.1",
        "al2023-ami-minimal-kernel-default",
    )
    return {f"{SSM_PREFIX}{kind}-{arch}": image for kind in kinds}

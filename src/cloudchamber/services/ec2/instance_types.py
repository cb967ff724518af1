# SPDX-License-Identifier: Apache-2.0
"""Instance types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, errors, needs
from cloudchamber.services.ec2.checks import (
    many,
    page,
    same,
    select,
    takes,
    with_token,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


def _type(kind: catalog.InstanceType) -> dict[str, Any]:
    return {
        "InstanceType": kind.name,
        "CurrentGeneration": kind.current,
        "FreeTierEligible": kind.name in ("t2.micro", "t3.micro"),
        "SupportedUsageClasses": ["on-demand"],
        "SupportedRootDeviceTypes": ["ebs"],
        "SupportedVirtualizationTypes": ["hvm"],
        "BareMetal": False,
        "Hypervisor": kind.hypervisor,
        "ProcessorInfo": {"SupportedArchitectures": [kind.architecture]},
        "VCpuInfo": {
            "DefaultVCpus": kind.vcpus,
            "DefaultCores": max(1, kind.vcpus // kind.threads_per_core),
            "DefaultThreadsPerCore": kind.threads_per_core,
        },
        "MemoryInfo": {"SizeInMiB": kind.memory_mib},
        "InstanceStorageSupported": False,
        "HibernationSupported": False,
        "BurstablePerformanceSupported": kind.burstable,
        "DedicatedHostsSupported": False,
        "AutoRecoverySupported": False,
    }


@operation("DescribeInstanceTypes", needs=needs.look("DescribeInstanceTypes"))
@takes("InstanceTypes", "Filters", "MaxResults", "NextToken")
async def describe_instance_types(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of instance types; those of another architecture are listed and cannot be launched here.

    Source: Amazon EC2 API Reference, DescribeInstanceTypes.
    """
    given = many(request, "InstanceTypes")
    missing = [one for one in given if one not in catalog.TYPES]
    if missing:
        raise errors.InvalidInstanceType(f"The following supplied instance types do not exist: [{', '.join(missing)}]")
    rows = [_type(kind) for name, kind in sorted(catalog.TYPES.items()) if not given or name in given]
    paths = {
        "instance-type": "InstanceType",
        "current-generation": "CurrentGeneration",
        "free-tier-eligible": "FreeTierEligible",
        "bare-metal": "BareMetal",
        "hypervisor": "Hypervisor",
        "burstable-performance-supported": "BurstablePerformanceSupported",
        "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures",
        "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus",
        "vcpu-info.default-cores": "VCpuInfo.DefaultCores",
        "vcpu-info.default-threads-per-core": "VCpuInfo.DefaultThreadsPerCore",
        "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
        "supported-root-device-type": "SupportedRootDeviceTypes",
        "supported-virtualization-type": "SupportedVirtualizationTypes",
    }
    chosen, token = page(
        select(rows, request.get("Filters"), paths, same), request, lambda row: row["InstanceType"], most=100
    )
    return with_token({"InstanceTypes": chosen}, token)

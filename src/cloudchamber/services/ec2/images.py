# SPDX-License-Identifier: Apache-2.0
"""What can be launched: images and instance types."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, errors, needs
from cloudchamber.services.ec2.checks import many, page, select, takes, with_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

AMAZON = "137112412989"
"""The account that owns Amazon Linux images on AWS."""


def _same(view: dict[str, Any]) -> Mapping[str, Any]:
    return view


def _image(image: catalog.Image, region: str) -> dict[str, Any]:
    return {
        "ImageId": image.id,
        "ImageLocation": f"amazon/{image.name}",
        "ImageOwnerAlias": "amazon",
        "OwnerId": AMAZON,
        "Name": image.name,
        "Description": image.description,
        "Architecture": image.architecture,
        "CreationDate": image.created,
        "ImageType": "machine",
        "Public": True,
        "State": "available",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "BlockDeviceMappings": [],
        "EnaSupport": True,
        "Hypervisor": "xen",
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "ImdsSupport": "v2.0",
        "Tags": [],
    }


@operation("DescribeImages", needs=needs.look("DescribeImages"))
@takes(
    "ImageIds",
    "Owners",
    "ExecutableUsers",
    "IncludeDeprecated",
    "IncludeDisabled",
    "MaxResults",
    "NextToken",
    "Filters",
)
async def describe_images(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List what can be launched here: this machine, as one image.

    Source: Amazon EC2 API Reference, DescribeImages.
    """
    rows = [_image(image, call.region) for image in catalog.images(catalog.architecture(platform.machine()))]
    for one in many(request, "ImageIds"):
        if not one.startswith("ami-"):
            raise errors.InvalidAMIIDMalformed(f'Invalid id: "{one}" (expecting "ami-...")')
        if one not in {row["ImageId"] for row in rows}:
            raise errors.InvalidAMIIDNotFound(f"The image id '[{one}]' does not exist")
    if request.get("ImageIds"):
        rows = [row for row in rows if row["ImageId"] in request["ImageIds"]]
    owners = many(request, "Owners")
    if owners and not {"amazon", AMAZON} & set(owners):
        rows = []
    if request.get("ExecutableUsers") and "all" not in request["ExecutableUsers"]:
        rows = []
    paths = {
        "architecture": "Architecture",
        "description": "Description",
        "hypervisor": "Hypervisor",
        "image-id": "ImageId",
        "image-type": "ImageType",
        "is-public": "Public",
        "name": "Name",
        "owner-alias": "ImageOwnerAlias",
        "owner-id": "OwnerId",
        "root-device-name": "RootDeviceName",
        "root-device-type": "RootDeviceType",
        "state": "State",
        "virtualization-type": "VirtualizationType",
        "ena-support": "EnaSupport",
        "creation-date": "CreationDate",
        "platform-details": "PlatformDetails",
    }
    rows, token = page(select(rows, request.get("Filters"), paths, _same), request, lambda row: row["ImageId"])
    return with_token({"Images": rows}, token)


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
        "memory-info.size-in-mib": "MemoryInfo.SizeInMiB",
        "supported-root-device-type": "SupportedRootDeviceTypes",
        "supported-virtualization-type": "SupportedVirtualizationTypes",
    }
    chosen, token = page(
        select(rows, request.get("Filters"), paths, _same), request, lambda row: row["InstanceType"], most=100
    )
    return with_token({"InstanceTypes": chosen}, token)

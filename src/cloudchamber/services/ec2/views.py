# SPDX-License-Identifier: Apache-2.0
"""Rows as AWS shows them: pure, from what was read in one look at the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import catalog, disks, lifecycle, names, nets, tables
from cloudchamber.services.ec2.checks import tag_list, tagged
from cloudchamber.services.ec2.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a region found."""

    instances: list[tables.Instance]
    groups: Mapping[str, tables.Group]
    tags: Mapping[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    elastic: Mapping[str, nets.Address] = field(default_factory=dict[str, nets.Address])
    """Elastic IP addresses by the instance that has them."""
    named: frozenset[str] = frozenset()
    """VPCs that give public names."""
    volumes: Mapping[str, list[disks.Volume]] = field(default_factory=dict[str, list[disks.Volume]])
    """Volumes by the instance that they are attached to, its root first."""


@dataclass(frozen=True, slots=True)
class Public:
    """How the world sees an instance; `name` is empty where its VPC gives none."""

    address: str
    name: str
    owner: str
    allocation_id: str = ""
    association_id: str = ""

    def association(self) -> dict[str, str]:
        """`Association` of a network interface."""
        shown = {"IpOwnerId": self.owner, "PublicDnsName": self.name, "PublicIp": self.address}
        if self.allocation_id:
            shown |= {"AllocationId": self.allocation_id, "AssociationId": self.association_id}
        return shown


def public(row: tables.Instance, seen: Seen) -> Public | None:
    """The instance's public side: its Elastic IP address, or while it runs the one that it was launched with."""
    name = names.public_dns(row.id) if row.vpc_id in seen.named else ""
    elastic = seen.elastic.get(row.id)
    if elastic is not None and row.state != "terminated":
        return Public(elastic.ip, name, elastic.account, elastic.id, elastic.association_id)
    if row.public_ip and row.state in ("pending", "running"):
        return Public(row.public_ip, name, "amazon")
    return None


def region(db: tables.Reader, account: str, name: str, now_s: float) -> Seen:
    """Look at a region."""
    tags: dict[str, dict[str, str]] = {}
    for resource, key, value in tables.tags_of_all(db, account, name):
        tags.setdefault(resource, {})[key] = value
    groups = {g.id: g for g in tables.groups(db, account, name)}
    elastic = {one.instance_id: one for one in nets.listed(db, nets.Address, account, name) if one.instance_id}
    vpcs = nets.listed(db, nets.Vpc, account, name)
    named = frozenset(one.id for one in vpcs if one.dns_hostnames and one.dns_support)
    volumes = disks.by_instance(db, account, name)
    return Seen(tables.instances(db, account, name, now_s), groups, tags, elastic, named, volumes)


def block_devices(row: tables.Instance, seen: Seen) -> list[dict[str, Any]]:
    """`BlockDeviceMappings` of an instance."""
    if row.state == "terminated":
        return []
    return [
        {
            "DeviceName": one.device,
            "Ebs": {
                "VolumeId": one.id,
                "Status": one.attachment,
                "AttachTime": moment(one.attached),
                "DeleteOnTermination": bool(one.delete_on_termination),
            },
        }
        for one in seen.volumes.get(row.id, ())
    ]


def group_ids(row: tables.Instance, seen: Seen) -> list[dict[str, str]]:
    """`SecurityGroups` of an instance."""
    return [{"GroupId": g, "GroupName": seen.groups[g].name if g in seen.groups else ""} for g in row.groups]


def reservation(row: tables.Instance) -> dict[str, Any]:
    """The reservation around instances, without them."""
    return {"ReservationId": row.reservation_id, "OwnerId": row.account, "Groups": [], "Instances": []}


def instance(row: tables.Instance, seen: Seen) -> dict[str, Any]:
    """One `Instance`."""
    kind = catalog.TYPES[row.type]
    alive = row.state != "terminated"
    outside = public(row, seen)
    view: dict[str, Any] = {
        "InstanceId": row.id,
        "ImageId": row.image_id,
        "State": lifecycle.view(row.state),
        "PrivateDnsName": names.private_dns(row.private_ip, row.region) if alive else "",
        "PublicDnsName": outside.name if outside is not None else "",
        "StateTransitionReason": row.transition,
        "AmiLaunchIndex": row.launch_index,
        "ProductCodes": [],
        "InstanceType": row.type,
        "LaunchTime": moment(row.started_at),
        "Placement": {"AvailabilityZone": row.zone, "GroupName": "", "Tenancy": "default"},
        "Monitoring": {"State": "disabled"},
        "Architecture": kind.architecture,
        "BlockDeviceMappings": block_devices(row, seen),
        "ClientToken": row.client_token,
        "EbsOptimized": row.ebs_optimized,
        "EnaSupport": True,
        "Hypervisor": "xen",
        "NetworkInterfaces": [_interface(row, seen)] if alive else [],
        "RootDeviceName": "/dev/xvda",
        "RootDeviceType": "ebs",
        "SecurityGroups": group_ids(row, seen) if alive else [],
        "VirtualizationType": "hvm",
        "CpuOptions": {
            "CoreCount": max(1, kind.vcpus // kind.threads_per_core),
            "ThreadsPerCore": kind.threads_per_core,
        },
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "HibernationOptions": {"Configured": False},
        "MetadataOptions": metadata_options(row),
        "EnclaveOptions": {"Enabled": False},
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "UsageOperationUpdateTime": moment(row.launched_at),
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "MaintenanceOptions": {"AutoRecovery": row.auto_recovery},
    }
    if alive:
        view |= {
            "SubnetId": row.subnet_id,
            "VpcId": row.vpc_id,
            "PrivateIpAddress": row.private_ip,
            "SourceDestCheck": True,
        }
    if outside is not None:
        view["PublicIpAddress"] = outside.address
    if row.key_name:
        view["KeyName"] = row.key_name
    if row.profile_arn and alive:
        view["IamInstanceProfile"] = {"Arn": row.profile_arn, "Id": row.profile_id}
    if row.reason_code:
        view["StateReason"] = {"Code": row.reason_code, "Message": row.reason}
    return tagged(view, seen.tags.get(row.id, {}))


def metadata_options(row: tables.Instance) -> dict[str, Any]:
    """`MetadataOptions` of an instance."""
    return {
        "State": "applied",
        "HttpTokens": row.http_tokens,
        "HttpPutResponseHopLimit": row.hop_limit,
        "HttpEndpoint": row.http_endpoint,
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": row.metadata_tags,
    }


def _attachment(row: tables.Instance) -> dict[str, Any]:
    return {
        "AttachTime": moment(row.launched_at),
        "AttachmentId": "eni-attach-" + row.eni_id.removeprefix("eni-"),
        "DeleteOnTermination": True,
        "DeviceIndex": 0,
        "NetworkCardIndex": 0,
        "Status": "attached",
    }


def _interface(row: tables.Instance, seen: Seen) -> dict[str, Any]:
    dns = names.private_dns(row.private_ip, row.region)
    view: dict[str, Any] = {
        "Attachment": _attachment(row),
        "Description": row.interface_description,
        "Groups": group_ids(row, seen),
        "Ipv6Addresses": [],
        "MacAddress": names.mac(row.private_ip),
        "NetworkInterfaceId": row.eni_id,
        "OwnerId": row.account,
        "PrivateDnsName": dns,
        "PrivateIpAddress": row.private_ip,
        "PrivateIpAddresses": [{"Primary": True, "PrivateDnsName": dns, "PrivateIpAddress": row.private_ip}],
        "SourceDestCheck": True,
        "Status": "in-use",
        "SubnetId": row.subnet_id,
        "VpcId": row.vpc_id,
        "InterfaceType": "interface",
    }
    outside = public(row, seen)
    if outside is not None:
        view["Association"] = outside.association()
        view["PrivateIpAddresses"][0]["Association"] = outside.association()
    return view


def network_interface(row: tables.Instance, seen: Seen) -> dict[str, Any]:
    """One `NetworkInterface` of DescribeNetworkInterfaces: the primary one of an instance."""
    view = _interface(row, seen)
    view["Attachment"] = {**_attachment(row), "InstanceId": row.id, "InstanceOwnerId": row.account}
    view |= {"AvailabilityZone": row.zone, "RequesterManaged": False, "TagSet": tag_list(seen.tags.get(row.eni_id, {}))}
    return view

# SPDX-License-Identifier: Apache-2.0
"""Condition keys that a request or a resource fills, and ARNs.

Source: Service Authorization Reference, Condition keys for Amazon EC2.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import disks, names, nets, tables
from cloudchamber.services.ec2.checks import inner, many

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Request = Mapping[str, Any]

_KINDS = {
    "i": "instance",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "vpc": "vpc",
    "subnet": "subnet",
    "eni": "network-interface",
    "ami": "image",
    "vol": "volume",
    "snap": "snapshot",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "nat": "natgateway",
    "eipalloc": "elastic-ip",
    "acl": "network-acl",
    "dopt": "dhcp-options",
    "lt": "launch-template",
}


def resource_arn(call: Call, identifier: str) -> str:
    """ARN of a resource by the prefix of its id."""
    kind = _KINDS.get(identifier.partition("-")[0])
    if kind is None:
        return "*"
    return names.arn(kind, identifier, call.region, call.account)


def about(call: Call, identifier: str) -> dict[str, ContextValue]:
    """Condition keys that an existing resource fills; its tags are filled where the decision is made."""
    context: dict[str, ContextValue] = {"ec2:Region": call.region}
    kind = _KINDS.get(identifier.partition("-")[0])
    if kind == "instance":
        row = call.doors.database.read(lambda db: tables.instance(db, identifier))
        context["ec2:InstanceID"] = identifier
        if row is not None:
            context.update(_instance_keys(row.type, row.zone, row.http_tokens, row.http_endpoint, row.hop_limit))
            if row.profile_arn:
                context["ec2:InstanceProfile"] = row.profile_arn
    elif kind == "network-interface":
        row = next((one for one in call.doors.database.read(tables.all_instances) if one.eni_id == identifier), None)
        context["ec2:NetworkInterfaceID"] = identifier
        if row is not None:
            context.update(placed(call, row.subnet_id, row.zone))
    else:
        context.update(_of_network(call, kind or "", identifier))
    return context


_ID_KEYS = {
    "route-table": "ec2:RouteTableID",
    "internet-gateway": "ec2:InternetGatewayID",
    "elastic-ip": "ec2:AllocationId",
    "vpc": "ec2:VpcID",
}


def _of_network(call: Call, kind: str, identifier: str) -> dict[str, ContextValue]:
    """Keys of parts of a network, and of images."""
    database = call.doors.database
    keys: dict[str, ContextValue] = {_ID_KEYS[kind]: identifier} if kind in _ID_KEYS else {}
    if kind == "security-group":
        group = database.read(lambda db: tables.group(db, identifier))
        return {"ec2:SecurityGroupID": identifier, "ec2:Vpc": vpc_arn(call, group.vpc_id if group is not None else "")}
    if kind == "vpc":
        return {**keys, "ec2:Tenancy": "default"}
    if kind == "subnet":
        subnet = database.read(lambda db: nets.find(db, nets.Subnet, identifier))
        keys = {"ec2:SubnetID": identifier, "ec2:Vpc": vpc_arn(call, subnet.vpc_id if subnet is not None else "")}
        return {**keys, "ec2:AvailabilityZone": subnet.zone} if subnet is not None else keys
    if kind == "route-table":
        table = database.read(lambda db: nets.find(db, nets.RouteTable, identifier))
        return {**keys, "ec2:Vpc": vpc_arn(call, table.vpc_id)} if table is not None else keys
    if kind == "elastic-ip":
        address = database.read(lambda db: nets.find(db, nets.Address, identifier))
        return {**keys, "ec2:PublicIpAddress": address.ip, "ec2:Domain": "vpc"} if address is not None else keys
    if kind in ("volume", "snapshot", "image"):
        return of_disk(call, kind, identifier)
    return keys


def of_disk(call: Call, kind: str, identifier: str) -> dict[str, ContextValue]:
    """Keys of volumes, snapshots and images."""
    if kind == "image":
        image = call.doors.database.read(lambda db: disks.find(db, disks.Image, identifier))
        return _image_keys(identifier, image)
    if kind == "volume":
        volume = call.doors.database.read(lambda db: disks.find(db, disks.Volume, identifier))
        keys: dict[str, ContextValue] = {"ec2:VolumeID": identifier, "ec2:Encrypted": "false"}
        return {**keys, **_volume_keys(call, volume)} if volume is not None else keys
    snapshot = call.doors.database.read(lambda db: disks.find(db, disks.Snapshot, identifier))
    keys = {"ec2:SnapshotID": identifier}
    if snapshot is None:
        return keys
    parent = names.arn("volume", snapshot.volume_id, snapshot.region, snapshot.account)
    return {
        **keys,
        "ec2:Owner": snapshot.account,
        "ec2:ParentVolume": parent,
        "ec2:VolumeSize": str(snapshot.size_gib),
        "ec2:SnapshotTime": tables.moment(snapshot.started).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _volume_keys(call: Call, row: disks.Volume) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {
        "ec2:AvailabilityZone": row.zone,
        "ec2:VolumeSize": str(row.size_gib),
        "ec2:VolumeType": row.type,
    }
    if row.iops:
        keys["ec2:VolumeIops"] = str(row.iops)
    if row.throughput:
        keys["ec2:VolumeThroughput"] = str(row.throughput)
    if row.snapshot_id:
        keys["ec2:ParentSnapshot"] = names.arn("snapshot", row.snapshot_id, row.region, call.account)
    return keys


def vpc_arn(call: Call, vpc_id: str = "") -> str:
    """ARN of a VPC, or of the default one."""
    return names.arn("vpc", vpc_id or names.vpc_id(call.account, call.region), call.region, call.account)


def placed(call: Call, subnet_id: str, zone: str) -> dict[str, ContextValue]:
    """Keys of a network interface: where it lies."""
    subnet = call.doors.database.read(lambda db: nets.find(db, nets.Subnet, subnet_id)) if subnet_id else None
    keys: dict[str, ContextValue] = {"ec2:Vpc": vpc_arn(call, subnet.vpc_id if subnet is not None else "")}
    if subnet_id:
        keys["ec2:Subnet"] = names.arn("subnet", subnet_id, call.region, call.account)
    if zone:
        keys["ec2:AvailabilityZone"] = zone
    return keys


def _image_keys(identifier: str, row: disks.Image | None) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {
        "ec2:ImageType": "machine",
        "ec2:Owner": row.account if row is not None else "amazon",
        "ec2:Public": "true" if row is None or disks.ALL in json.loads(row.shared) else "false",
        "ec2:RootDeviceType": "ebs",
    }
    return {**keys, "ec2:ImageID": identifier} if identifier != "*" else keys


def _instance_keys(
    kind: str, zone: str, http_tokens: str, http_endpoint: str, hop_limit: int
) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {
        "ec2:InstanceType": kind,
        "ec2:MetadataHttpTokens": http_tokens,
        "ec2:MetadataHttpEndpoint": http_endpoint,
        "ec2:MetadataHttpPutResponseHopLimit": str(hop_limit),
        "ec2:Tenancy": "default",
        "ec2:RootDeviceType": "ebs",
        "ec2:EbsOptimized": "false",
    }
    if zone:
        keys["ec2:AvailabilityZone"] = zone
    return keys


def request_tags(request: Request, kind: str) -> dict[str, ContextValue]:
    """`aws:RequestTag/...` and `aws:TagKeys` of the tags that a request puts on a new resource."""
    for one in many(request, "TagSpecifications"):
        if one.get("ResourceType") == kind:
            return tag_context(many(one, "Tags"))
    return {}


def tag_context(tags: Iterable[Mapping[str, Any]]) -> dict[str, ContextValue]:
    """Condition keys of tags in a request."""
    context: dict[str, ContextValue] = {}
    keys: list[str] = []
    for tag in tags:
        key = str(tag.get("Key") or "")
        keys.append(key)
        if tag.get("Value") is not None:
            context[f"aws:RequestTag/{key}"] = str(tag["Value"])
    if keys:
        context["aws:TagKeys"] = tuple(keys)
    return context


def launched(call: Call, request: Request, profile: Mapping[str, Any]) -> dict[str, ContextValue]:
    """Keys of an instance that is to be made."""
    options = inner(request, "MetadataOptions")
    keys = _instance_keys(
        request.get("InstanceType") or "m1.small",
        inner(request, "Placement").get("AvailabilityZone") or "",
        options.get("HttpTokens") or "required",
        options.get("HttpEndpoint") or "enabled",
        options.get("HttpPutResponseHopLimit") or 2,
    )
    keys["ec2:InstanceMetadataTags"] = options.get("InstanceMetadataTags") or "disabled"
    keys["ec2:InstanceMarketType"] = inner(request, "InstanceMarketOptions").get("MarketType") or "on-demand"
    keys["ec2:Tenancy"] = inner(request, "Placement").get("Tenancy") or "default"
    name = profile.get("Arn") or profile.get("Name")
    if name:
        keys["ec2:InstanceProfile"] = profile_arn(call, name)
    return keys


def profile_arn(call: Call, name: str) -> str:
    """ARN of an instance profile that a request names by its name or ARN."""
    found = call.doors.identities.instance_profile(call.account, name)
    return found[0] if found else name


def asked_volume(given: Mapping[str, Any], zone: str, call: Call) -> dict[str, ContextValue]:
    """Keys of a volume that is to be made."""
    keys: dict[str, ContextValue] = {"ec2:Encrypted": str(bool(given.get("Encrypted"))).lower()}
    if zone:
        keys["ec2:AvailabilityZone"] = zone
    for key, *members in (
        ("ec2:VolumeSize", "VolumeSize", "Size"),
        ("ec2:VolumeType", "VolumeType"),
        ("ec2:VolumeIops", "Iops"),
        ("ec2:VolumeThroughput", "Throughput"),
    ):
        value = next((given[one] for one in members if given.get(one)), None)
        if value is not None:
            keys[key] = str(value)
    if given.get("SnapshotId"):
        keys["ec2:ParentSnapshot"] = names.arn("snapshot", given["SnapshotId"], call.region, call.account)
    return keys

# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow: actions, resources and condition keys.

Source: Service Authorization Reference, Actions, resources, and condition keys for Amazon EC2.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.ec2 import disks, errors, interfaces, names, nets, tables
from cloudchamber.services.ec2.checks import inner, many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]

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


def look(action: str) -> Needs:
    """An action on ``*``, without a resource type, as most Describe actions are."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"ec2:{action}", "*", {"ec2:Region": call.region})

    return needs


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
            context.update(_placed(call, row.subnet_id, row.zone))
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
        return {"ec2:SecurityGroupID": identifier, "ec2:Vpc": _vpc(call, group.vpc_id if group is not None else "")}
    if kind == "vpc":
        return {**keys, "ec2:Tenancy": "default"}
    if kind == "subnet":
        subnet = database.read(lambda db: nets.find(db, nets.Subnet, identifier))
        keys = {"ec2:SubnetID": identifier, "ec2:Vpc": _vpc(call, subnet.vpc_id if subnet is not None else "")}
        return {**keys, "ec2:AvailabilityZone": subnet.zone} if subnet is not None else keys
    if kind == "route-table":
        table = database.read(lambda db: nets.find(db, nets.RouteTable, identifier))
        return {**keys, "ec2:Vpc": _vpc(call, table.vpc_id)} if table is not None else keys
    if kind == "elastic-ip":
        address = database.read(lambda db: nets.find(db, nets.Address, identifier))
        return {**keys, "ec2:PublicIpAddress": address.ip, "ec2:Domain": "vpc"} if address is not None else keys
    if kind in ("volume", "snapshot", "image"):
        return _of_disk(call, kind, identifier)
    return keys


def _of_disk(call: Call, kind: str, identifier: str) -> dict[str, ContextValue]:
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


def _vpc(call: Call, vpc_id: str = "") -> str:
    """ARN of a VPC, or of the default one."""
    return names.arn("vpc", vpc_id or names.vpc_id(call.account, call.region), call.region, call.account)


def _placed(call: Call, subnet_id: str, zone: str) -> dict[str, ContextValue]:
    """Keys of a network interface: where it lies."""
    subnet = call.doors.database.read(lambda db: nets.find(db, nets.Subnet, subnet_id)) if subnet_id else None
    keys: dict[str, ContextValue] = {"ec2:Vpc": _vpc(call, subnet.vpc_id if subnet is not None else "")}
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


def modify(action: str) -> Needs:
    """An action that changes attributes of an instance: `ec2:Attribute` names them, `ec2:Attribute/NAME` says what to.

    Source: Amazon EC2 User Guide, "Example policies to control access the Amazon EC2 API", `ec2:Attribute`.
    """

    def needs(call: Call, request: Request) -> Iterable[Need]:
        keys = about(call, request["InstanceId"])
        changed = _changed(request)
        if changed:
            keys["ec2:Attribute"] = tuple(changed)
            keys.update({f"ec2:Attribute/{name}": value for name, value in changed.items()})
        yield Need(f"ec2:{action}", resource_arn(call, request["InstanceId"]), keys)
        for group in many(request, "Groups"):
            yield Need(f"ec2:{action}", resource_arn(call, group), about(call, group))

    return needs


def _changed(request: Request) -> dict[str, str]:
    """Attributes that a request sets, with their values as text; those that have no plain value are left out."""
    changed: dict[str, str] = {}
    if request.get("Attribute"):
        changed[request["Attribute"][:1].upper() + request["Attribute"][1:]] = str(request.get("Value") or "")
    for name, given in request.items():
        if name in ("InstanceId", "DryRun", "Attribute", "Value"):
            continue
        value: Any = cast("dict[str, Any]", given).get("Value") if isinstance(given, dict) else given
        if isinstance(value, bool):
            changed[name] = str(value).lower()
        elif isinstance(value, str | int):
            changed[name] = str(value)
    return changed


def modify_metadata_defaults(call: Call, request: Request) -> Iterable[Need]:
    """ModifyInstanceMetadataDefaults: with the values that it sets."""
    keys: dict[str, ContextValue] = {f"ec2:Attribute/{name}": value for name, value in _changed(request).items()}
    yield Need("ec2:ModifyInstanceMetadataDefaults", "*", {"ec2:Region": call.region, **keys})


def on(action: str, *members: str) -> Needs:
    """An action on each resource that the request names in `members`."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        for member in members:
            value: Any = request.get(member) or []
            named = cast("list[str]", value if isinstance(value, list) else [value])
            for one in named:
                yield Need(f"ec2:{action}", resource_arn(call, one), about(call, one))

    return needs


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


def _create_tags(call: Call, request: Request, action: str, *kinds: str) -> Iterable[Need]:
    for kind in kinds:
        context = request_tags(request, kind)
        if context:
            arn = names.arn(kind, "*", call.region, call.account)
            yield Need("ec2:CreateTags", arn, {**context, "ec2:CreateAction": action, "ec2:Region": call.region})


def pass_roles(call: Call, profile: Mapping[str, Any], instance: str) -> Iterable[Need]:
    """`iam:PassRole` for each role of an instance profile that `instance` (an ARN) is to have."""
    name = profile.get("Arn") or profile.get("Name")
    if name:
        for role in call.doors.identities.profile_roles(call.account, name):
            yield Need(
                "iam:PassRole",
                role,
                {"iam:PassedToService": "ec2.amazonaws.com", "iam:AssociatedResourceArn": instance},
            )


def on_template(action: str) -> Needs:
    """An action on a launch template that is named by id or name."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"ec2:{action}", _template_arn(call, request), {"ec2:Region": call.region})

    return needs


def _template_arn(call: Call, named: Mapping[str, Any]) -> str:
    found = named.get("LaunchTemplateId")
    if not found and named.get("LaunchTemplateName"):
        row = call.doors.database.read(
            lambda db: db.execute(
                "SELECT id FROM ec2_launch_templates WHERE account = ? AND region = ? AND name = ?",
                (call.account, call.region, named["LaunchTemplateName"]),
            ).fetchone()
        )
        found = row[0] if row is not None else ""
    return names.arn("launch-template", found or "*", call.region, call.account)


def run_instances(call: Call, request: Request) -> Iterable[Need]:
    """RunInstances: on everything that the launch uses or makes."""
    region, account = call.region, call.account
    template = inner(request, "LaunchTemplate")
    if template:
        from cloudchamber.services.ec2 import templates  # Why here: its operations say their needs by this module

        yield Need("ec2:RunInstances", _template_arn(call, template), {"ec2:Region": region})
        with contextlib.suppress(errors.Ec2Error):  # Why: the operation itself says what is wrong with it
            request = templates.merged(call, request)

    def need(kind: str, identifier: str, context: Mapping[str, ContextValue]) -> Need:
        return Need("ec2:RunInstances", names.arn(kind, identifier, region, account), {"ec2:Region": region, **context})

    image = request.get("ImageId") or "*"
    image = "*" if image.startswith("resolve:") else image  # Why: only the operation may read the parameter
    yield need("image", image, _of_disk(call, "image", image))
    for snapshot in _snapshots_in(request):
        yield need("snapshot", snapshot, _of_disk(call, "snapshot", snapshot))
    profile = inner(request, "IamInstanceProfile")
    yield need("instance", "*", {**_launched(call, request, profile), **request_tags(request, "instance")})
    interface = interfaces.primary(request)
    subnet = interface.subnet_id or "*"
    placed = about(call, subnet) if subnet != "*" else {"ec2:Vpc": _vpc(call)}
    zone = str(placed.get("ec2:AvailabilityZone") or inner(request, "Placement").get("AvailabilityZone") or "")
    placement = _placed(call, subnet if subnet != "*" else "", zone)
    if interface.public is not None:
        placement["ec2:AssociatePublicIpAddress"] = str(interface.public).lower()
    yield need("network-interface", "*", {**placement, **request_tags(request, "network-interface")})
    for disk in many(request, "BlockDeviceMappings") or [{}]:
        keys = _asked_volume(inner(disk, "Ebs"), zone, call)
        yield need("volume", "*", {**keys, **request_tags(request, "volume")})
    yield need("subnet", subnet, placed)
    groups = [*interface.group_ids, *(group_id(call, name) or "*" for name in interface.group_names)]
    for group in groups or [names.default_group_id(account, region)]:
        yield need("security-group", group, about(call, group) if group != "*" else {"ec2:Vpc": _vpc(call)})
    if request.get("KeyName"):
        yield need("key-pair", request["KeyName"], {"ec2:KeyPairName": request["KeyName"]})
    yield from pass_roles(call, profile, names.arn("instance", "*", region, account))
    yield from _create_tags(call, request, "RunInstances", "instance", "network-interface", "volume")


def _launched(call: Call, request: Request, profile: Mapping[str, Any]) -> dict[str, ContextValue]:
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
        keys["ec2:InstanceProfile"] = _profile_arn(call, name)
    return keys


def _profile_arn(call: Call, name: str) -> str:
    found = call.doors.identities.instance_profile(call.account, name)
    return found[0] if found else name


def _asked_volume(given: Mapping[str, Any], zone: str, call: Call) -> dict[str, ContextValue]:
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


def _snapshots_in(request: Request) -> list[str]:
    """Snapshots that block device mappings name."""
    found = (inner(one, "Ebs").get("SnapshotId") for one in many(request, "BlockDeviceMappings"))
    return [str(one) for one in found if one]


def create_volume(call: Call, request: Request) -> Iterable[Need]:
    """CreateVolume: on the new volume, and on the snapshot that it is made of."""
    keys = _asked_volume(request, request.get("AvailabilityZone") or "", call)
    context = {"ec2:Region": call.region, **keys, **request_tags(request, "volume")}
    yield Need("ec2:CreateVolume", names.arn("volume", "*", call.region, call.account), context)
    for need in on("CreateVolume", "SnapshotId")(call, request):
        yield Need(need.action, need.resource, {k: v for k, v in need.context.items() if k != "ec2:SnapshotID"})
    yield from _create_tags(call, request, "CreateVolume", "volume")


def detach_volume(call: Call, request: Request) -> Iterable[Need]:
    """DetachVolume: on the volume, and on the instance that has it."""
    yield from on("DetachVolume", "VolumeId")(call, request)
    volume = call.doors.database.read(lambda db: disks.find(db, disks.Volume, request["VolumeId"]))
    instance = request.get("InstanceId") or (volume.instance_id if volume is not None else "")
    if instance:
        yield Need("ec2:DetachVolume", resource_arn(call, instance), about(call, instance))


def create_snapshot(call: Call, request: Request) -> Iterable[Need]:
    """CreateSnapshot: on the new snapshot and its volume."""
    yield from _new_snapshot(call, request, "CreateSnapshot", [request["VolumeId"]])
    yield from on("CreateSnapshot", "VolumeId")(call, request)


def _new_snapshot(call: Call, request: Request, action: str, volumes: Iterable[str]) -> Iterable[Need]:
    for volume in volumes:
        context = {
            "ec2:Region": call.region,
            "ec2:ParentVolume": names.arn("volume", volume, call.region, call.account),
            **request_tags(request, "snapshot"),
        }
        if request.get("OutpostArn"):
            context["ec2:OutpostArn"] = str(request["OutpostArn"])
        yield Need(f"ec2:{action}", names.arn("snapshot", "*", call.region, call.account), context)
    yield from _create_tags(call, request, action, "snapshot")


def create_snapshots(call: Call, request: Request) -> Iterable[Need]:
    """CreateSnapshots: on the instance, its volumes, and the new snapshots."""
    instance = inner(request, "InstanceSpecification").get("InstanceId") or "*"
    yield Need("ec2:CreateSnapshots", resource_arn(call, instance), about(call, instance))
    rows = call.doors.database.read(lambda db: disks.of_instance(db, instance))
    for row in rows:
        yield Need("ec2:CreateSnapshots", resource_arn(call, row.id), about(call, row.id))
    yield from _new_snapshot(call, request, "CreateSnapshots", [row.id for row in rows] or ["*"])


def copy_snapshot(call: Call, request: Request) -> Iterable[Need]:
    """CopySnapshot: on the new snapshot."""
    context = {"ec2:Region": call.region, **request_tags(request, "snapshot")}
    yield Need("ec2:CopySnapshot", names.arn("snapshot", "*", call.region, call.account), context)
    yield from _create_tags(call, request, "CopySnapshot", "snapshot")


def create_image(call: Call, request: Request) -> Iterable[Need]:
    """CreateImage: on the instance, the new image and its snapshots."""
    yield from on("CreateImage", "InstanceId")(call, request)
    for kind in ("image", "snapshot"):
        context = {"ec2:Region": call.region, **request_tags(request, kind)}
        yield Need("ec2:CreateImage", names.arn(kind, "*", call.region, call.account), context)
    yield from _create_tags(call, request, "CreateImage", "image", "snapshot")


def register_image(call: Call, request: Request) -> Iterable[Need]:
    """RegisterImage: on the new image and on its snapshots."""
    context = {"ec2:Region": call.region, **request_tags(request, "image")}
    yield Need("ec2:RegisterImage", names.arn("image", "*", call.region, call.account), context)
    for snapshot in _snapshots_in(request):
        yield Need("ec2:RegisterImage", resource_arn(call, snapshot), about(call, snapshot))
    yield from _create_tags(call, request, "RegisterImage", "image")


def copy_image(call: Call, request: Request) -> Iterable[Need]:
    """CopyImage: on the new image and its snapshots, and on the image that is copied."""
    for kind in ("image", "snapshot"):
        context = {"ec2:Region": call.region, **request_tags(request, kind)}
        yield Need("ec2:CopyImage", names.arn(kind, "*", call.region, call.account), context)
    source = request.get("SourceImageId") or "*"
    arn = names.arn("image", source, request.get("SourceRegion") or call.region, "")
    known = {"ec2:Region", "ec2:ImageID", "ec2:Owner"}
    yield Need("ec2:CopyImage", arn, {k: v for k, v in about(call, source).items() if k in known})
    yield from _create_tags(call, request, "CopyImage", "image", "snapshot")


def group_id(call: Call, name: str) -> str:
    """Id of a group by name; empty if there is none."""
    found = call.doors.database.read(lambda db: tables.group_named(db, names.vpc_id(call.account, call.region), name))
    return found.id if found else ""


def create(action: str, kind: str, within: str = "") -> Needs:
    """An action that makes a resource, in a VPC that the member `within` names; and CreateTags for its tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = {"ec2:Region": call.region, **request_tags(request, kind)}
        yield Need(f"ec2:{action}", names.arn(kind, "*", call.region, call.account), context)
        if within:
            vpc = request.get(within) or "*"
            yield Need(f"ec2:{action}", names.arn("vpc", vpc, call.region, call.account), about(call, vpc))
        yield from _create_tags(call, request, action, kind)

    return needs


def create_key(action: str) -> Needs:
    """An action that makes a key pair: on the key pair of that name; and CreateTags for its tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = {
            "ec2:Region": call.region,
            **request_tags(request, "key-pair"),
        }
        if request.get("KeyType"):
            context["ec2:KeyPairType"] = request["KeyType"]
        yield Need(f"ec2:{action}", names.arn("key-pair", request["KeyName"], call.region, call.account), context)
        for need in _create_tags(call, request, action, "key-pair"):
            yield Need(need.action, need.resource, {**need.context, "ec2:KeyPairName": request["KeyName"]})

    return needs


def delete_key(call: Call, request: Request) -> Iterable[Need]:
    """DeleteKeyPair: on the key pair, which its ARN says by name."""

    def look(db: tables.Reader) -> tuple[str, str]:
        row = db.execute(
            "SELECT name, type FROM ec2_key_pairs WHERE account = ? AND region = ? AND (name = ? OR id = ?)",
            (call.account, call.region, request.get("KeyName"), request.get("KeyPairId")),
        ).fetchone()
        return (row[0], row[1]) if row is not None else (request.get("KeyName") or "*", "")

    name, kind = call.doors.database.read(look)
    context: dict[str, ContextValue] = {"ec2:Region": call.region, "ec2:KeyPairName": name}
    if kind:
        context["ec2:KeyPairType"] = kind
    yield Need("ec2:DeleteKeyPair", names.arn("key-pair", name, call.region, call.account), context)


def create_nat_gateway(call: Call, request: Request) -> Iterable[Need]:
    """CreateNatGateway: on the new gateway, its subnet and its address."""
    yield from create("CreateNatGateway", "natgateway")(call, request)
    yield from on("CreateNatGateway", "SubnetId", "AllocationId")(call, request)


def route_association(action: str) -> Needs:
    """An action on the route tables of an association, and on its subnet."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        found = call.doors.database.read(lambda db: nets.association(db, request.get("AssociationId") or ""))
        named = [found.table_id, found.subnet_id] if found is not None else []
        for one in [*named, request.get("RouteTableId") or ""]:
            if one:
                yield Need(f"ec2:{action}", resource_arn(call, one), about(call, one))
        if found is None:
            arn = names.arn("route-table", "*", call.region, call.account)
            yield Need(f"ec2:{action}", arn, {"ec2:Region": call.region})

    return needs


def on_address(action: str) -> Needs:
    """An action on an Elastic IP address that is named by its allocation, its association or itself."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        given = {request.get(name) for name in ("AllocationId", "PublicIp", "AssociationId")} - {None, ""}
        rows = call.doors.database.read(lambda db: nets.listed(db, nets.Address, call.account, call.region))
        found = next((row.id for row in rows if given & {row.id, row.ip, row.association_id}), "*")
        arn = names.arn("elastic-ip", found, call.region, call.account)
        yield Need(f"ec2:{action}", arn, about(call, found))

    return needs


def associate_address(call: Call, request: Request) -> Iterable[Need]:
    """AssociateAddress: on the address and on the instance or the interface that gets it."""
    yield from on_address("AssociateAddress")(call, request)
    yield from on("AssociateAddress", "InstanceId", "NetworkInterfaceId")(call, request)


def disassociate_address(call: Call, request: Request) -> Iterable[Need]:
    """DisassociateAddress: on the address."""
    yield from on_address("DisassociateAddress")(call, request)


def group(action: str) -> Needs:
    """An action on a security group that is named by id or name."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        found = request.get("GroupId") or group_id(call, request.get("GroupName") or "") or "*"
        yield Need(f"ec2:{action}", names.arn("security-group", found, call.region, call.account), about(call, found))
        if action.startswith("Authorize"):
            tags = request_tags(request, "security-group-rule")
            if tags:
                rule = names.arn("security-group-rule", "*", call.region, call.account)
                yield Need(f"ec2:{action}", rule, {"ec2:Region": call.region, **tags})
            yield from _create_tags(call, request, action, "security-group-rule")

    return needs


def modify_rules(call: Call, request: Request) -> Iterable[Need]:
    """ModifySecurityGroupRules: on the group and on each of the rules."""
    yield from group("ModifySecurityGroupRules")(call, request)
    for one in many(request, "SecurityGroupRules"):
        rule = one.get("SecurityGroupRuleId") or "*"
        arn = names.arn("security-group-rule", rule, call.region, call.account)
        yield Need("ec2:ModifySecurityGroupRules", arn, about(call, rule))


def create_group(call: Call, request: Request) -> Iterable[Need]:
    """CreateSecurityGroup: on the new group and its VPC."""
    region, account = call.region, call.account
    context: dict[str, ContextValue] = {"ec2:Region": region, **request_tags(request, "security-group")}
    vpc = request.get("VpcId") or names.vpc_id(account, region)
    yield Need("ec2:CreateSecurityGroup", names.arn("security-group", "*", region, account), context)
    yield Need("ec2:CreateSecurityGroup", names.arn("vpc", vpc, region, account), about(call, vpc))
    yield from _create_tags(call, request, "CreateSecurityGroup", "security-group")


def tags(action: str) -> Needs:
    """CreateTags and DeleteTags: on each resource, with the tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = tag_context(many(request, "Tags"))
        for one in many(request, "Resources"):
            keys = about(call, one) if action == "CreateTags" else {"ec2:Region": call.region}
            yield Need(f"ec2:{action}", resource_arn(call, one), {**keys, **context})

    return needs


def associate(call: Call, request: Request) -> Iterable[Need]:
    """AssociateIamInstanceProfile: on the instance, and PassRole."""
    yield from _give_profile(call, request, "AssociateIamInstanceProfile", request["InstanceId"])


def association(action: str) -> Needs:
    """An action on the instance of an association, and PassRole for a new profile."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        wanted = request.get("AssociationId") or ""
        rows = call.doors.database.read(lambda db: tables.instances(db, call.account, call.region))
        found = [row.id for row in rows if row.association_id == wanted]
        yield from _give_profile(call, request, action, found[0] if found else "")

    return needs


def _give_profile(call: Call, request: Request, action: str, instance: str) -> Iterable[Need]:
    where = names.arn("instance", instance or "*", call.region, call.account)
    keys = about(call, instance) if instance else {"ec2:Region": call.region}
    profile = inner(request, "IamInstanceProfile")
    name = profile.get("Arn") or profile.get("Name")
    if name:
        keys["ec2:NewInstanceProfile"] = _profile_arn(call, name)
    yield Need(f"ec2:{action}", where, keys)
    yield from pass_roles(call, profile, where)

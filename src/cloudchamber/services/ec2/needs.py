# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow: actions, resources and condition keys.

Source: Service Authorization Reference, Actions, resources, and condition keys for Amazon EC2.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.ec2 import conditions, disks, errors, interfaces, names, nets, tables, template_rows
from cloudchamber.services.ec2.checks import inner, many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]


def look(action: str) -> Needs:
    """An action on ``*``, without a resource type, as most Describe actions are."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"ec2:{action}", "*", {"ec2:Region": call.region})

    return needs


def modify(action: str) -> Needs:
    """An action that changes attributes of an instance: `ec2:Attribute` names them, `ec2:Attribute/NAME` says what to.

    Source: Amazon EC2 User Guide, "Example policies to control access the Amazon EC2 API", `ec2:Attribute`.
    """

    def needs(call: Call, request: Request) -> Iterable[Need]:
        keys = conditions.about(call, request["InstanceId"])
        changed = _changed(request)
        if changed:
            keys["ec2:Attribute"] = tuple(changed)
            keys.update({f"ec2:Attribute/{name}": value for name, value in changed.items()})
        yield Need(f"ec2:{action}", conditions.resource_arn(call, request["InstanceId"]), keys)
        for group in many(request, "Groups"):
            yield Need(f"ec2:{action}", conditions.resource_arn(call, group), conditions.about(call, group))

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
                yield Need(f"ec2:{action}", conditions.resource_arn(call, one), conditions.about(call, one))

    return needs


def _create_tags(call: Call, request: Request, action: str, *kinds: str) -> Iterable[Need]:
    for kind in kinds:
        context = conditions.request_tags(request, kind)
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
        yield Need("ec2:RunInstances", _template_arn(call, template), {"ec2:Region": region})
        with contextlib.suppress(errors.Ec2Error):  # Why: the operation itself says what is wrong with it
            request = template_rows.merged(call, request)

    def need(kind: str, identifier: str, context: Mapping[str, ContextValue]) -> Need:
        return Need("ec2:RunInstances", names.arn(kind, identifier, region, account), {"ec2:Region": region, **context})

    image = request.get("ImageId") or "*"
    image = "*" if image.startswith("resolve:") else image  # Why: only the operation may read the parameter
    yield need("image", image, conditions.of_disk(call, "image", image))
    for snapshot in _snapshots_in(request):
        yield need("snapshot", snapshot, conditions.of_disk(call, "snapshot", snapshot))
    profile = inner(request, "IamInstanceProfile")
    yield need(
        "instance", "*", {**conditions.launched(call, request, profile), **conditions.request_tags(request, "instance")}
    )
    interface = interfaces.primary(request)
    subnet = interface.subnet_id or "*"
    placed = conditions.about(call, subnet) if subnet != "*" else {"ec2:Vpc": conditions.vpc_arn(call)}
    zone = str(placed.get("ec2:AvailabilityZone") or inner(request, "Placement").get("AvailabilityZone") or "")
    placement = conditions.placed(call, subnet if subnet != "*" else "", zone)
    if interface.public is not None:
        placement["ec2:AssociatePublicIpAddress"] = str(interface.public).lower()
    yield need("network-interface", "*", {**placement, **conditions.request_tags(request, "network-interface")})
    for disk in many(request, "BlockDeviceMappings") or [{}]:
        keys = conditions.asked_volume(inner(disk, "Ebs"), zone, call)
        yield need("volume", "*", {**keys, **conditions.request_tags(request, "volume")})
    yield need("subnet", subnet, placed)
    groups = [*interface.group_ids, *(group_id(call, name) or "*" for name in interface.group_names)]
    for group in groups or [names.default_group_id(account, region)]:
        yield need(
            "security-group",
            group,
            conditions.about(call, group) if group != "*" else {"ec2:Vpc": conditions.vpc_arn(call)},
        )
    if request.get("KeyName"):
        yield need("key-pair", request["KeyName"], {"ec2:KeyPairName": request["KeyName"]})
    yield from pass_roles(call, profile, names.arn("instance", "*", region, account))
    yield from _create_tags(call, request, "RunInstances", "instance", "network-interface", "volume")


def _snapshots_in(request: Request) -> list[str]:
    """Snapshots that block device mappings name."""
    found = (inner(one, "Ebs").get("SnapshotId") for one in many(request, "BlockDeviceMappings"))
    return [str(one) for one in found if one]


def create_volume(call: Call, request: Request) -> Iterable[Need]:
    """CreateVolume: on the new volume, and on the snapshot that it is made of."""
    keys = conditions.asked_volume(request, request.get("AvailabilityZone") or "", call)
    context = {"ec2:Region": call.region, **keys, **conditions.request_tags(request, "volume")}
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
        yield Need("ec2:DetachVolume", conditions.resource_arn(call, instance), conditions.about(call, instance))


def create_snapshot(call: Call, request: Request) -> Iterable[Need]:
    """CreateSnapshot: on the new snapshot and its volume."""
    yield from _new_snapshot(call, request, "CreateSnapshot", [request["VolumeId"]])
    yield from on("CreateSnapshot", "VolumeId")(call, request)


def _new_snapshot(call: Call, request: Request, action: str, volumes: Iterable[str]) -> Iterable[Need]:
    for volume in volumes:
        context = {
            "ec2:Region": call.region,
            "ec2:ParentVolume": names.arn("volume", volume, call.region, call.account),
            **conditions.request_tags(request, "snapshot"),
        }
        if request.get("OutpostArn"):
            context["ec2:OutpostArn"] = str(request["OutpostArn"])
        yield Need(f"ec2:{action}", names.arn("snapshot", "*", call.region, call.account), context)
    yield from _create_tags(call, request, action, "snapshot")


def create_snapshots(call: Call, request: Request) -> Iterable[Need]:
    """CreateSnapshots: on the instance, its volumes, and the new snapshots."""
    instance = inner(request, "InstanceSpecification").get("InstanceId") or "*"
    yield Need("ec2:CreateSnapshots", conditions.resource_arn(call, instance), conditions.about(call, instance))
    rows = call.doors.database.read(lambda db: disks.of_instance(db, instance))
    for row in rows:
        yield Need("ec2:CreateSnapshots", conditions.resource_arn(call, row.id), conditions.about(call, row.id))
    yield from _new_snapshot(call, request, "CreateSnapshots", [row.id for row in rows] or ["*"])


def copy_snapshot(call: Call, request: Request) -> Iterable[Need]:
    """CopySnapshot: on the new snapshot."""
    context = {"ec2:Region": call.region, **conditions.request_tags(request, "snapshot")}
    yield Need("ec2:CopySnapshot", names.arn("snapshot", "*", call.region, call.account), context)
    yield from _create_tags(call, request, "CopySnapshot", "snapshot")


def create_image(call: Call, request: Request) -> Iterable[Need]:
    """CreateImage: on the instance, the new image and its snapshots."""
    yield from on("CreateImage", "InstanceId")(call, request)
    for kind in ("image", "snapshot"):
        context = {"ec2:Region": call.region, **conditions.request_tags(request, kind)}
        yield Need("ec2:CreateImage", names.arn(kind, "*", call.region, call.account), context)
    yield from _create_tags(call, request, "CreateImage", "image", "snapshot")


def register_image(call: Call, request: Request) -> Iterable[Need]:
    """RegisterImage: on the new image and on its snapshots."""
    context = {"ec2:Region": call.region, **conditions.request_tags(request, "image")}
    yield Need("ec2:RegisterImage", names.arn("image", "*", call.region, call.account), context)
    for snapshot in _snapshots_in(request):
        yield Need("ec2:RegisterImage", conditions.resource_arn(call, snapshot), conditions.about(call, snapshot))
    yield from _create_tags(call, request, "RegisterImage", "image")


def copy_image(call: Call, request: Request) -> Iterable[Need]:
    """CopyImage: on the new image and its snapshots, and on the image that is copied."""
    for kind in ("image", "snapshot"):
        context = {"ec2:Region": call.region, **conditions.request_tags(request, kind)}
        yield Need("ec2:CopyImage", names.arn(kind, "*", call.region, call.account), context)
    source = request.get("SourceImageId") or "*"
    arn = names.arn("image", source, request.get("SourceRegion") or call.region, "")
    known = {"ec2:Region", "ec2:ImageID", "ec2:Owner"}
    yield Need("ec2:CopyImage", arn, {k: v for k, v in conditions.about(call, source).items() if k in known})
    yield from _create_tags(call, request, "CopyImage", "image", "snapshot")


def group_id(call: Call, name: str) -> str:
    """Id of a group by name; empty if there is none."""
    found = call.doors.database.read(lambda db: tables.group_named(db, names.vpc_id(call.account, call.region), name))
    return found.id if found else ""


def create(action: str, kind: str, within: str = "") -> Needs:
    """An action that makes a resource, in a VPC that the member `within` names; and CreateTags for its tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = {"ec2:Region": call.region, **conditions.request_tags(request, kind)}
        yield Need(f"ec2:{action}", names.arn(kind, "*", call.region, call.account), context)
        if within:
            vpc = request.get(within) or "*"
            yield Need(f"ec2:{action}", names.arn("vpc", vpc, call.region, call.account), conditions.about(call, vpc))
        yield from _create_tags(call, request, action, kind)

    return needs


def create_key(action: str) -> Needs:
    """An action that makes a key pair: on the key pair of that name; and CreateTags for its tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = {
            "ec2:Region": call.region,
            **conditions.request_tags(request, "key-pair"),
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
                yield Need(f"ec2:{action}", conditions.resource_arn(call, one), conditions.about(call, one))
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
        yield Need(f"ec2:{action}", arn, conditions.about(call, found))

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
        yield Need(
            f"ec2:{action}",
            names.arn("security-group", found, call.region, call.account),
            conditions.about(call, found),
        )
        if action.startswith("Authorize"):
            tags = conditions.request_tags(request, "security-group-rule")
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
        yield Need("ec2:ModifySecurityGroupRules", arn, conditions.about(call, rule))


def create_group(call: Call, request: Request) -> Iterable[Need]:
    """CreateSecurityGroup: on the new group and its VPC."""
    region, account = call.region, call.account
    context: dict[str, ContextValue] = {"ec2:Region": region, **conditions.request_tags(request, "security-group")}
    vpc = request.get("VpcId") or names.vpc_id(account, region)
    yield Need("ec2:CreateSecurityGroup", names.arn("security-group", "*", region, account), context)
    yield Need("ec2:CreateSecurityGroup", names.arn("vpc", vpc, region, account), conditions.about(call, vpc))
    yield from _create_tags(call, request, "CreateSecurityGroup", "security-group")


def tags(action: str) -> Needs:
    """CreateTags and DeleteTags: on each resource, with the tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = conditions.tag_context(many(request, "Tags"))
        for one in many(request, "Resources"):
            keys = conditions.about(call, one) if action == "CreateTags" else {"ec2:Region": call.region}
            yield Need(f"ec2:{action}", conditions.resource_arn(call, one), {**keys, **context})

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
    keys = conditions.about(call, instance) if instance else {"ec2:Region": call.region}
    profile = inner(request, "IamInstanceProfile")
    name = profile.get("Arn") or profile.get("Name")
    if name:
        keys["ec2:NewInstanceProfile"] = conditions.profile_arn(call, name)
    yield Need(f"ec2:{action}", where, keys)
    yield from pass_roles(call, profile, where)

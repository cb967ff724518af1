# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow: actions, resources and condition keys.

Source: Service Authorization Reference, Actions, resources, and condition keys for Amazon EC2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.ec2 import names, tables
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
}


def resource_arn(call: Call, identifier: str) -> str:
    """ARN of a resource by the prefix of its id."""
    kind = _KINDS.get(identifier.partition("-")[0])
    return names.arn(kind, identifier, call.region, call.account) if kind else "*"


def look(action: str) -> Needs:
    """A Describe action: on ``*``, without a resource type."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"ec2:{action}", "*", {"ec2:Region": call.region})

    return needs


def about(call: Call, identifier: str) -> dict[str, ContextValue]:
    """Condition keys that an existing resource fills."""
    context: dict[str, ContextValue] = {"ec2:Region": call.region}

    def read(db: tables.Reader) -> tuple[tables.Instance | None, dict[str, str]]:
        return tables.instance(db, identifier), tables.tags(db, identifier)

    row, tags = call.doors.database.read(read)
    context.update({f"ec2:ResourceTag/{key}": value for key, value in tags.items()})
    if row is not None:
        context.update(_instance_keys(row.type, row.zone, row.http_tokens))
        if row.profile_arn:
            context["ec2:InstanceProfile"] = row.profile_arn
    return context


def _instance_keys(kind: str, zone: str, http_tokens: str) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {
        "ec2:InstanceType": kind,
        "ec2:MetadataHttpTokens": http_tokens,
        "ec2:Tenancy": "default",
        "ec2:RootDeviceType": "ebs",
        "ec2:EbsOptimized": "false",
    }
    if zone:
        keys["ec2:AvailabilityZone"] = zone
    return keys


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


def pass_roles(call: Call, profile: Mapping[str, Any]) -> Iterable[Need]:
    """`iam:PassRole` for each role of an instance profile."""
    name = profile.get("Arn") or profile.get("Name")
    if name:
        for role in call.doors.identities.profile_roles(call.account, name):
            yield Need("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})


def run_instances(call: Call, request: Request) -> Iterable[Need]:
    """RunInstances: on everything that the launch uses or makes."""
    region, account = call.region, call.account
    shared: dict[str, ContextValue] = {
        "ec2:Region": region,
        "ec2:Vpc": names.arn("vpc", names.vpc_id(account, region), region, account),
    }
    options = inner(request, "MetadataOptions")
    keys = _instance_keys(
        request.get("InstanceType") or "m1.small",
        inner(request, "Placement").get("AvailabilityZone") or "",
        options.get("HttpTokens") or "required",
    )
    profile = inner(request, "IamInstanceProfile")
    name = profile.get("Arn") or profile.get("Name")
    if name:
        found = call.doors.identities.instance_profile(account, name)
        keys["ec2:InstanceProfile"] = found[0] if found else name

    def need(kind: str, identifier: str, context: Mapping[str, ContextValue]) -> Need:
        return Need("ec2:RunInstances", names.arn(kind, identifier, region, account), {**shared, **context})

    image = request.get("ImageId") or "*"
    yield Need(
        "ec2:RunInstances",
        f"arn:aws:ec2:{region}::image/{image}",
        {"ec2:Region": region, "ec2:Owner": "amazon", "ec2:Public": "true"},
    )
    yield need("instance", "*", {**keys, **request_tags(request, "instance")})
    yield need("network-interface", "*", request_tags(request, "network-interface"))
    yield need("volume", "*", request_tags(request, "volume"))
    yield need("subnet", request.get("SubnetId") or "*", {})
    groups = list(many(request, "SecurityGroupIds")) + [
        group_id(call, name) or "*" for name in many(request, "SecurityGroups")
    ]
    for group in groups or [names.default_group_id(account, region)]:
        yield need("security-group", group, {f"ec2:ResourceTag/{k}": v for k, v in _tags(call, group).items()})
    if request.get("KeyName"):
        yield need("key-pair", request["KeyName"], {})
    yield from pass_roles(call, profile)
    yield from _create_tags(call, request, "RunInstances", "instance", "network-interface", "volume")


def _tags(call: Call, identifier: str) -> dict[str, str]:
    return call.doors.database.read(lambda db: tables.tags(db, identifier))


def group_id(call: Call, name: str) -> str:
    """Id of a group by name; empty if there is none."""
    found = call.doors.database.read(lambda db: tables.group_named(db, call.account, call.region, name))
    return found.id if found else ""


def group(action: str) -> Needs:
    """An action on a security group that is named by id or name."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        found = request.get("GroupId") or group_id(call, request.get("GroupName") or "") or "*"
        yield Need(f"ec2:{action}", names.arn("security-group", found, call.region, call.account), about(call, found))
        yield from _create_tags(call, request, action, "security-group-rule")

    return needs


def create_group(call: Call, request: Request) -> Iterable[Need]:
    """CreateSecurityGroup: on the new group and its VPC."""
    region, account = call.region, call.account
    context = {"ec2:Region": region, **request_tags(request, "security-group")}
    vpc = request.get("VpcId") or names.vpc_id(account, region)
    yield Need("ec2:CreateSecurityGroup", names.arn("security-group", "*", region, account), context)
    yield Need("ec2:CreateSecurityGroup", names.arn("vpc", vpc, region, account), {"ec2:Region": region})
    yield from _create_tags(call, request, "CreateSecurityGroup", "security-group")


def tags(action: str) -> Needs:
    """CreateTags and DeleteTags: on each resource, with the tags."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        context = tag_context(many(request, "Tags"))
        for one in many(request, "Resources"):
            yield Need(f"ec2:{action}", resource_arn(call, one), {**about(call, one), **context})

    return needs


def associate(call: Call, request: Request) -> Iterable[Need]:
    """AssociateIamInstanceProfile: on the instance, and PassRole."""
    yield from on("AssociateIamInstanceProfile", "InstanceId")(call, request)
    yield from pass_roles(call, inner(request, "IamInstanceProfile"))


def association(action: str) -> Needs:
    """An action on the instance of an association, and PassRole for a new profile."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        wanted = request.get("AssociationId") or ""
        rows = call.doors.database.read(lambda db: tables.instances(db, call.account, call.region))
        found = [row.id for row in rows if row.association_id == wanted]
        yield Need(
            f"ec2:{action}",
            names.arn("instance", found[0] if found else "*", call.region, call.account),
            about(call, found[0]) if found else {"ec2:Region": call.region},
        )
        yield from pass_roles(call, inner(request, "IamInstanceProfile"))

    return needs

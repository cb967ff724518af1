# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's EC2 resource types.

Source: CloudFormation Template Reference, AWS::EC2::Instance, SecurityGroup, SecurityGroupIngress, SecurityGroupEgress.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import inner, many

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.resource import Agent, Properties

_POLL_S = 0.05
_RUNNING_WITHIN_S = 120.0
TAG = {"Key": Property(required=True), "Value": Property(required=True)}


def tags_of(agent: Agent, given: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Tags of a resource in a template, with those of its stack."""
    tags = {**agent.stack_tags, **{tag["Key"]: str(tag["Value"]) for tag in given}}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


async def retag(agent: Agent, physical_id: str, old: Properties, new: Properties) -> None:
    """Change the tags of a resource from those of the old template to those of the new one."""
    before, after = tags_of(agent, many(old, "Tags")), tags_of(agent, many(new, "Tags"))
    kept = {tag["Key"] for tag in after}
    gone = [{"Key": tag["Key"]} for tag in before if tag["Key"] not in kept]
    if gone:
        await agent.ask("ec2", "DeleteTags", {"Resources": [physical_id], "Tags": gone})
    if after != before and after:
        await agent.ask("ec2", "CreateTags", {"Resources": [physical_id], "Tags": after})


# AWS::EC2::Instance


async def _instance(agent: Agent, instance_id: str) -> dict[str, Any]:
    answer = await agent.ask("ec2", "DescribeInstances", {"InstanceIds": [instance_id]})
    return answer["Reservations"][0]["Instances"][0]


async def _until(agent: Agent, instance_id: str, *states: str) -> dict[str, Any]:
    """Wait for a state.

    Raises:
        IncorrectInstanceState: it came to rest in another one, or did not get there in time.
    """
    ends = agent.clock.monotonic() + _RUNNING_WITHIN_S
    while True:
        view = await _instance(agent, instance_id)
        state = view["State"]["Name"]
        if state in states:
            return view
        if state not in ("pending", "stopping", "shutting-down", "running") or agent.clock.monotonic() > ends:
            why = inner(view, "StateReason").get("Message", "")
            raise errors.IncorrectInstanceState(
                f"Instance {instance_id} did not stabilize: it is {state}. {why}".strip()
            )
        await asyncio.sleep(_POLL_S)


def _made(view: Mapping[str, Any]) -> Made:
    return Made(
        view["InstanceId"],
        {
            "InstanceId": view["InstanceId"],
            "PrivateIp": view["PrivateIpAddress"],
            "PublicIp": view.get("PublicIpAddress", ""),
            "PrivateDnsName": view["PrivateDnsName"],
            "PublicDnsName": view["PublicDnsName"],
            "AvailabilityZone": view["Placement"]["AvailabilityZone"],
            "VpcId": view["VpcId"],
            "State.Code": str(view["State"]["Code"]),
            "State.Name": view["State"]["Name"],
        },
    )


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    hops = (
        {"HttpPutResponseHopLimit": int(given["HttpPutResponseHopLimit"])}
        if given.get("HttpPutResponseHopLimit")
        else {}
    )
    return {**given, **hops}


def _true(value: object) -> bool:
    return str(value).lower() == "true"


_INTERFACE = (
    "DeviceIndex",
    "SubnetId",
    "GroupSet",
    "PrivateIpAddress",
    "AssociatePublicIpAddress",
    "DeleteOnTermination",
    "Description",
)


_EBS = ("DeleteOnTermination", "Encrypted", "Iops", "KmsKeyId", "SnapshotId", "VolumeSize", "VolumeType")


def _device(given: Mapping[str, Any]) -> dict[str, Any]:
    """A block device of a template as RunInstances takes it."""
    shown: dict[str, Any] = {"DeviceName": str(given["DeviceName"])}
    if given.get("NoDevice") is not None:
        shown["NoDevice"] = ""
    if given.get("VirtualName"):
        shown["VirtualName"] = str(given["VirtualName"])
    ebs: dict[str, Any] = {}
    for name, value in inner(given, "Ebs").items():
        whole = name in ("Iops", "VolumeSize")
        ebs[name] = int(value) if whole else _true(value) if name in ("DeleteOnTermination", "Encrypted") else value
    return {**shown, "Ebs": ebs} if ebs else shown


async def _attach(agent: Agent, instance_id: str, given: Sequence[Mapping[str, Any]]) -> None:
    """Give the volumes of `Volumes` to a new instance, which waits for them."""
    for one in given:
        request = {"VolumeId": str(one["VolumeId"]), "InstanceId": instance_id, "Device": str(one["Device"])}
        await agent.ask("ec2", "AttachVolume", request)


def _interface(given: Mapping[str, Any]) -> dict[str, Any]:
    """A network interface of a template as RunInstances takes it."""
    shown: dict[str, Any] = {name: str(given[name]) for name in ("SubnetId", "PrivateIpAddress") if given.get(name)}
    shown["DeviceIndex"] = int(given.get("DeviceIndex") or 0)
    if given.get("GroupSet"):
        shown["Groups"] = list(given["GroupSet"])
    for name in ("AssociatePublicIpAddress", "DeleteOnTermination"):
        if given.get(name) is not None:
            shown[name] = _true(given[name])
    return shown


async def _create_instance(agent: Agent, given: Properties) -> Made:
    request: dict[str, Any] = {
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags_of(agent, many(given, "Tags"))}],
        # Why: a retry after a crash of the engine must find the instance of its first try.
        "ClientToken": hashlib.sha256(f"{agent.stack_id}/{agent.name()}".encode()).hexdigest(),
    }
    if not request["TagSpecifications"][0]["Tags"]:
        del request["TagSpecifications"]
    for name in (
        "ImageId",
        "InstanceType",
        "SubnetId",
        "UserData",
        "PrivateIpAddress",
        "InstanceInitiatedShutdownBehavior",
        "KeyName",
    ):
        if given.get(name):
            request[name] = str(given[name])
    for name in ("SecurityGroupIds", "SecurityGroups"):
        if given.get(name):
            request[name] = list(given[name])
    for name in ("DisableApiTermination", "DisableApiStop"):
        if given.get(name) is not None:
            request[name] = _true(given[name])
    if given.get("LaunchTemplate"):
        request["LaunchTemplate"] = {name: str(value) for name, value in given["LaunchTemplate"].items()}
    if given.get("NetworkInterfaces"):
        request["NetworkInterfaces"] = [_interface(one) for one in given["NetworkInterfaces"]]
    if given.get("BlockDeviceMappings"):
        request["BlockDeviceMappings"] = [_device(one) for one in given["BlockDeviceMappings"]]
    if given.get("EbsOptimized") is not None:
        request["EbsOptimized"] = _true(given["EbsOptimized"])
    if given.get("IamInstanceProfile"):
        request["IamInstanceProfile"] = {"Name": given["IamInstanceProfile"]}
    if given.get("AvailabilityZone"):
        request["Placement"] = {"AvailabilityZone": given["AvailabilityZone"]}
    if given.get("MetadataOptions"):
        request["MetadataOptions"] = _metadata(given["MetadataOptions"])
    answer = await agent.ask("ec2", "RunInstances", request)
    instance_id = answer["Instances"][0]["InstanceId"]
    agent.begun(instance_id)
    try:
        view = await _until(agent, instance_id, "running")
        await _attach(agent, instance_id, many(given, "Volumes"))
        return _made(view)
    except BaseException:
        with contextlib.suppress(ServiceError):
            await agent.ask("ec2", "TerminateInstances", {"InstanceIds": [instance_id]})
        raise


async def _update_instance(agent: Agent, instance_id: str, old: Properties, new: Properties) -> Made:
    """Change what changed; type and user data with a stop and a start, as on AWS (user data does not run again)."""

    def changed(name: str) -> bool:
        return old.get(name) != new.get(name)

    await retag(agent, instance_id, old, new)

    async def modify(**attribute: Any) -> None:
        await agent.ask("ec2", "ModifyInstanceAttribute", {"InstanceId": instance_id, **attribute})

    if changed("SecurityGroupIds") and new.get("SecurityGroupIds"):
        await modify(Groups=list(new["SecurityGroupIds"]))
    for name in ("DisableApiTermination", "DisableApiStop"):
        if changed(name):
            await modify(**{name: {"Value": _true(new.get(name))}})
    if changed("InstanceInitiatedShutdownBehavior"):
        await modify(
            InstanceInitiatedShutdownBehavior={"Value": new.get("InstanceInitiatedShutdownBehavior") or "stop"}
        )
    if changed("MetadataOptions"):
        options = {"HttpTokens": "required", "HttpEndpoint": "enabled", **_metadata(inner(new, "MetadataOptions"))}
        await agent.ask("ec2", "ModifyInstanceMetadataOptions", {"InstanceId": instance_id, **options})
    if changed("IamInstanceProfile"):
        await _change_profile(agent, instance_id, new.get("IamInstanceProfile") or "")
    if changed("InstanceType") or changed("UserData"):
        agent.progress("Requested update required the instance to be stopped and started")
        was = (await _instance(agent, instance_id))["State"]["Name"]
        if was != "stopped":
            await agent.ask("ec2", "StopInstances", {"InstanceIds": [instance_id]})
            await _until(agent, instance_id, "stopped")
        if changed("InstanceType"):
            await modify(InstanceType={"Value": new.get("InstanceType") or "m1.small"})
        if changed("UserData"):
            await modify(Attribute="userData", Value=str(new.get("UserData") or ""))
        await agent.ask("ec2", "StartInstances", {"InstanceIds": [instance_id]})
        return _made(await _until(agent, instance_id, "running"))
    return _made(await _instance(agent, instance_id))


async def _change_profile(agent: Agent, instance_id: str, profile: str) -> None:
    filters = [{"Name": "instance-id", "Values": [instance_id]}]
    answer = await agent.ask("ec2", "DescribeIamInstanceProfileAssociations", {"Filters": filters})
    have = [one["AssociationId"] for one in answer["IamInstanceProfileAssociations"]]
    wanted = {"IamInstanceProfile": {"Name": profile}}
    if have and profile:
        await agent.ask("ec2", "ReplaceIamInstanceProfileAssociation", {"AssociationId": have[0], **wanted})
    elif have:
        await agent.ask("ec2", "DisassociateIamInstanceProfile", {"AssociationId": have[0]})
    elif profile:
        await agent.ask("ec2", "AssociateIamInstanceProfile", {"InstanceId": instance_id, **wanted})


async def _delete_instance(agent: Agent, instance_id: str, given: Properties) -> None:
    try:
        await agent.ask("ec2", "TerminateInstances", {"InstanceIds": [instance_id]})
        await _until(agent, instance_id, "terminated")
    except errors.InvalidInstanceIDNotFound:
        return


# AWS::EC2::SecurityGroup and its rules


def _permission(rule: Properties, *, egress: bool) -> dict[str, Any]:
    """`IpPermissions` of one rule of a template."""
    permission: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    for name in ("FromPort", "ToPort"):
        if rule.get(name) is not None:
            permission[name] = int(rule[name])
    described = {"Description": str(rule["Description"])} if rule.get("Description") else {}
    other = "Destination" if egress else "Source"
    peers = [
        ("CidrIp", "IpRanges", "CidrIp"),
        ("CidrIpv6", "Ipv6Ranges", "CidrIpv6"),
        (f"{other}SecurityGroupId", "UserIdGroupPairs", "GroupId"),
        (f"{other}SecurityGroupName", "UserIdGroupPairs", "GroupName"),
    ]
    for name, member, key in peers:
        if rule.get(name):
            permission[member] = [{key: str(rule[name]), **described}]
            return permission
    raise errors.InvalidParameterValue(f"A rule must have one of CidrIp, CidrIpv6, {other}SecurityGroupId")


def _direction(egress: bool) -> str:
    return "Egress" if egress else "Ingress"


async def _rules(
    agent: Agent, verb: str, group_id: str, rules: Sequence[Properties], *, egress: bool
) -> dict[str, Any]:
    permissions = [_permission(rule, egress=egress) for rule in rules]
    return await agent.ask(
        "ec2", f"{verb}SecurityGroup{_direction(egress)}", {"GroupId": group_id, "IpPermissions": permissions}
    )


_OPEN: list[Properties] = [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}]
"""The egress rule that every new group has; a template's own egress rules stand in its place."""


async def _create_group(agent: Agent, given: Properties) -> Made:
    request: dict[str, Any] = {
        "GroupName": given.get("GroupName") or agent.name(255),
        "Description": given["GroupDescription"],
    }
    if given.get("VpcId"):
        request["VpcId"] = given["VpcId"]
    tags = tags_of(agent, many(given, "Tags"))
    if tags:
        request["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": tags}]
    group_id = (await agent.ask("ec2", "CreateSecurityGroup", request))["GroupId"]
    agent.begun(group_id)
    try:
        if given.get("SecurityGroupIngress"):
            await _rules(agent, "Authorize", group_id, given["SecurityGroupIngress"], egress=False)
        if given.get("SecurityGroupEgress"):
            await _rules(agent, "Revoke", group_id, _OPEN, egress=True)
            await _rules(agent, "Authorize", group_id, given["SecurityGroupEgress"], egress=True)
        return await _group_made(agent, group_id)
    except BaseException:
        with contextlib.suppress(ServiceError):
            await agent.ask("ec2", "DeleteSecurityGroup", {"GroupId": group_id})
        raise


async def _group_made(agent: Agent, group_id: str) -> Made:
    view = (await agent.ask("ec2", "DescribeSecurityGroups", {"GroupIds": [group_id]}))["SecurityGroups"][0]
    return Made(group_id, {"GroupId": group_id, "VpcId": view["VpcId"], "Id": group_id})


async def _update_group(agent: Agent, group_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, group_id, old, new)
    for egress in (False, True):
        name = f"SecurityGroup{_direction(egress)}"
        default = _OPEN if egress else []
        before, after = list(old.get(name) or default), list(new.get(name) or default)
        gone = [rule for rule in before if rule not in after]
        added = [rule for rule in after if rule not in before]
        if gone:
            with contextlib.suppress(errors.InvalidPermissionNotFound):
                await _rules(agent, "Revoke", group_id, gone, egress=egress)
        if added:
            await _rules(agent, "Authorize", group_id, added, egress=egress)
    return await _group_made(agent, group_id)


async def _delete_group(agent: Agent, group_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidGroupNotFound):
        await agent.ask("ec2", "DeleteSecurityGroup", {"GroupId": group_id})


def _rule_type(*, egress: bool) -> ResourceType:
    """AWS::EC2::SecurityGroupIngress or AWS::EC2::SecurityGroupEgress."""

    async def create(agent: Agent, given: Properties) -> Made:
        group_id = given.get("GroupId") or await _named(agent, given.get("GroupName") or "")
        answer = await _rules(agent, "Authorize", group_id, [given], egress=egress)
        rule_id = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        return Made(rule_id, {"Id": rule_id})

    async def update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
        group_id = new.get("GroupId") or await _named(agent, new.get("GroupName") or "")
        revoke = {"GroupId": group_id, "SecurityGroupRuleIds": [physical_id]}
        await agent.ask("ec2", f"RevokeSecurityGroup{_direction(egress)}", revoke)
        return await create(agent, new)

    async def delete(agent: Agent, physical_id: str, given: Properties) -> None:
        gone = (errors.InvalidGroupNotFound, errors.InvalidSecurityGroupRuleIdNotFound)
        with contextlib.suppress(*gone):
            group_id = given.get("GroupId") or await _named(agent, given.get("GroupName") or "")
            revoke = {"GroupId": group_id, "SecurityGroupRuleIds": [physical_id]}
            await agent.ask("ec2", f"RevokeSecurityGroup{_direction(egress)}", revoke)

    properties = {
        **_rule_shape(egress=egress, update="replace"),
        "GroupId": Property("replace"),
        "Description": Property("replace"),
    }
    if not egress:
        properties["GroupName"] = Property("replace")
    return ResourceType(f"AWS::EC2::SecurityGroup{_direction(egress)}", properties, create, delete, update, ("Id",))


async def _named(agent: Agent, name: str) -> str:
    answer = await agent.ask("ec2", "DescribeSecurityGroups", {"GroupNames": [name]})
    return answer["SecurityGroups"][0]["GroupId"]


def _rule_shape(*, egress: bool, update: Any = "in-place") -> dict[str, Property]:
    other = "Destination" if egress else "Source"
    names = ["FromPort", "ToPort", "CidrIp", "CidrIpv6", "Description", f"{other}SecurityGroupId"]
    if not egress:
        names += ["SourceSecurityGroupName"]
    return {"IpProtocol": Property(update, required=True), **{name: Property(update) for name in names}}


_INSTANCE = ResourceType(
    "AWS::EC2::Instance",
    {
        "ImageId": Property("replace"),
        "InstanceType": Property("interrupt"),
        "SubnetId": Property("replace"),
        "AvailabilityZone": Property("replace"),
        "PrivateIpAddress": Property("replace"),
        "KeyName": Property("replace"),
        "SecurityGroupIds": Property(),
        "SecurityGroups": Property("replace"),
        "LaunchTemplate": Property(
            "replace",
            shape={name: Property("replace") for name in ("LaunchTemplateId", "LaunchTemplateName", "Version")},
        ),
        "NetworkInterfaces": Property("replace", shape={name: Property("replace") for name in _INTERFACE}),
        "BlockDeviceMappings": Property(
            "replace",
            shape={
                "DeviceName": Property("replace", required=True),
                "Ebs": Property("replace", shape={name: Property("replace") for name in _EBS}),
                "NoDevice": Property("replace"),
                "VirtualName": Property("replace"),
            },
        ),
        "Volumes": Property(
            "replace", shape={name: Property("replace", required=True) for name in ("VolumeId", "Device")}
        ),
        "EbsOptimized": Property("replace"),
        "IamInstanceProfile": Property(),
        "UserData": Property("interrupt"),
        "MetadataOptions": Property(
            shape={
                name: Property()
                for name in (
                    "HttpTokens",
                    "HttpEndpoint",
                    "HttpPutResponseHopLimit",
                    "InstanceMetadataTags",
                    "HttpProtocolIpv6",
                )
            }
        ),
        "DisableApiTermination": Property(),
        "DisableApiStop": Property(),
        "InstanceInitiatedShutdownBehavior": Property(),
        "Tags": Property(shape=TAG),
    },
    _create_instance,
    _delete_instance,
    _update_instance,
    (
        "PrivateIp",
        "PublicIp",
        "PrivateDnsName",
        "PublicDnsName",
        "AvailabilityZone",
        "InstanceId",
        "VpcId",
        "State.Code",
        "State.Name",
    ),
)

_GROUP = ResourceType(
    "AWS::EC2::SecurityGroup",
    {
        "GroupDescription": Property("replace", required=True),
        "GroupName": Property("replace"),
        "VpcId": Property("replace"),
        "SecurityGroupIngress": Property(shape=_rule_shape(egress=False)),
        "SecurityGroupEgress": Property(shape=_rule_shape(egress=True)),
        "Tags": Property(shape=TAG),
    },
    _create_group,
    _delete_group,
    _update_group,
    ("GroupId", "VpcId", "Id"),
)

TYPES = (_INSTANCE, _GROUP, _rule_type(egress=False), _rule_type(egress=True))

# SPDX-License-Identifier: Apache-2.0
"""Security groups and their rules."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, names, needs, nets, permissions, tables
from cloudchamber.services.ec2.checks import many, page, select, specified_tags, tag_list, takes, with_token
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

RULES_MAX = 60
GROUPS_MAX = 2500
_FLAT = ("CidrIp", "FromPort", "ToPort", "IpProtocol", "SourceSecurityGroupName")


def find(db: Reader, call: Call, request: Mapping[str, Any]) -> tables.Group:
    """The group that a request names by id or name.

    Raises:
        InvalidGroup.NotFound, InvalidGroupId.Malformed, MissingParameter: there is none.
    """
    identifier, name = request.get("GroupId") or "", request.get("GroupName") or ""
    if identifier:
        if not names.GROUP_ID.fullmatch(identifier):
            raise errors.InvalidGroupIdMalformed(f'Invalid id: "{identifier}" (expecting "sg-...")')
        row = tables.group(db, identifier)
        if row is None or (row.account, row.region) != (call.account, call.region):
            raise errors.InvalidGroupNotFound(f"The security group '{identifier}' does not exist")
        return row
    if not name:
        raise errors.MissingParameter("The request must contain the parameter groupName or groupId")
    vpc = names.vpc_id(call.account, call.region)
    row = tables.group_named(db, vpc, name)
    if row is None:
        raise errors.InvalidGroupNotFound(f"The security group '{name}' does not exist in default VPC '{vpc}'")
    return row


def resolver(tx: Reader, call: Call, vpc_id: str) -> Callable[[Mapping[str, Any]], str]:
    """Gives the id of the group that a `UserIdGroupPairs` entry names, in the same VPC."""

    def resolve(pair: Mapping[str, Any]) -> str:
        if pair.get("UserId") and pair["UserId"] != call.account:
            raise errors.UnsupportedOperation(
                "Rules that refer to groups of another account are not supported by this EC2 endpoint."
            )
        found = find(tx, call, pair)
        if found.vpc_id != vpc_id:
            raise errors.InvalidGroupNotFound(
                f"You have specified two resources that belong to different networks: {found.id} is not in {vpc_id}."
            )
        return found.id

    return resolve


def _shown(db: Reader, row: tables.Group) -> dict[str, Any]:
    rules = tables.rules(db, row.id)
    return {
        "GroupId": row.id,
        "GroupName": row.name,
        "Description": row.description,
        "OwnerId": row.account,
        "VpcId": row.vpc_id,
        "SecurityGroupArn": names.arn("security-group", row.id, row.region, row.account),
        "IpPermissions": permissions.permissions([r for r in rules if not r.egress], row.account),
        "IpPermissionsEgress": permissions.permissions([r for r in rules if r.egress], row.account),
        "Tags": tag_list(tables.tags(db, row.id)),
    }


@operation("CreateSecurityGroup", needs=needs.create_group)
@takes("Description", "GroupName", "VpcId", "TagSpecifications")
async def create_security_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a group of a VPC that lets everything out and nothing in.

    Source: Amazon EC2 API Reference, CreateSecurityGroup.
    """
    name, description = request.get("GroupName") or "", request.get("Description") or ""
    vpc = request.get("VpcId") or names.vpc_id(call.account, call.region)
    _check_names(name, description)
    tags = specified_tags(request, "security-group").get("security-group", {})
    group_id, rule_id = ids.hex_id("sg"), ids.hex_id("sgr")

    def change(tx: Tx) -> None:
        nets.get(tx, nets.Vpc, call.account, call.region, vpc)
        if tables.group_named(tx, vpc, name):
            raise errors.InvalidGroupDuplicate(f"The security group '{name}' already exists for VPC '{vpc}'")
        tables.insert_group(tx, tables.Group(group_id, call.account, call.region, vpc, name, description))
        tables.insert_rule(tx, tables.Rule(rule_id, group_id, True, "-1", -1, -1, "0.0.0.0/0", ""))
        tables.put_tags(tx, call.account, call.region, group_id, tags)

    await call.doors.database.write(change)
    return {
        "GroupId": group_id,
        "Tags": tag_list(tags),
        "SecurityGroupArn": names.arn("security-group", group_id, call.region, call.account),
    }


def _check_names(name: str, description: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=&;{}!$*")
    for what, text in (("groupName", name), ("groupDescription", description)):
        if not text:
            raise errors.MissingParameter(f"The request must contain the parameter {what}")
        if len(text) > 255 or not set(text) <= allowed:
            raise errors.InvalidParameterValue(
                f"Value ({text[:64]}) for parameter {what} is invalid. Character sets beyond ASCII are not supported."
            )
    if name.startswith("sg-"):
        raise errors.InvalidParameterValue(
            f"Value ({name}) for parameter groupName is invalid. Group names may not be in the format sg-*."
        )
    if name == "default":
        raise errors.InvalidParameterValue("Cannot use reserved security group name: default")


@operation("DeleteSecurityGroup", needs=needs.group("DeleteSecurityGroup"))
@takes("GroupId", "GroupName")
async def delete_security_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a group that nothing uses and no other group refers to.

    Source: Amazon EC2 API Reference, DeleteSecurityGroup.
    """
    row = call.doors.database.read(lambda db: find(db, call, request))
    in_use = call.doors.part("ec2", Compute).used_elsewhere(row.id)

    def change(tx: Tx) -> str:
        row = find(tx, call, request)
        if row.name == "default":
            raise errors.CannotDelete(f'the specified group: "{row.id}" name: "default" cannot be deleted by a user')
        users = [one.id for one in tables.all_instances(tx) if row.id in one.groups]
        if users or in_use or tables.groups_that_name(tx, row.id):
            raise errors.DependencyViolation(f"resource {row.id} has a dependent object")
        tables.delete_group(tx, row.id)
        return row.id

    return {"Return": True, "GroupId": await call.doors.database.write(change)}


@operation("DescribeSecurityGroups", needs=needs.look("DescribeSecurityGroups"))
@takes("GroupIds", "GroupNames", "NextToken", "MaxResults", "Filters")
async def describe_security_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List groups with their rules.

    Source: Amazon EC2 API Reference, DescribeSecurityGroups.
    """

    def look(db: Reader) -> list[dict[str, Any]]:
        given = [find(db, call, {"GroupId": one}) for one in many(request, "GroupIds")]
        given += [find(db, call, {"GroupName": one}) for one in many(request, "GroupNames")]
        return [_shown(db, row) for row in given or tables.groups(db, call.account, call.region)]

    paths = {
        "description": "Description",
        "group-id": "GroupId",
        "group-name": "GroupName",
        "owner-id": "OwnerId",
        "vpc-id": "VpcId",
    }
    for prefix, member in (("", "IpPermissions"), ("egress.", "IpPermissionsEgress")):
        paths |= {
            f"{prefix}ip-permission.cidr": f"{member}.IpRanges.CidrIp",
            f"{prefix}ip-permission.ipv6-cidr": f"{member}.Ipv6Ranges.CidrIpv6",
            f"{prefix}ip-permission.from-port": f"{member}.FromPort",
            f"{prefix}ip-permission.to-port": f"{member}.ToPort",
            f"{prefix}ip-permission.protocol": f"{member}.IpProtocol",
            f"{prefix}ip-permission.group-id": f"{member}.UserIdGroupPairs.GroupId",
            f"{prefix}ip-permission.group-name": f"{member}.UserIdGroupPairs.GroupName",
            f"{prefix}ip-permission.prefix-list-id": f"{member}.PrefixListIds.PrefixListId",
            f"{prefix}ip-permission.user-id": f"{member}.UserIdGroupPairs.UserId",
        }
    rows = select(call.doors.database.read(look), request.get("Filters"), paths, lambda row: row)
    rows, token = page(rows, request, lambda row: row["GroupId"])
    return with_token({"SecurityGroups": rows}, token)


@operation("DescribeSecurityGroupRules", needs=needs.look("DescribeSecurityGroupRules"))
@takes("Filters", "SecurityGroupRuleIds", "NextToken", "MaxResults")
async def describe_security_group_rules(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List rules.

    Source: Amazon EC2 API Reference, DescribeSecurityGroupRules.
    """

    def look(db: Reader) -> list[dict[str, Any]]:
        return [
            permissions.view(rule, call.account, call.region, tag_list(tables.tags(db, rule.id)))
            for row in tables.groups(db, call.account, call.region)
            for rule in tables.rules(db, row.id)
        ]

    _check_group_ids(request)
    rows = call.doors.database.read(look)
    given = many(request, "SecurityGroupRuleIds")
    for one in given:
        if one not in {row["SecurityGroupRuleId"] for row in rows}:
            raise errors.InvalidSecurityGroupRuleIdNotFound(f"The security group rule ID '{one}' does not exist")
    rows = [row for row in rows if not given or row["SecurityGroupRuleId"] in given]
    paths = {"group-id": "GroupId", "security-group-rule-id": "SecurityGroupRuleId"}
    rows, token = page(
        select(rows, request.get("Filters"), paths, lambda row: row), request, lambda row: row["SecurityGroupRuleId"]
    )
    return with_token({"SecurityGroupRules": rows}, token)


def _check_group_ids(request: Mapping[str, Any]) -> None:
    """Refuse a filter for a group whose id cannot be one."""
    for one in many(request, "Filters"):
        for value in many(one, "Values") if one.get("Name") == "group-id" else ():
            if not names.GROUP_ID.fullmatch(value):
                raise errors.InvalidGroupIdMalformed(f"The security group ID '{value}' is malformed")


async def _authorize(call: Call, request: Mapping[str, Any], *, egress: bool) -> dict[str, Any]:
    """Add rules to a group, all or none."""
    tags = specified_tags(request, "security-group-rule").get("security-group-rule", {})
    drafts = [ids.hex_id("sgr") for _ in range(RULES_MAX * 2)]

    def change(tx: Tx) -> list[tables.Rule]:
        row = find(tx, call, request)
        asked = permissions.from_request(request, row.id, egress=egress, resolve=resolver(tx, call, row.vpc_id))
        rules = permissions.numbered(asked, drafts)
        have = [rule for rule in tables.rules(tx, row.id) if rule.egress == egress]
        if len(have) + len(rules) > RULES_MAX:
            raise errors.RulesPerSecurityGroupLimitExceeded(
                "The maximum number of rules per security group has been reached."
            )
        for rule in rules:
            try:
                tables.insert_rule(tx, rule)
            except sqlite3.IntegrityError:
                raise errors.InvalidPermissionDuplicate(duplicate(rule)) from None
            tables.put_tags(tx, call.account, call.region, rule.id, tags)
        return rules

    rules = await call.doors.database.write(change)
    await call.doors.part("ec2", Compute).rules_changed()
    shown = [permissions.view(rule, call.account, call.region, tag_list(tags)) for rule in rules]
    return {"Return": True, "SecurityGroupRules": shown}


def duplicate(rule: tables.Rule) -> str:
    """AWS's words for a rule that is there already."""
    ports = (
        "ALL"
        if rule.protocol == "-1"
        else f"{rule.protocol.upper()}, from port: {rule.port_from}, to port: {rule.port_to}"
    )
    return f'the specified rule "peer: {rule.cidr or rule.peer_group}, {ports}, ALLOW" already exists'


async def _revoke(call: Call, request: Mapping[str, Any], *, egress: bool) -> dict[str, Any]:
    """Remove rules from a group, all or none."""

    def change(tx: Tx) -> list[tables.Rule]:
        row = find(tx, call, request)
        have = [rule for rule in tables.rules(tx, row.id) if rule.egress == egress]
        gone: list[tables.Rule] = []
        for one in many(request, "SecurityGroupRuleIds"):
            found = [rule for rule in have if rule.id == one]
            if not found:
                raise errors.InvalidSecurityGroupRuleIdNotFound(f"The security group rule ID '{one}' does not exist")
            gone += found
        if not gone or request.get("IpPermissions"):
            for rule in permissions.from_request(
                request, row.id, egress=egress, resolve=resolver(tx, call, row.vpc_id)
            ):
                found = [other for other in have if rule.same(other)]
                if not found:
                    raise errors.InvalidPermissionNotFound("The specified rule does not exist in this security group.")
                gone += found
        for rule in gone:
            tables.delete_rule(tx, rule.id)
        return gone

    gone = await call.doors.database.write(change)
    await call.doors.part("ec2", Compute).rules_changed()
    return {"Return": True, "RevokedSecurityGroupRules": [_revoked(rule) for rule in gone]}


def _revoked(rule: tables.Rule) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": rule.egress,
        "IpProtocol": rule.protocol,
        "FromPort": rule.port_from,
        "ToPort": rule.port_to,
    }
    if rule.peer_group:
        shown["ReferencedGroupId"] = rule.peer_group
    else:
        shown["CidrIpv6" if ":" in rule.cidr else "CidrIpv4"] = rule.cidr
    return shown


@operation("AuthorizeSecurityGroupIngress", needs=needs.group("AuthorizeSecurityGroupIngress"))
@takes("GroupId", "GroupName", "IpPermissions", "TagSpecifications", *_FLAT)
async def authorize_security_group_ingress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let traffic in. Source: Amazon EC2 API Reference, AuthorizeSecurityGroupIngress."""
    return await _authorize(call, request, egress=False)


@operation("AuthorizeSecurityGroupEgress", needs=needs.group("AuthorizeSecurityGroupEgress"))
@takes("GroupId", "IpPermissions", "TagSpecifications", *_FLAT)
async def authorize_security_group_egress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let traffic out. Source: Amazon EC2 API Reference, AuthorizeSecurityGroupEgress."""
    return await _authorize(call, request, egress=True)


@operation("RevokeSecurityGroupIngress", needs=needs.group("RevokeSecurityGroupIngress"))
@takes("GroupId", "GroupName", "IpPermissions", "SecurityGroupRuleIds", *_FLAT)
async def revoke_security_group_ingress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let traffic in no more. Source: Amazon EC2 API Reference, RevokeSecurityGroupIngress."""
    return await _revoke(call, request, egress=False)


@operation("RevokeSecurityGroupEgress", needs=needs.group("RevokeSecurityGroupEgress"))
@takes("GroupId", "IpPermissions", "SecurityGroupRuleIds", *_FLAT)
async def revoke_security_group_egress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let traffic out no more. Source: Amazon EC2 API Reference, RevokeSecurityGroupEgress."""
    return await _revoke(call, request, egress=True)

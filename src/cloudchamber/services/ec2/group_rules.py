# SPDX-License-Identifier: Apache-2.0
"""Rules of security groups that are changed where they stand, and who refers to a group."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, groups, names, needs, nets, permissions, tables
from cloudchamber.services.ec2.checks import inner, many, page, refuse, same, select, tagged, takes, with_token
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

_UPDATE = {
    "IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6", "ReferencedGroupId", "Description",
}  # fmt: skip
_PEERS = {
    "CidrIpv4": ("IpRanges", "CidrIp"),
    "CidrIpv6": ("Ipv6Ranges", "CidrIpv6"),
    "ReferencedGroupId": ("UserIdGroupPairs", "GroupId"),
}


@operation("ModifySecurityGroupRules", needs=needs.modify_rules)
@takes("GroupId", "SecurityGroupRules")
async def modify_security_group_rules(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Say rules of one group anew, all or none; they keep their ids, tags and direction.

    Source: Amazon EC2 API Reference, ModifySecurityGroupRules.
    """

    def change(tx: Tx) -> None:
        row = groups.find(tx, call, request)
        have = {rule.id: rule for rule in tables.rules(tx, row.id)}
        for one in many(request, "SecurityGroupRules"):
            before = have.get(one.get("SecurityGroupRuleId") or "")
            if before is None:
                raise _no_rule(one.get("SecurityGroupRuleId"))
            asked = permissions.from_request(
                {"IpPermissions": [_permission(inner(one, "SecurityGroupRule"))]}, row.id,
                egress=before.egress, resolve=groups.resolver(tx, call, row.vpc_id),
            )  # fmt: skip
            try:
                tables.update_rule(tx, replace(asked[0], id=before.id))
            except sqlite3.IntegrityError:
                raise errors.InvalidPermissionDuplicate(groups.duplicate(asked[0])) from None

    await call.doors.database.write(change)
    await call.doors.part("ec2", Compute).rules_changed()
    return {"Return": True}


def _no_rule(identifier: str | None) -> errors.Ec2Error:
    return errors.InvalidSecurityGroupRuleIdNotFound(f"The security group rule ID '{identifier}' does not exist")


def _permission(update: Mapping[str, Any]) -> dict[str, Any]:
    """A `SecurityGroupRuleRequest` as one of `IpPermissions`."""
    refuse("SecurityGroupRule.", update, _UPDATE)
    protocol = str(update.get("IpProtocol") or "")
    if not protocol:
        raise errors.InvalidParameterValue(
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly."
        )
    if protocol.lower() in ("tcp", "udp", "6", "17") and (
        update.get("FromPort") is None or update.get("ToPort") is None
    ):
        raise errors.InvalidParameterValue(
            "Invalid value for portRange. Must specify both from and to ports with TCP/UDP."
        )
    peers = [name for name in _PEERS if update.get(name)]
    if not peers:
        raise errors.MissingParameter(
            "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId"
        )
    if len(peers) > 1:
        raise errors.InvalidParameterCombination(
            "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified"
        )
    member, key = _PEERS[peers[0]]
    peer = {key: update[peers[0]], "Description": update.get("Description")}
    return {**{name: update.get(name) for name in ("IpProtocol", "FromPort", "ToPort")}, member: [peer]}


async def _describe_anew(call: Call, request: Mapping[str, Any], *, egress: bool) -> dict[str, Any]:
    """Give rules other descriptions; one that says none takes the old one away."""

    def change(tx: Tx) -> None:
        row = groups.find(tx, call, request)
        have = [rule for rule in tables.rules(tx, row.id) if rule.egress == egress]
        by_id = {rule.id: rule for rule in have}
        if not request.get("SecurityGroupRuleDescriptions") or request.get("IpPermissions"):
            for asked in permissions.from_request(
                request, row.id, egress=egress, resolve=groups.resolver(tx, call, row.vpc_id)
            ):
                found = [rule for rule in have if asked.same(rule)]
                if not found:
                    raise errors.InvalidPermissionNotFound("The specified rule does not exist in this security group.")
                tables.update_rule(tx, replace(found[0], description=asked.description))
        for one in many(request, "SecurityGroupRuleDescriptions"):
            rule = by_id.get(one.get("SecurityGroupRuleId") or "")
            if rule is None:
                raise _no_rule(one.get("SecurityGroupRuleId"))
            description = one.get("Description") or ""
            permissions.check_description(description)
            tables.update_rule(tx, replace(rule, description=description))

    await call.doors.database.write(change)
    return {"Return": True}


@operation(
    "UpdateSecurityGroupRuleDescriptionsIngress", needs=needs.group("UpdateSecurityGroupRuleDescriptionsIngress")
)
@takes("GroupId", "GroupName", "IpPermissions", "SecurityGroupRuleDescriptions")
async def update_security_group_rule_descriptions_ingress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe ingress rules. Source: Amazon EC2 API Reference, UpdateSecurityGroupRuleDescriptionsIngress."""
    return await _describe_anew(call, request, egress=False)


@operation("UpdateSecurityGroupRuleDescriptionsEgress", needs=needs.group("UpdateSecurityGroupRuleDescriptionsEgress"))
@takes("GroupId", "GroupName", "IpPermissions", "SecurityGroupRuleDescriptions")
async def update_security_group_rule_descriptions_egress(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe egress rules. Source: Amazon EC2 API Reference, UpdateSecurityGroupRuleDescriptionsEgress."""
    return await _describe_anew(call, request, egress=True)


@operation("DescribeSecurityGroupReferences", needs=needs.on("DescribeSecurityGroupReferences", "GroupId"))
@takes("GroupId")
async def describe_security_group_references(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Which VPCs at the other end of a peering connection refer to groups: none, since nothing can be peered here.

    Source: Amazon EC2 API Reference, DescribeSecurityGroupReferences.
    """

    def look(db: Reader) -> None:
        for one in many(request, "GroupId"):
            groups.find(db, call, {"GroupId": one})

    call.doors.database.read(look)
    return {"SecurityGroupReferenceSet": []}


@operation("GetSecurityGroupsForVpc", needs=needs.on("GetSecurityGroupsForVpc", "VpcId"))
@takes("VpcId", "NextToken", "MaxResults", "Filters")
async def get_security_groups_for_vpc(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Groups that may be used in a VPC: its own.

    Source: Amazon EC2 API Reference, GetSecurityGroupsForVpc.
    """

    def look(db: Reader) -> list[dict[str, Any]]:
        vpc = nets.get(db, nets.Vpc, call.account, call.region, request["VpcId"])
        return [_for_vpc(row, tables.tags(db, row.id)) for row in tables.groups_of_vpc(db, vpc.id)]

    paths = {
        "group-id": "GroupId", "description": "Description", "group-name": "GroupName", "owner-id": "OwnerId",
        "primary-vpc-id": "PrimaryVpcId",
    }  # fmt: skip
    rows = select(call.doors.database.read(look), request.get("Filters"), paths, same)
    rows, token = page(rows, request, lambda row: row["GroupId"])
    return with_token({"SecurityGroupForVpcs": rows}, token)


def _for_vpc(row: tables.Group, tags: Mapping[str, str]) -> dict[str, Any]:
    view = {
        "GroupId": row.id,
        "GroupName": row.name,
        "Description": row.description,
        "OwnerId": row.account,
        "PrimaryVpcId": row.vpc_id,
        "SecurityGroupArn": names.arn("security-group", row.id, row.region, row.account),
    }
    return tagged(view, tags)

# SPDX-License-Identifier: Apache-2.0
"""Rules of security groups: from a request, as AWS shows them, and what they admit. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import errors, names
from cloudchamber.services.ec2.checks import many, refuse
from cloudchamber.services.ec2.tables import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "all": "-1"}
_RULES_MAX = 60


def from_request(
    request: Mapping[str, Any], group_id: str, *, egress: bool, resolve: Callable[[Mapping[str, Any]], str]
) -> list[Rule]:
    """The rules that a request names, without ids. `resolve` gives the id of a `UserIdGroupPairs` entry.

    Raises:
        InvalidParameterValue, InvalidPermission.Malformed, MissingParameter: not rules.
    """
    permissions = list(many(request, "IpPermissions"))
    flat = {k: request[k] for k in ("IpProtocol", "FromPort", "ToPort") if request.get(k) is not None}
    if request.get("CidrIp") or request.get("SourceSecurityGroupName") or flat:
        if permissions:
            raise errors.InvalidParameterCombination(
                "The parameter ipPermissions may not be used with flat parameters."
            )
        one: dict[str, Any] = dict(flat)
        if request.get("CidrIp"):
            one["IpRanges"] = [{"CidrIp": request["CidrIp"]}]
        if request.get("SourceSecurityGroupName"):
            one["UserIdGroupPairs"] = [{"GroupName": request["SourceSecurityGroupName"]}]
            one.setdefault("IpProtocol", "-1")
        permissions = [one]
    rules: list[Rule] = []
    for permission in permissions:
        rules += _rules(permission, group_id, egress, resolve)
    if not rules:
        raise errors.MissingParameter("Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.")
    if len(rules) > _RULES_MAX * 2:
        raise errors.RulesPerSecurityGroupLimitExceeded(
            "The maximum number of rules per security group has been reached."
        )
    return rules


def _rules(
    permission: Mapping[str, Any], group_id: str, egress: bool, resolve: Callable[[Mapping[str, Any]], str]
) -> Iterable[Rule]:
    refuse(
        "IpPermissions.", permission, {"IpProtocol", "FromPort", "ToPort", "IpRanges", "Ipv6Ranges", "UserIdGroupPairs"}
    )
    protocol = str(permission.get("IpProtocol") or "").lower()
    if not protocol:
        raise errors.MissingParameter("The request must contain the parameter ipProtocol")
    protocol = _PROTOCOLS.get(protocol, protocol)
    ports = _ports(protocol, permission)
    peers: list[tuple[str, str, str]] = []
    for one in many(permission, "IpRanges"):
        peers.append((cidr(one.get("CidrIp") or "", 4), "", one.get("Description") or ""))
    for one in many(permission, "Ipv6Ranges"):
        peers.append((cidr(one.get("CidrIpv6") or "", 6), "", one.get("Description") or ""))
    for one in many(permission, "UserIdGroupPairs"):
        refuse("UserIdGroupPairs.", one, {"GroupId", "GroupName", "UserId", "VpcId", "Description"})
        peers.append(("", resolve(one), one.get("Description") or ""))
    for block, peer_group, description in peers:
        check_description(description)
        yield Rule("", group_id, egress, protocol, *ports, block, peer_group, description)


def check_description(text: str) -> None:
    """Refuse what AWS does not take as a rule's description."""
    if len(text) > 255:
        raise errors.InvalidParameterValue("Invalid rule description: longer than 255 characters.")


def _ports(protocol: str, permission: Mapping[str, Any]) -> tuple[int, int]:
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if protocol not in ("tcp", "udp", "icmp", "icmpv6"):
        if not (protocol == "-1" or (protocol.isdigit() and int(protocol) < 256)):
            raise errors.InvalidPermissionMalformed(
                f'Unsupported IP protocol "{protocol}" - supported: [tcp, udp, icmp, icmpv6]'
            )
        return -1, -1
    if protocol in ("icmp", "icmpv6"):
        return (-1 if first is None else int(first), -1 if last is None else int(last))
    if first is None or last is None:
        raise errors.InvalidParameterValue(
            "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."
        )
    low, high = int(first), int(last)
    if not (0 <= low <= 65535 and 0 <= high <= 65535):
        raise errors.InvalidParameterValue(
            f"Invalid value '{low if not 0 <= low <= 65535 else high}' for port. Must be 0 to 65535."
        )
    if low > high:
        raise errors.InvalidParameterValue(f"Invalid TCP/UDP port range ({low}:{high})")
    return low, high


def cidr(text: str, version: int) -> str:
    """A CIDR block in its normal form.

    Raises:
        InvalidParameterValue: it is not one.
    """
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        block = None
    if block is None or block.version != version or "/" not in text:
        raise errors.InvalidParameterValue(f"CIDR block {text} is malformed")
    return str(block)


def view(rule: Rule, account: str, region: str, tags: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """One `SecurityGroupRule`."""
    shown: dict[str, Any] = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "GroupOwnerId": account,
        "IsEgress": rule.egress,
        "IpProtocol": rule.protocol,
        "FromPort": rule.port_from,
        "ToPort": rule.port_to,
        "Tags": list(tags),
        "SecurityGroupRuleArn": names.arn("security-group-rule", rule.id, region, account),
    }
    if rule.cidr:
        shown["CidrIpv6" if ":" in rule.cidr else "CidrIpv4"] = rule.cidr
    else:
        shown["ReferencedGroupInfo"] = {"GroupId": rule.peer_group, "UserId": account}
    if rule.description:
        shown["Description"] = rule.description
    return shown


def permissions(rules: Iterable[Rule], account: str) -> list[dict[str, Any]]:
    """Rules as `IpPermissions`: one entry for each protocol and port range."""
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in rules:
        key = (rule.protocol, rule.port_from, rule.port_to)
        entry = found.get(key)
        if entry is None:
            entry = found[key] = {
                "IpProtocol": rule.protocol,
                "IpRanges": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
                "UserIdGroupPairs": [],
            }
            if rule.protocol in ("tcp", "udp", "icmp", "icmpv6"):
                entry |= {"FromPort": rule.port_from, "ToPort": rule.port_to}
        described = {"Description": rule.description} if rule.description else {}
        if rule.peer_group:
            entry["UserIdGroupPairs"].append({"GroupId": rule.peer_group, "UserId": account, **described})
        elif ":" in rule.cidr:
            entry["Ipv6Ranges"].append({"CidrIpv6": rule.cidr, **described})
        else:
            entry["IpRanges"].append({"CidrIp": rule.cidr, **described})
    return list(found.values())


def numbered(rules: Iterable[Rule], rule_ids: Iterable[str]) -> list[Rule]:
    """The rules with their new ids."""
    return [replace(rule, id=rule_id) for rule, rule_id in zip(rules, rule_ids, strict=False)]


def admitting(
    rules: Iterable[Rule], port: int, address: str, peer_groups: Iterable[str], *, egress: bool, protocol: str = "tcp"
) -> Rule | None:
    """The rule that lets TCP, or UDP, on `port` through, from (or to) an address or a member of groups."""
    members = set(peer_groups)
    for rule in rules:
        if rule.egress == egress and rule.admits(port, protocol):
            if rule.peer_group:
                if rule.peer_group in members:
                    return rule
            elif names.covers(rule.cidr, address):
                return rule
    return None

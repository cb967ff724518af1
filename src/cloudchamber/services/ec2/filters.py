# SPDX-License-Identifier: Apache-2.0
"""Security groups in force: what each instance's sandbox filters, and who may connect to whom.

A sandbox's router filters packets; connections that the chamber carries itself (HTTPS to an instance, an instance's
to a database) are decided here, one by one. Either way connections that are established stay, as on AWS.
Source: Amazon VPC User Guide, Security groups; Amazon EC2 User Guide, Security group connection tracking.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.sandbox.spec import Rule
from cloudchamber.services.ec2 import nets, permissions, tables
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.sandboxes import Sandbox

_log = logging.getLogger(__name__)
_REFUSALS_A_MINUTE = 30
"""Refused connections of one instance that get a segment of their own; more would be the same again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the groups say about one connection: the rule that admits it, or which is missing and what would add it."""

    rule: tables.Rule | None
    reason: str
    allow_with: str = ""


def effective(db: tables.Reader, row: tables.Instance, members: Mapping[str, Sequence[str]]) -> tuple[Rule, ...]:
    """The rules of all groups of an instance; `members` are the private addresses of each group's instances."""
    found: list[Rule] = []
    for group_id in row.groups:
        for rule in tables.rules(db, group_id):
            if rule.protocol in ("icmpv6", "58") or ":" in rule.cidr:
                continue  # nothing here speaks IPv6
            why = f"{rule.group_id} {rule.id}"
            direction = "out" if rule.egress else "in"
            for block in [f"{one}/32" for one in members.get(rule.peer_group, ())] if rule.peer_group else [rule.cidr]:
                found.append(Rule(direction, rule.protocol, rule.port_from, rule.port_to, block, why))
    return tuple(found)


def inbound(rules: Sequence[tables.Rule], groups: Sequence[str], port: int, source: str) -> Verdict:
    """Whether an address that is no instance's may connect to TCP `port` of a member of `groups`."""
    rule = permissions.admitting(rules, port, source, (), egress=False)
    if rule is not None:
        return Verdict(rule, f"{rule.group_id} {rule.id}")
    cidr = "0.0.0.0/0" if source == "127.0.0.1" else f"{source}/32"
    return Verdict(
        None,
        f"no ingress rule of {', '.join(groups) or 'no group'} lets {source} connect to tcp/{port}",
        authorize_with("ingress", groups, port, f"--cidr {cidr}"),
    )


def authorize_with(direction: str, groups: Sequence[str], port: int, peer: str, protocol: str = "tcp") -> str:
    """The command that would let TCP, or UDP, on `port` through."""
    if not groups:
        return "a security group with a rule"
    command = f"aws ec2 authorize-security-group-{direction} --group-id {groups[0]}"
    return f"{command} --protocol {protocol} --port {port} {peer}"


class Filters:
    """Keeps the sandboxes' rules as the groups are, and answers for connections to databases."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._in_force: dict[str, tuple[Rule, ...]] = {}
        self._applying = asyncio.Lock()
        self._refusals: dict[tuple[str, str], tuple[int, int]] = {}

    def of(self, row: tables.Instance) -> tuple[Rule, ...]:
        """The rules of one instance now."""
        return self._doors.database.read(lambda db: effective(db, row, _members(db)))

    def forget(self, instance_id: str) -> None:
        """Its sandbox is gone."""
        self._in_force.pop(instance_id, None)
        self._refusals = {key: value for key, value in self._refusals.items() if key[0] != instance_id}

    async def apply(self, sandboxes: Mapping[str, Sandbox]) -> None:
        """Give every sandbox its rules, where they changed; returns when they hold."""
        async with self._applying:
            wanted = self._doors.database.read(lambda db: _of_all(db, sandboxes))
            for instance_id, rules in wanted.items():
                if self._in_force.get(instance_id) == rules:
                    continue
                try:
                    await sandboxes[instance_id].set_rules(rules)
                except OSError as error:
                    # Why go on: it may just have ended; and what the chamber carries is decided from the rows anyway.
                    _log.error("%s keeps its old packet filter: %s", instance_id, error)
                else:
                    self._in_force[instance_id] = rules

    def may_reach(self, source: str, group_ids: Sequence[str], port: int) -> tuple[bool, str]:
        """Whether groups let `source` (instance id or address) connect to TCP `port` of a member of `group_ids`.

        Both sides are asked: the instance's egress rules, then the ingress rules of `group_ids`. The text is the rule
        that admits, or what is missing. A refused instance's attempt becomes a segment.
        """

        def look(db: tables.Reader) -> tuple[tables.Instance | None, Verdict]:
            row = tables.instance(db, source) if source.startswith("i-") else tables.by_private_ip(db, source)
            rules = [rule for one in group_ids for rule in tables.rules(db, one)]
            if row is None:
                return None, inbound(rules, group_ids, port, source)
            apart = _apart(db, row, group_ids, port)
            if apart is not None:
                return row, apart
            vpc = nets.find(db, nets.Vpc, row.vpc_id)
            # Why: a database has no address of the VPC here; egress rules by CIDR must cover the VPC's far end.
            far = str(ipaddress.ip_network(vpc.cidr)[-2]) if vpc is not None else ""
            return row, _between(
                row, [r for one in row.groups for r in tables.rules(db, one)], rules, group_ids, port, far
            )

        row, verdict = self._doors.database.read(look)
        if verdict.rule is not None:
            return True, verdict.reason
        if row is not None:
            self.refused(row, port, verdict)
        return False, f"{verdict.reason}; this would allow it: {verdict.allow_with}"

    def lets_out(self, row: tables.Instance) -> bool:
        """Whether the instance may call AWS services: some egress rule lets tcp/443 out, to whatever addresses.

        Why whatever: a service's addresses here are not AWS's, so a rule for AWS's cannot be held against them.
        """
        rules = self._doors.database.read(lambda db: [r for one in row.groups for r in tables.rules(db, one)])
        return any(rule.egress and rule.cidr and rule.admits(443) for rule in rules)

    def no_services(self, row: tables.Instance) -> None:
        """A call of an AWS service was turned away."""
        reason = f"no egress rule of {', '.join(row.groups)} lets {row.id} connect to tcp/443, where AWS services are"
        self.refused(row, 443, Verdict(None, reason, authorize_with("egress", row.groups, 443, "--cidr 0.0.0.0/0")))

    def refused(self, row: tables.Instance, port: int, verdict: Verdict, protocol: str = "tcp") -> None:
        """Put what an instance wanted to send and may not on a track, unless there was much of that lately."""
        now = self._doors.clock.now().timestamp()
        # Why by port: who knocks at one without pause must not hide what is refused at another.
        name = f"{'connect' if protocol == 'tcp' else 'send'} {protocol}/{port}"
        minute, count = self._refusals.get((row.id, name), (0, 0))
        count = count + 1 if minute == int(now // 60) else 1
        self._refusals[row.id, name] = (int(now // 60), count)
        if count > _REFUSALS_A_MINUTE:
            return
        segment = Segment(
            Trace.begin(int(now)).track_id, segment_id(), "", "ec2", name, now, now,
            status=403, error="SecurityGroup", resource=row.arn,
        )  # fmt: skip
        segment.notes.update(denied=verdict.reason, allow_with=verdict.allow_with)
        self._doors.recorder.record(segment)


def _apart(db: tables.Reader, row: tables.Instance, groups: Sequence[str], port: int) -> Verdict | None:
    """What is in another VPC cannot be reached by a private address."""
    found = [tables.group(db, one) for one in groups]
    others = {one.vpc_id for one in found if one is not None} - {row.vpc_id}
    if not others:
        return None
    where = ", ".join(sorted(others))
    return Verdict(None, f"{row.id} is in {row.vpc_id}, and what it connects to at tcp/{port} is in {where}")


def _between(
    row: tables.Instance,
    own: Sequence[tables.Rule],
    rules: Sequence[tables.Rule],
    groups: Sequence[str],
    port: int,
    far: str,
) -> Verdict:
    """From an instance to a member of `groups`: out of the one, into the other."""
    if permissions.admitting(own, port, far, groups, egress=True) is None:
        to = f"--source-group {groups[0]}" if groups else f"--cidr {far}/32"
        return Verdict(
            None,
            f"no egress rule of {', '.join(row.groups)} lets {row.id} connect to tcp/{port}",
            authorize_with("egress", row.groups, port, to),
        )
    rule = permissions.admitting(rules, port, row.private_ip, row.groups, egress=False)
    if rule is not None:
        return Verdict(rule, f"{rule.group_id} {rule.id}")
    return Verdict(
        None,
        f"no ingress rule of {', '.join(groups) or 'no group'} lets {row.id} ({', '.join(row.groups)}) connect to "
        f"tcp/{port}",
        authorize_with("ingress", groups, port, f"--source-group {row.groups[0]}"),
    )


def _members(db: tables.Reader) -> dict[str, list[str]]:
    """Private addresses of the instances in each group."""
    found: dict[str, list[str]] = {}
    for row in tables.all_instances(db):
        for group_id in row.groups:
            found.setdefault(group_id, []).append(row.private_ip)
    return found


def _of_all(db: tables.Reader, instance_ids: Mapping[str, object]) -> dict[str, tuple[Rule, ...]]:
    members = _members(db)
    rows = [tables.instance(db, one) for one in instance_ids]
    return {row.id: effective(db, row, members) for row in rows if row is not None}

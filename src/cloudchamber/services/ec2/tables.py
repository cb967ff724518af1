# SPDX-License-Identifier: Apache-2.0
"""Rows of EC2 and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import names
from cloudchamber.store.database import Reader

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from cloudchamber.store.database import Tx

TERMINATED_VISIBLE_S = 3600.0


def moment(posix_s: float) -> datetime:
    """An aware UTC time, whole seconds as EC2 writes them."""
    return datetime.fromtimestamp(int(posix_s), UTC)


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance. Times are POSIX seconds; `user_data` is decoded; `groups` are security group ids."""

    id: str
    account: str
    region: str
    reservation_id: str
    launch_index: int
    client_token: str
    state: str
    launched_at: float
    started_at: float
    image_id: str
    type: str
    zone: str
    subnet_id: str
    private_ip: str
    eni_id: str
    groups: tuple[str, ...]
    profile_arn: str = ""
    profile_id: str = ""
    association_id: str = ""
    associated_at: float = 0.0
    user_data: bytes = b""
    terminate_protection: bool = False
    stop_protection: bool = False
    shutdown_behavior: str = "stop"
    http_tokens: str = "required"
    http_endpoint: str = "enabled"
    hop_limit: int = 2
    metadata_tags: str = "disabled"
    reason_code: str = ""
    reason: str = ""
    transition: str = ""
    ended_at: float = 0.0
    rebooting: bool = False
    boots: int = 0
    vpc_id: str = ""
    key_name: str = ""
    public_key: str = ""
    """A line for `authorized_keys`, as it was at the launch; empty for none."""
    auto_recovery: str = "default"
    public_ip: str = ""
    """Its public address, while no Elastic IP address stands in for it; empty for none."""

    ebs_optimized: bool = False
    interface_description: str = ""

    @property
    def arn(self) -> str:
        """The instance's ARN."""
        return names.arn("instance", self.id, self.region, self.account)


@dataclass(frozen=True, slots=True)
class Group:
    """One security group of a VPC."""

    id: str
    account: str
    region: str
    vpc_id: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a group: one of `cidr` and `peer_group` is set.

    `protocol` is ``tcp udp icmp icmpv6``, a number, or ``-1`` (all).
    """

    id: str
    group_id: str
    egress: bool
    protocol: str
    port_from: int
    port_to: int
    cidr: str
    peer_group: str
    description: str = ""

    def admits(self, port: int, protocol: str = "tcp") -> bool:
        """Whether it speaks of TCP, or UDP, on `port`."""
        return self.protocol == "-1" or (self.protocol == protocol and self.port_from <= port <= self.port_to)

    def same(self, other: Rule) -> bool:
        """Whether AWS would call the other one a duplicate."""
        mine = (self.group_id, self.egress, self.protocol, self.port_from, self.port_to, self.cidr, self.peer_group)
        return mine == (
            other.group_id,
            other.egress,
            other.protocol,
            other.port_from,
            other.port_to,
            other.cidr,
            other.peer_group,
        )


_INSTANCE = tuple(f.name for f in fields(Instance))
_FLAGS = ("ebs_optimized", "terminate_protection", "stop_protection", "rebooting")


def _instance(row: sqlite3.Row) -> Instance:
    values: dict[str, Any] = {name: row[name] for name in _INSTANCE}
    values["groups"] = tuple(json.loads(values["groups"]))
    values.update({name: bool(values[name]) for name in _FLAGS})
    return Instance(**values)


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, tuple) else value


def insert_instance(tx: Tx, row: Instance) -> None:
    """Add an instance."""
    marks = ", ".join("?" for _ in _INSTANCE)
    tx.execute(
        f"INSERT INTO ec2_instances ({', '.join(_INSTANCE)}) VALUES ({marks})",
        [_cell(getattr(row, name)) for name in _INSTANCE],
    )


def update_instance(tx: Tx, instance_id: str, **values: object) -> None:
    """Change columns of one instance."""
    unknown = set(values) - set(_INSTANCE)
    if unknown:
        raise ValueError(f"no such columns: {unknown}")
    tx.execute(
        f"UPDATE ec2_instances SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
        [*(_cell(value) for value in values.values()), instance_id],
    )


def instance(db: Reader, instance_id: str) -> Instance | None:
    """One instance by id."""
    row = db.execute("SELECT * FROM ec2_instances WHERE id = ?", (instance_id,)).fetchone()
    return _instance(row) if row else None


def instances(db: Reader, account: str, region: str, now_s: float = 0.0) -> list[Instance]:
    """Instances of an account in a region, oldest first; those terminated long before `now_s` are left out."""
    rows = db.execute(
        "SELECT * FROM ec2_instances WHERE account = ? AND region = ? AND (state != 'terminated' OR ended_at > ?) "
        "ORDER BY launched_at, reservation_id, launch_index",
        (account, region, now_s - TERMINATED_VISIBLE_S),
    )
    return [_instance(row) for row in rows]


def all_instances(db: Reader) -> list[Instance]:
    """Every instance that is not terminated, of all accounts and regions."""
    return [_instance(row) for row in db.execute("SELECT * FROM ec2_instances WHERE state != 'terminated'")]


def places(db: Reader) -> set[tuple[str, str]]:
    """Accounts and regions that have instances or security groups."""
    rows = db.execute("SELECT account, region FROM ec2_instances UNION SELECT account, region FROM ec2_security_groups")
    return {(row[0], row[1]) for row in rows}


def by_private_ip(db: Reader, address: str, vpc_id: str = "") -> Instance | None:
    """The running instance that has a private address, in one VPC or in whichever."""
    row = db.execute(
        "SELECT * FROM ec2_instances WHERE private_ip = ? AND (? = '' OR vpc_id = ?) "
        "AND state IN ('running', 'pending', 'stopping')",
        (address, vpc_id, vpc_id),
    ).fetchone()
    return _instance(row) if row else None


def forget_terminated(tx: Tx, before_s: float) -> None:
    """Drop rows of instances that were terminated before a time."""
    tx.execute(
        "DELETE FROM ec2_tags WHERE resource_id IN "
        "(SELECT id FROM ec2_instances WHERE state = 'terminated' AND ended_at < ?)",
        (before_s,),
    )
    tx.execute("DELETE FROM ec2_instances WHERE state = 'terminated' AND ended_at < ?", (before_s,))


def token(db: Reader, account: str, region: str, value: str) -> tuple[str, str] | None:
    """Fingerprint and reservation of a client token that was used."""
    row = db.execute(
        "SELECT fingerprint, reservation_id FROM ec2_tokens WHERE account = ? AND region = ? AND token = ?",
        (account, region, value),
    ).fetchone()
    return (row[0], row[1]) if row else None


def keep_token(tx: Tx, account: str, region: str, value: str, fingerprint: str, reservation_id: str) -> None:
    """Remember a client token."""
    tx.execute("INSERT INTO ec2_tokens VALUES (?, ?, ?, ?, ?)", (account, region, value, fingerprint, reservation_id))


def tags(db: Reader, resource_id: str) -> dict[str, str]:
    """Tags of one resource."""
    rows = db.execute("SELECT key, value FROM ec2_tags WHERE resource_id = ? ORDER BY key", (resource_id,))
    return {row[0]: row[1] for row in rows}


def tags_of_all(db: Reader, account: str, region: str) -> list[tuple[str, str, str]]:
    """Every tag of a region: resource id, key, value."""
    rows = db.execute(
        "SELECT resource_id, key, value FROM ec2_tags WHERE account = ? AND region = ? ORDER BY resource_id, key",
        (account, region),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def put_tags(tx: Tx, account: str, region: str, resource_id: str, values: Mapping[str, str]) -> None:
    """Add or overwrite tags."""
    tx.executemany(
        "INSERT OR REPLACE INTO ec2_tags (resource_id, account, region, key, value) VALUES (?, ?, ?, ?, ?)",
        [(resource_id, account, region, key, value) for key, value in values.items()],
    )


def delete_tags(tx: Tx, resource_id: str, keys: Iterable[tuple[str, str | None]] | None = None) -> None:
    """Remove tags: by key, by key and value, or all of them."""
    if keys is None:
        tx.execute("DELETE FROM ec2_tags WHERE resource_id = ?", (resource_id,))
        return
    for key, value in keys:
        tx.execute(
            "DELETE FROM ec2_tags WHERE resource_id = ? AND key = ? AND (? IS NULL OR value = ?)",
            (resource_id, key, value, value),
        )


def _group(row: sqlite3.Row) -> Group:
    return Group(row["id"], row["account"], row["region"], row["vpc_id"], row["name"], row["description"])


def insert_group(tx: Tx, row: Group) -> None:
    """Add a security group."""
    tx.execute(
        "INSERT INTO ec2_security_groups (id, account, region, vpc_id, name, description) VALUES (?, ?, ?, ?, ?, ?)",
        (row.id, row.account, row.region, row.vpc_id, row.name, row.description),
    )


def delete_group(tx: Tx, group_id: str) -> None:
    """Remove a security group, its rules and tags."""
    delete_tags(tx, group_id)
    tx.execute("DELETE FROM ec2_security_groups WHERE id = ?", (group_id,))


def group(db: Reader, group_id: str) -> Group | None:
    """One group by id."""
    row = db.execute("SELECT * FROM ec2_security_groups WHERE id = ?", (group_id,)).fetchone()
    return _group(row) if row else None


def group_named(db: Reader, vpc_id: str, name: str) -> Group | None:
    """One group of a VPC by name."""
    row = db.execute("SELECT * FROM ec2_security_groups WHERE vpc_id = ? AND name = ?", (vpc_id, name)).fetchone()
    return _group(row) if row else None


def groups_of_vpc(db: Reader, vpc_id: str) -> list[Group]:
    """The groups of a VPC."""
    rows = db.execute("SELECT * FROM ec2_security_groups WHERE vpc_id = ? ORDER BY name", (vpc_id,))
    return [_group(row) for row in rows]


def groups(db: Reader, account: str, region: str) -> list[Group]:
    """Groups of a region."""
    rows = db.execute(
        "SELECT * FROM ec2_security_groups WHERE account = ? AND region = ? ORDER BY name", (account, region)
    )
    return [_group(row) for row in rows]


def _rule(row: sqlite3.Row) -> Rule:
    return Rule(
        row["id"],
        row["group_id"],
        bool(row["egress"]),
        row["protocol"],
        row["port_from"],
        row["port_to"],
        row["cidr"],
        row["peer_group"],
        row["description"],
    )


def insert_rule(tx: Tx, row: Rule) -> None:
    """Add a rule; sqlite3.IntegrityError when it exists."""
    tx.execute(
        "INSERT INTO ec2_security_group_rules "
        "(id, group_id, egress, protocol, port_from, port_to, cidr, peer_group, description) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.id,
            row.group_id,
            row.egress,
            row.protocol,
            row.port_from,
            row.port_to,
            row.cidr,
            row.peer_group,
            row.description,
        ),
    )


def update_rule(tx: Tx, row: Rule) -> None:
    """Write a rule that exists anew; sqlite3.IntegrityError when another one says the same."""
    tx.execute(
        "UPDATE ec2_security_group_rules SET protocol = ?, port_from = ?, port_to = ?, cidr = ?, peer_group = ?, "
        "description = ? WHERE id = ?",
        (row.protocol, row.port_from, row.port_to, row.cidr, row.peer_group, row.description, row.id),
    )


def delete_rule(tx: Tx, rule_id: str) -> None:
    """Remove a rule and its tags."""
    delete_tags(tx, rule_id)
    tx.execute("DELETE FROM ec2_security_group_rules WHERE id = ?", (rule_id,))


def rules(db: Reader, group_id: str) -> list[Rule]:
    """Rules of one group, in the order in which they were made."""
    return [
        _rule(row)
        for row in db.execute("SELECT * FROM ec2_security_group_rules WHERE group_id = ? ORDER BY rowid", (group_id,))
    ]


def groups_that_name(db: Reader, group_id: str) -> list[str]:
    """Other groups with a rule that refers to this one."""
    rows = db.execute(
        "SELECT DISTINCT group_id FROM ec2_security_group_rules WHERE peer_group = ? AND group_id != ?",
        (group_id, group_id),
    )
    return [row[0] for row in rows]

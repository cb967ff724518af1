# SPDX-License-Identifier: Apache-2.0
"""Public addresses: ``127.64.x.y`` on this machine leads to the ports that an instance's security groups open.

The person at this machine stands for the internet. Ports below 1024 need root, or a machine that lets everybody have
them (`net.ipv4.ip_unprivileged_port_start`); the HTTPS front leads to port 80 in any case.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from functools import partial
from typing import TYPE_CHECKING

from cloudchamber.services.ec2 import filters, nets, routing, tables
from cloudchamber.services.ec2.filters import Verdict
from cloudchamber.services.ec2.opened import Served
from cloudchamber.services.ec2.traffic import SSH_PORT, outbound, relay, reset
from cloudchamber.services.ec2.ways import Instances, best

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.services.ec2.ssh import Ssh
    from cloudchamber.store.database import Reader

_log = logging.getLogger(__name__)
_SPAN_MAX = 16
"""Ports of one rule that get a listener each; a wider range, and a rule for all ports, opens the usual ones."""
_USUAL = (22, 80, 443, 3000, 5000, 8000, 8080, 8443)
_CONNECT_S = 5.0
_INTERNET = "198.51.100.1"
"""An address of the internet (RFC 5737), to ask a route table with."""

Door = tuple[str, int]


def closed(db: Reader, row: tables.Instance) -> Verdict | None:
    """Why nobody on the internet can reach an instance, whatever its groups say; None if somebody can."""
    if not row.public_ip and nets.address_of(db, row.id) is None:
        return Verdict(
            None, f"{row.id} has no public address",
            f"aws ec2 associate-address --instance-id {row.id} --allocation-id eipalloc-...",
        )  # fmt: skip
    subnet = nets.find(db, nets.Subnet, row.subnet_id)
    if subnet is None:
        return Verdict(None, f"the subnet {row.subnet_id} is gone")
    table = nets.table_of(db, subnet)
    route = best(nets.routes(db, table.id), _INTERNET)
    if route is None or not route.target.startswith("igw-") or not routing.leads(db, row.vpc_id, route.target):
        return Verdict(
            None, f"no route of {table.id}, which serves {subnet.id}, leads to an internet gateway",
            f"aws ec2 create-route --route-table-id {table.id} --destination-cidr-block 0.0.0.0/0 --gateway-id igw-...",
        )  # fmt: skip
    return None


def doors_of(db: Reader, row: tables.Instance) -> list[Door]:
    """The addresses and ports at which an instance is to be reached."""
    elastic = nets.address_of(db, row.id)
    address = elastic.ip if elastic is not None else row.public_ip
    if not address or ipaddress.IPv4Address(address) not in nets.PUBLIC:
        return []
    ports: dict[int, None] = {}
    for group_id in row.groups:
        for rule in tables.rules(db, group_id):
            if rule.egress or not rule.cidr or rule.protocol not in ("tcp", "6", "-1"):
                continue
            narrow = rule.protocol != "-1" and rule.port_to - rule.port_from < _SPAN_MAX
            opened = range(rule.port_from, rule.port_to + 1) if narrow else _USUAL
            ports |= {port: None for port in opened if port > 0 and rule.admits(port)}
    return [(address, port) for port in ports]


class Entrance:
    """Keeps a listener at every public address and port that leads somewhere."""

    def __init__(self, doors: Doors, instances: Instances, ssh: Ssh) -> None:
        self._doors = doors
        self._ssh = ssh
        self._instances = instances
        self._open: dict[tuple[Door, str], Served] = {}
        self._shut: set[Door] = set()

    def follow(self, instance_ids: list[str]) -> None:
        """Open what the running instances' groups and addresses say, close the rest."""

        def look(db: Reader) -> set[tuple[Door, str]]:
            rows = [tables.instance(db, one) for one in instance_ids]
            return {(door, row.id) for row in rows if row is not None for door in doors_of(db, row)}

        wanted = self._doors.database.read(look)
        for key in [one for one in self._open if one not in wanted]:
            self._open.pop(key).close()
        self._shut &= {door for door, _ in wanted}
        for door, instance_id in wanted - self._open.keys():
            listener = self._listen(door)
            if listener is not None:
                self._open[door, instance_id] = outbound(listener, partial(self._come, instance_id, door[1]))

    def stop(self) -> None:
        """Close everything."""
        for one in self._open.values():
            one.close()
        self._open.clear()

    def at(self, instance_id: str) -> list[str]:
        """Where an instance can be reached: ``127.64.3.9:22``."""
        return sorted(f"{address}:{port}" for (address, port), owner in self._open if owner == instance_id)

    def _listen(self, door: Door) -> socket.socket | None:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(door)
            made.listen(128)
        except OSError as error:
            made.close()
            if door not in self._shut:
                self._shut.add(door)
                _log.info("%s:%d cannot be opened for an instance: %s", *door, error.strerror)
            return None
        return made

    async def _come(self, instance_id: str, port: int, connection: socket.socket) -> None:
        def look(db: Reader) -> tuple[tables.Instance | None, Verdict]:
            row = tables.instance(db, instance_id)
            if row is None:
                return None, Verdict(None, "the instance is gone")
            refused = closed(db, row)
            rules = [rule for one in row.groups for rule in tables.rules(db, one)]
            return row, refused or filters.inbound(rules, row.groups, port, "127.0.0.1")

        row, verdict = self._doors.database.read(look)
        sandbox = self._instances.sandbox(instance_id)
        if row is None or verdict.rule is None or sandbox is None:
            reset(connection)
            return
        try:
            other = await sandbox.connect(port, _CONNECT_S)
        except ConnectionRefusedError:
            if port == SSH_PORT:  # nobody listens there inside: the chamber's own server answers
                await self._ssh.serve(connection, instance_id)
            else:
                reset(connection)
            return
        except (OSError, TimeoutError):
            reset(connection)
            return
        await relay(connection, other)

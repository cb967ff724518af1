# SPDX-License-Identifier: Apache-2.0
"""Where a DB instance stands: its address, its port, its security groups."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.services.rds import tables
from cloudchamber.services.rds.errors import InvalidParameterCombination, InvalidParameterValue
from cloudchamber.services.rds.front import loopback_addresses

if TYPE_CHECKING:
    from cloudchamber.contract.call import Call, Doors

_TRIES = 64


def endpoint(doors: Doors, port: int) -> tuple[str, int, str]:
    """An address and port that are free; and, if the port had to differ from what was asked, a text that says so.

    Every instance has an address of its own in 127.0.64.0/18, so that several can have port 5432. Where the system has
    only 127.0.0.1, or somebody listens on that port of every address, the next free port is taken.
    """
    taken = {(row.address, row.port) for row in doors.database.read(tables.every)}
    if loopback_addresses():
        used = {address for address, _ in taken}
        for _ in range(_TRIES):
            number = int(ids.hex_token(2), 16)
            address = f"127.0.{64 + number % 64}.{1 + (number >> 8) % 254}"
            if address not in used and _free(address, port):
                return address, port, ""
    address = f"127.0.{64 + int(ids.hex_token(1), 16) % 64}.{1 + int(ids.hex_token(1), 16) % 254}"
    if not loopback_addresses():
        address = "127.0.0.1"
    for other in range(port + 1, min(port + 2000, 65_536)):
        if (address, other) not in taken and _free(address, other):
            return address, other, f"Port {port} is not free on this machine; the endpoint has port {other}"
    raise InvalidParameterValue(f"There is no free port from {port} on.")


def _free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


async def groups(call: Call, asked: list[Any] | None, vpc_id: str) -> tuple[str, ...]:
    """Security groups that exist in a VPC; its default group if none is asked for.

    Raises:
        InvalidParameterValue: one does not exist. InvalidParameterCombination: it is in another VPC. AccessDenied:
            the caller may not look.
    """
    if "ec2" not in call.doors.services:
        return tuple(str(one) for one in asked or ())
    request: dict[str, Any] = (
        {"GroupIds": [str(one) for one in asked]}
        if asked
        else {"Filters": [{"Name": "group-name", "Values": ["default"]}, {"Name": "vpc-id", "Values": [vpc_id]}]}
    )
    try:
        found = await call.ask("ec2", "DescribeSecurityGroups", request)
    except ServiceError as error:
        if error.code.startswith("InvalidGroup"):
            raise InvalidParameterValue(f"Invalid security group: {error.message}") from error
        raise
    listed = found.get("SecurityGroups", ())
    for one in listed:
        if vpc_id and one["VpcId"] != vpc_id:
            raise InvalidParameterCombination(
                "The DB instance and EC2 security group are in different VPCs. The DB instance is in "
                f"{vpc_id} and the EC2 security group is in {one['VpcId']}"
            )
    return tuple(dict.fromkeys(str(one["GroupId"]) for one in listed))

# SPDX-License-Identifier: Apache-2.0
"""Elastic IP addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, needs, nets, tables
from cloudchamber.services.ec2.checks import (
    many,
    named,
    page,
    same,
    select,
    specified_tags,
    tag_list,
    takes,
    with_token,
)
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

ADDRESSES_MAX = 100


def _address(db: Reader, row: nets.Address) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AllocationId": row.id,
        "PublicIp": row.ip,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": row.region,
        "Tags": tag_list(tables.tags(db, row.id)),
    }
    if row.association_id:
        shown["AssociationId"] = row.association_id
    instance = tables.instance(db, row.instance_id) if row.instance_id else None
    nat = nets.find(db, nets.NatGateway, row.nat_gateway_id) if row.nat_gateway_id else None
    if instance is not None:
        shown |= {
            "InstanceId": instance.id,
            "NetworkInterfaceId": instance.eni_id,
            "NetworkInterfaceOwnerId": instance.account,
            "PrivateIpAddress": instance.private_ip,
        }
    if nat is not None:
        shown |= {
            "NetworkInterfaceId": f"eni-{nat.id.removeprefix('nat-')}",
            "NetworkInterfaceOwnerId": nat.account,
            "PrivateIpAddress": nat.private_ip,
        }
    return shown


@operation("AllocateAddress", needs=needs.create("AllocateAddress", "elastic-ip"))
@takes("Domain", "NetworkBorderGroup", "PublicIpv4Pool", "TagSpecifications")
async def allocate_address(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a public address that stays when instances come and go.

    Raises:
        AddressLimitExceeded: the account has as many as it may have.

    Source: Amazon EC2 API Reference, AllocateAddress.
    """
    for name, only in (("Domain", "vpc"), ("NetworkBorderGroup", call.region), ("PublicIpv4Pool", "amazon")):
        if (request.get(name) or only) != only:
            raise errors.InvalidParameterValue(f"Value ({request[name]}) for parameter {name} is invalid.")
    tags = specified_tags(request, "elastic-ip").get("elastic-ip", {})
    allocation_id = ids.hex_id("eipalloc")

    def change(tx: Tx) -> nets.Address:
        if len(nets.listed(tx, nets.Address, call.account, call.region)) >= ADDRESSES_MAX:
            raise errors.AddressLimitExceeded("The maximum number of addresses has been reached.")
        row = nets.Address(allocation_id, call.account, call.region, nets.free_public_address(tx))
        nets.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return row

    row = await call.doors.database.write(change)
    return {
        "AllocationId": row.id,
        "PublicIp": row.ip,
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": call.region,
    }


def find(db: Reader, call: Call, request: Mapping[str, Any]) -> nets.Address:
    """The address that a request names by its allocation or by itself.

    Raises:
        InvalidAllocationID.NotFound, InvalidAddress.NotFound: there is none.
    """
    if request.get("AllocationId"):
        return nets.get(db, nets.Address, call.account, call.region, request["AllocationId"])
    if not request.get("PublicIp"):
        raise errors.MissingParameter("Either public IP or allocation id must be specified")
    for one in nets.listed(db, nets.Address, call.account, call.region):
        if one.ip == request["PublicIp"]:
            return one
    raise errors.InvalidAddressNotFound(f"Address '{request['PublicIp']}' not found.")


@operation("AssociateAddress", needs=needs.associate_address)
@takes("AllocationId", "PublicIp", "InstanceId", "NetworkInterfaceId", "AllowReassociation", "PrivateIpAddress")
async def associate_address(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give an instance an Elastic IP address in place of its own public one.

    Raises:
        Resource.AlreadyAssociated: somebody has it, and `AllowReassociation` is false.
        Gateway.NotAttached: the VPC has no internet gateway.

    Source: Amazon EC2 API Reference, AssociateAddress.
    """
    association_id = ids.hex_id("eipassoc")

    def change(tx: Tx) -> None:
        row = find(tx, call, request)
        instance = _instance(tx, call, request)
        if (request.get("PrivateIpAddress") or instance.private_ip) != instance.private_ip:
            raise errors.InvalidParameterValue(f"{request['PrivateIpAddress']} is not an address of {instance.eni_id}")
        if not nets.of_vpc(tx, nets.InternetGateway, instance.vpc_id):
            raise errors.GatewayNotAttached(f"Network {instance.vpc_id} is not attached to any internet gateway")
        if row.association_id and row.instance_id != instance.id and not request.get("AllowReassociation"):
            raise errors.ResourceAlreadyAssociated(
                f"resource {row.id} is already associated with associate-id {row.association_id}"
            )
        if row.nat_gateway_id:
            raise errors.InvalidIPAddressInUse(f"Address {row.ip} is in use.")
        before = nets.address_of(tx, instance.id)
        if before is not None and before.id != row.id:
            if not request.get("AllowReassociation"):
                raise errors.ResourceAlreadyAssociated(
                    f"resource {instance.eni_id} is already associated with associate-id {before.association_id}"
                )
            nets.update(tx, before, association_id="", instance_id="")
        nets.update(tx, row, association_id=association_id, instance_id=instance.id)

    await call.doors.database.write(change)
    call.doors.part("ec2", Compute).addresses_changed()
    return {"AssociationId": association_id}


def _instance(db: Reader, call: Call, request: Mapping[str, Any]) -> tables.Instance:
    rows = tables.instances(db, call.account, call.region)
    for member, attribute, error in (
        ("InstanceId", "id", errors.InvalidInstanceIDNotFound),
        ("NetworkInterfaceId", "eni_id", errors.InvalidNetworkInterfaceIDNotFound),
    ):
        wanted = request.get(member)
        if wanted:
            for row in rows:
                if getattr(row, attribute) == wanted and row.state != "terminated":
                    return row
            raise error(f"The {'instance' if attribute == 'id' else 'networkInterface'} ID '{wanted}' does not exist")
    raise errors.MissingParameter("Either instance ID or network interface ID must be specified")


@operation("DisassociateAddress", needs=needs.disassociate_address)
@takes("AssociationId", "PublicIp")
async def disassociate_address(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take an Elastic IP address from its instance.

    Source: Amazon EC2 API Reference, DisassociateAddress.
    """

    def change(tx: Tx) -> None:
        wanted = request.get("AssociationId")
        if wanted:
            rows = nets.listed(tx, nets.Address, call.account, call.region)
            row = next((one for one in rows if one.association_id == wanted), None)
            if row is None:
                raise errors.InvalidAssociationIDNotFound(f"The association ID '{wanted}' does not exist")
        else:
            row = find(tx, call, request)
        if row.nat_gateway_id:
            raise errors.AuthFailure("You do not have permission to access the specified resource.")
        nets.update(tx, row, association_id="", instance_id="")

    await call.doors.database.write(change)
    call.doors.part("ec2", Compute).addresses_changed()
    return {}


@operation("ReleaseAddress", needs=needs.on_address("ReleaseAddress"))
@takes("AllocationId", "PublicIp", "NetworkBorderGroup")
async def release_address(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give an Elastic IP address back.

    Raises:
        InvalidIPAddress.InUse: somebody has it.

    Source: Amazon EC2 API Reference, ReleaseAddress.
    """

    if (request.get("NetworkBorderGroup") or call.region) != call.region:
        raise errors.InvalidParameterValue("The address is not in the specified network border group.")

    def change(tx: Tx) -> None:
        row = find(tx, call, request)
        if row.association_id:
            raise errors.InvalidIPAddressInUse(f"Address {row.ip} is in use.")
        nets.delete(tx, row)

    await call.doors.database.write(change)
    return {}


@operation("DescribeAddresses", needs=needs.look("DescribeAddresses"))
@takes("Filters", "AllocationIds", "PublicIps")
async def describe_addresses(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List Elastic IP addresses.

    Source: Amazon EC2 API Reference, DescribeAddresses.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        return [_address(db, row) for row in nets.listed(db, nets.Address, call.account, call.region)]

    rows = call.doors.database.read(read)
    rows = named(rows, "AllocationId", many(request, "AllocationIds"), lambda one: nets.missing(nets.Address, one))
    given = many(request, "PublicIps")
    rows = named(rows, "PublicIp", given, lambda one: errors.InvalidAddressNotFound(f"Address '{one}' not found."))
    paths = {
        "allocation-id": "AllocationId",
        "association-id": "AssociationId",
        "domain": "Domain",
        "instance-id": "InstanceId",
        "network-interface-id": "NetworkInterfaceId",
        "private-ip-address": "PrivateIpAddress",
        "public-ip": "PublicIp",
    }
    return {"Addresses": select(rows, request.get("Filters"), paths, same)}


@operation("DescribeAddressesAttribute", needs=needs.look("DescribeAddressesAttribute"))
@takes("AllocationIds", "Attribute", "NextToken", "MaxResults")
async def describe_addresses_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Reverse names of addresses: those that have one, and none here has.

    Source: Amazon EC2 API Reference, DescribeAddressesAttribute.
    """
    if request.get("Attribute") not in (None, "domain-name"):
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    known = call.doors.database.read(lambda db: nets.listed(db, nets.Address, call.account, call.region))
    rows = [{"PublicIp": row.ip, "AllocationId": row.id} for row in known]
    given = many(request, "AllocationIds")
    rows = named(rows, "AllocationId", given, lambda one: nets.missing(nets.Address, one))
    rows, token = page(rows if given else [], request, lambda row: row["AllocationId"])
    return with_token({"Addresses": rows}, token)

# SPDX-License-Identifier: Apache-2.0
"""Instances after their launch: describe, start, stop, reboot, terminate, console."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import disks, errors, lifecycle, names, needs, tables, views
from cloudchamber.services.ec2.checks import many, page, select, takes, with_token
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

_FILTERS = {
    "architecture": "Architecture",
    "block-device-mapping.attach-time": "BlockDeviceMappings.Ebs.AttachTime",
    "block-device-mapping.delete-on-termination": "BlockDeviceMappings.Ebs.DeleteOnTermination",
    "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
    "block-device-mapping.status": "BlockDeviceMappings.Ebs.Status",
    "block-device-mapping.volume-id": "BlockDeviceMappings.Ebs.VolumeId",
    "availability-zone": "Placement.AvailabilityZone",
    "client-token": "ClientToken",
    "capacity-reservation-specification.capacity-reservation-preference": (
        "CapacityReservationSpecification.CapacityReservationPreference"
    ),
    "dns-name": "PublicDnsName",
    "enclave-options.enabled": "EnclaveOptions.Enabled",
    "hibernation-options.configured": "HibernationOptions.Configured",
    "hypervisor": "Hypervisor",
    "iam-instance-profile.arn": "IamInstanceProfile.Arn",
    "image-id": "ImageId",
    "instance-id": "InstanceId",
    "instance-state-code": "State.Code",
    "instance-state-name": "State.Name",
    "instance-type": "InstanceType",
    "instance.group-id": "SecurityGroups.GroupId",
    "instance.group-name": "SecurityGroups.GroupName",
    "ip-address": "PublicIpAddress",
    "key-name": "KeyName",
    "launch-index": "AmiLaunchIndex",
    "launch-time": "LaunchTime",
    "maintenance-options.auto-recovery": "MaintenanceOptions.AutoRecovery",
    "metadata-options.http-put-response-hop-limit": "MetadataOptions.HttpPutResponseHopLimit",
    "metadata-options.state": "MetadataOptions.State",
    "monitoring-state": "Monitoring.State",
    "network-interface.association.public-ip": "NetworkInterfaces.Association.PublicIp",
    "network-interface.association.ip-owner-id": "NetworkInterfaces.Association.IpOwnerId",
    "network-interface.addresses.association.public-ip": "NetworkInterfaces.PrivateIpAddresses.Association.PublicIp",
    "network-interface.addresses.primary": "NetworkInterfaces.PrivateIpAddresses.Primary",
    "network-interface.attachment.attachment-id": "NetworkInterfaces.Attachment.AttachmentId",
    "network-interface.attachment.device-index": "NetworkInterfaces.Attachment.DeviceIndex",
    "network-interface.attachment.status": "NetworkInterfaces.Attachment.Status",
    "network-interface.group-name": "NetworkInterfaces.Groups.GroupName",
    "network-interface.mac-address": "NetworkInterfaces.MacAddress",
    "network-interface.owner-id": "NetworkInterfaces.OwnerId",
    "network-interface.private-dns-name": "NetworkInterfaces.PrivateDnsName",
    "network-interface.source-dest-check": "NetworkInterfaces.SourceDestCheck",
    "network-interface.status": "NetworkInterfaces.Status",
    "network-interface.subnet-id": "NetworkInterfaces.SubnetId",
    "network-interface.vpc-id": "NetworkInterfaces.VpcId",
    "placement-group-name": "Placement.GroupName",
    "platform-details": "PlatformDetails",
    "reason": "StateTransitionReason",
    "root-device-name": "RootDeviceName",
    "source-dest-check": "SourceDestCheck",
    "state-reason-message": "StateReason.Message",
    "tenancy": "Placement.Tenancy",
    "usage-operation": "UsageOperation",
    "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
    "metadata-options.http-endpoint": "MetadataOptions.HttpEndpoint",
    "network-interface.group-id": "NetworkInterfaces.Groups.GroupId",
    "network-interface.network-interface-id": "NetworkInterfaces.NetworkInterfaceId",
    "network-interface.private-ip-address": "NetworkInterfaces.PrivateIpAddress",
    "network-interface.addresses.private-ip-address": "NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress",
    "owner-id": "OwnerId",
    "private-dns-name": "PrivateDnsName",
    "private-ip-address": "PrivateIpAddress",
    "reservation-id": "ReservationId",
    "root-device-type": "RootDeviceType",
    "state-reason-code": "StateReason.Code",
    "subnet-id": "SubnetId",
    "virtualization-type": "VirtualizationType",
    "vpc-id": "VpcId",
}


def look(call: Call) -> views.Seen:
    """Everything of the call's region."""
    return call.doors.database.read(lambda db: views.region(db, call.account, call.region, call.now.timestamp()))


def wanted(seen: views.Seen, instance_ids: Sequence[str]) -> list[tables.Instance]:
    """The instances with these ids, in order of launch; all of them for none.

    Raises:
        InvalidInstanceID.Malformed, InvalidInstanceID.NotFound: one is not an id, or there is none with it.
    """
    if not instance_ids:
        return seen.instances
    known = {row.id for row in seen.instances}
    for one in instance_ids:
        if not names.INSTANCE_ID.fullmatch(one):
            raise errors.InvalidInstanceIDMalformed(f'Invalid id: "{one}"')
    missing = [one for one in instance_ids if one not in known]
    if missing:
        what = f"ID '{missing[0]}' does" if len(missing) == 1 else f"IDs '{', '.join(missing)}' do"
        raise errors.InvalidInstanceIDNotFound(f"The instance {what} not exist")
    return [row for row in seen.instances if row.id in set(instance_ids)]


@operation("DescribeInstances", needs=needs.look("DescribeInstances"))
@takes("InstanceIds", "Filters", "NextToken", "MaxResults", "IncludeManagedResources")
async def describe_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List instances by reservation, oldest first; terminated ones for an hour.

    Source: Amazon EC2 API Reference, DescribeInstances.
    """
    if request.get("InstanceIds") and request.get("MaxResults"):
        raise errors.InvalidParameterCombination(
            "The parameter instancesSet cannot be used with the parameter maxResults"
        )
    seen = look(call)
    rows = wanted(seen, many(request, "InstanceIds"))

    def shown(row: tables.Instance) -> dict[str, Any]:
        return {**views.instance(row, seen), "ReservationId": row.reservation_id, "OwnerId": row.account}

    rows, token = page(select(rows, request.get("Filters"), _FILTERS, shown), request, lambda row: row.id)
    reservations: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = reservations.setdefault(row.reservation_id, views.reservation(row))
        one["Instances"].append(views.instance(row, seen))
    return with_token({"Reservations": list(reservations.values())}, token)


async def _change(
    call: Call,
    instance_ids: Sequence[str],
    event: lifecycle.Event,
    check: Callable[[tables.Instance], None],
    values: Callable[[tables.Instance], dict[str, object]],
) -> list[dict[str, Any]]:
    """Move instances along the table, all or none, and set the machinery to work."""
    if not instance_ids:
        raise errors.MissingParameter("The request must contain the parameter InstanceId")

    def change(tx: Tx) -> list[tuple[str, str, str]]:
        seen = views.region(tx, call.account, call.region, call.now.timestamp())
        moved: list[tuple[str, str, str]] = []
        for row in wanted(seen, instance_ids):
            check(row)
            to = lifecycle.after(row.state, event)
            if to is None:
                verb = {"start": "started", "stop": "stopped"}.get(event, event)
                raise errors.IncorrectInstanceState(
                    f"The instance '{row.id}' is not in a state from which it can be {verb}."
                )
            if to != row.state:
                tables.update_instance(tx, row.id, state=to, **values(row))
            moved.append((row.id, row.state, to))
        return moved

    moved = await call.doors.database.write(change)
    compute = call.doors.part("ec2", Compute)
    for identifier, _, _ in moved:
        compute.wake(identifier)
    return [
        {"InstanceId": identifier, "CurrentState": lifecycle.view(to), "PreviousState": lifecycle.view(was)}
        for identifier, was, to in moved
    ]


def _asked(call: Call, code: str = "Client.UserInitiatedShutdown") -> dict[str, object]:
    when = call.now.strftime("%Y-%m-%d %H:%M:%S GMT")
    return {
        "reason_code": code,
        "reason": f"{code}: User initiated shutdown",
        "transition": f"User initiated ({when})",
        "ended_at": call.now.timestamp(),
    }


@operation("StartInstances", needs=needs.on("StartInstances", "InstanceIds"))
@takes("InstanceIds")
async def start_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Start stopped instances; user data does not run again.

    Source: Amazon EC2 API Reference, StartInstances.
    """

    call.doors.part("ec2", Compute).check_walls()

    def values(row: tables.Instance) -> dict[str, object]:
        return {"reason_code": "", "reason": "", "transition": "", "started_at": call.now.timestamp()}

    def check(row: tables.Instance) -> None:
        volumes = call.doors.database.read(lambda db: disks.of_instance(db, row.id))
        if row.state == "stopped" and not any(one.is_root for one in volumes):
            raise errors.InvalidParameterValue(
                f"Invalid value '{row.id}' for instanceId. Instance does not have a volume attached at root "
                f"({disks.ROOT_DEVICE})"
            )

    moved = await _change(call, many(request, "InstanceIds"), "start", check, values)
    return {"StartingInstances": moved}


@operation("StopInstances", needs=needs.on("StopInstances", "InstanceIds"))
@takes("InstanceIds", "Force")
async def stop_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Stop instances; their volumes stay.

    Source: Amazon EC2 API Reference, StopInstances.
    """

    def check(row: tables.Instance) -> None:
        if row.stop_protection:
            raise errors.OperationNotPermitted(
                f"The instance '{row.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and "
                f"try again."
            )

    return {
        "StoppingInstances": await _change(call, many(request, "InstanceIds"), "stop", check, lambda row: _asked(call))
    }


@operation("TerminateInstances", needs=needs.on("TerminateInstances", "InstanceIds"))
@takes("InstanceIds", "Force")
async def terminate_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """End instances for good; their volumes are deleted, but for those that are to be kept.

    Source: Amazon EC2 API Reference, TerminateInstances.
    """

    def check(row: tables.Instance) -> None:
        if row.terminate_protection and row.state != "terminated":
            raise errors.OperationNotPermitted(
                f"The instance '{row.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                f"attribute and try again."
            )

    moved = await _change(call, many(request, "InstanceIds"), "terminate", check, lambda row: _asked(call))
    return {"TerminatingInstances": moved}


@operation("RebootInstances", needs=needs.on("RebootInstances", "InstanceIds"))
@takes("InstanceIds")
async def reboot_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Restart what runs in instances; they stay `running`.

    Source: Amazon EC2 API Reference, RebootInstances.
    """

    def change(tx: Tx) -> list[str]:
        rows = wanted(views.region(tx, call.account, call.region, call.now.timestamp()), request["InstanceIds"])
        for row in rows:
            if row.state != "running":
                raise errors.IncorrectInstanceState(
                    f"The instance '{row.id}' is not in a state from which it can be rebooted."
                )
            tables.update_instance(tx, row.id, rebooting=True)
        return [row.id for row in rows]

    compute = call.doors.part("ec2", Compute)
    for identifier in await call.doors.database.write(change):
        compute.wake(identifier)
    return {}


@operation("GetConsoleOutput", needs=needs.on("GetConsoleOutput", "InstanceId"))
@takes("InstanceId", "Latest")
async def get_console_output(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the instance wrote to its console: the last 64 KB, always the latest.

    Source: Amazon EC2 API Reference, GetConsoleOutput.
    """
    row = wanted(look(call), [request["InstanceId"]])[0]
    output = call.doors.part("ec2", Compute).console(row.id)
    return {
        "InstanceId": row.id,
        "Timestamp": views.moment(call.now.timestamp()),
        "Output": base64.b64encode(output).decode(),
    }

# SPDX-License-Identifier: Apache-2.0
"""RunInstances: check everything first, then publish the whole reservation in one write."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import (
    catalog,
    devices,
    disks,
    errors,
    images,
    interfaces,
    keys,
    maintenance,
    market,
    names,
    needs,
    nets,
    tables,
    template_rows,
    views,
)
from cloudchamber.services.ec2.checks import inner, refuse, specified_tags, takes
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

INSTANCES_MAX = 64
"""Instances that may exist at once: every one is real processes on this machine."""
USER_DATA_OCTETS_MAX = 16 * 1024
TOKEN_MAX = 64

_TAKEN = (
    "ImageId",
    "InstanceType",
    "MinCount",
    "MaxCount",
    "KeyName",
    "SecurityGroupIds",
    "SecurityGroups",
    "SubnetId",
    "IamInstanceProfile",
    "UserData",
    "TagSpecifications",
    "ClientToken",
    "MetadataOptions",
    "PrivateIpAddress",
    "NetworkInterfaces",
    "InstanceInitiatedShutdownBehavior",
    "DisableApiTermination",
    "DisableApiStop",
    "Placement",
    "Monitoring",
    "LaunchTemplate",
    "BlockDeviceMappings",
    *market.TAKEN,
    "MaintenanceOptions",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every instance of the reservation shares."""

    image: str
    kind: catalog.InstanceType
    subnet: nets.Subnet
    private_ip: str
    public: bool
    groups: tuple[str, ...]
    profile_arn: str
    profile_id: str
    user_data: bytes
    metadata: Mapping[str, Any]
    tags: Mapping[str, Mapping[str, str]]
    key_name: str
    public_key: str
    volumes: tuple[devices.Disk, ...]


@operation("RunInstances", needs=needs.run_instances)
@takes(*_TAKEN)
async def run_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Launch instances; they are `pending` at once and `running` when their sandboxes run.

    Either `MinCount` to `MaxCount` instances are launched or none. The same `ClientToken` with the same
    parameters gives the same reservation.

    Source: Amazon EC2 API Reference, RunInstances; Ensuring idempotency.
    """
    compute = call.doors.part("ec2", Compute)
    compute.check_walls()
    request = await images.resolved(call, template_rows.merged(call, request))
    least, most = int(request["MinCount"]), int(request["MaxCount"])
    if least < 1 or most < least:
        raise errors.InvalidParameterValue(f"Value ({least}) for parameter minCount is invalid.")
    plan = _plan(call, request)
    token = request.get("ClientToken") or ""
    if len(token) > TOKEN_MAX:
        raise errors.InvalidParameterValue(f"Value ({token[:TOKEN_MAX]}...) for parameter clientToken is invalid.")
    print_of_it = _fingerprint(request)
    reservation_id = ids.hex_id("r")
    drafts = [(ids.hex_id("i"), ids.hex_id("eni"), ids.hex_id("iip-assoc")) for _ in range(min(most, INSTANCES_MAX))]

    def change(tx: Tx) -> str:
        if token and (used := tables.token(tx, call.account, call.region, token)):
            if used[0] != print_of_it:
                raise errors.IdempotentParameterMismatch(
                    "The request uses the same client token as a previous, but non-identical request."
                )
            return used[1]
        running = len(tables.all_instances(tx))
        count = min(most, INSTANCES_MAX - running)
        if count < least:
            raise errors.InstanceLimitExceeded(
                f"You have requested more instances ({running + least}) than your current instance limit of "
                f"{INSTANCES_MAX} allows."
            )
        for number, address in enumerate(_addresses(tx, plan.subnet, plan.private_ip, count)):
            _insert(tx, call, request, plan, reservation_id, number, address, drafts[number])
        if token:
            tables.keep_token(tx, call.account, call.region, token, print_of_it, reservation_id)
        return reservation_id

    reservation_id = await call.doors.database.write(change)
    seen = call.doors.database.read(lambda db: views.region(db, call.account, call.region, call.now.timestamp()))
    made = [row for row in seen.instances if row.reservation_id == reservation_id]
    if not made:
        raise errors.InvalidInstanceIDNotFound("The instances of this client token were terminated.")
    for row in made:
        compute.wake(row.id)
    call.note(instances=[row.id for row in made])
    return {**views.reservation(made[0]), "Instances": [views.instance(row, seen) for row in made]}


def _insert(
    tx: Tx,
    call: Call,
    request: Mapping[str, Any],
    plan: Plan,
    reservation_id: str,
    number: int,
    address: str,
    drafted: tuple[str, str, str],
) -> None:
    identifier, eni, association = drafted
    now_s = call.now.timestamp()
    tables.insert_instance(
        tx,
        tables.Instance(
            id=identifier,
            account=call.account,
            region=call.region,
            reservation_id=reservation_id,
            launch_index=number,
            client_token=request.get("ClientToken") or "",
            state="pending",
            reason_code="pending",
            reason="pending",
            launched_at=now_s,
            started_at=now_s,
            image_id=plan.image,
            type=plan.kind.name,
            zone=plan.subnet.zone,
            subnet_id=plan.subnet.id,
            private_ip=address,
            vpc_id=plan.subnet.vpc_id,
            public_ip=nets.free_public_address(tx) if plan.public else "",
            eni_id=eni,
            groups=plan.groups,
            profile_arn=plan.profile_arn,
            profile_id=plan.profile_id,
            association_id=association if plan.profile_arn else "",
            associated_at=now_s if plan.profile_arn else 0.0,
            user_data=plan.user_data,
            key_name=plan.key_name,
            public_key=plan.public_key,
            auto_recovery=inner(request, "MaintenanceOptions").get("AutoRecovery") or "default",
            terminate_protection=bool(request.get("DisableApiTermination")),
            stop_protection=bool(request.get("DisableApiStop")),
            shutdown_behavior=request.get("InstanceInitiatedShutdownBehavior") or "stop",
            http_tokens=plan.metadata.get("HttpTokens") or "required",
            http_endpoint=plan.metadata.get("HttpEndpoint") or "enabled",
            hop_limit=int(plan.metadata.get("HttpPutResponseHopLimit") or 2),
            ebs_optimized=bool(request.get("EbsOptimized")),
            interface_description=interfaces.primary(request).description,
            metadata_tags=plan.metadata.get("InstanceMetadataTags") or "disabled",
        ),
    )
    for kind, resource in (("instance", identifier), ("network-interface", eni)):
        if kind in plan.tags:
            tables.put_tags(tx, call.account, call.region, resource, plan.tags[kind])
    for disk in plan.volumes:
        volume = _volume(call, plan.subnet.zone, identifier, disk)
        disks.insert(tx, volume)
        if "volume" in plan.tags:
            tables.put_tags(tx, call.account, call.region, volume.id, plan.tags["volume"])


def _volume(call: Call, zone: str, instance_id: str, disk: devices.Disk) -> disks.Volume:
    now_s = call.now.timestamp()
    return disks.Volume(
        ids.hex_id("vol"), call.account, call.region, zone, disk.size_gib, disk.type, disk.iops, disk.throughput,
        "creating", now_s, disk.snapshot, "", instance_id, disk.device, "attaching", now_s,
        int(disk.delete_on_termination),
    )  # fmt: skip


def _plan(call: Call, request: Mapping[str, Any]) -> Plan:
    """Check all of the request before anything is written."""
    machine = catalog.architecture(platform.machine())
    image = images.launchable(call, request.get("ImageId") or "")
    kind = instance_type(request.get("InstanceType") or "m1.small", machine)
    market.check(request, kind)
    key_name, public_key = keys.of_launch(call, request.get("KeyName") or "")
    if inner(request, "Monitoring").get("Enabled"):
        raise errors.UnsupportedOperation("Detailed monitoring is not supported by this EC2 endpoint.")
    placement = inner(request, "Placement")
    refuse("Placement.", {k: v for k, v in placement.items() if (k, v) != ("Tenancy", "default")}, {"AvailabilityZone"})
    behavior = request.get("InstanceInitiatedShutdownBehavior") or "stop"
    if behavior not in ("stop", "terminate"):
        raise errors.InvalidParameterValue(
            f"Value ({behavior}) for parameter InstanceInitiatedShutdownBehavior is invalid."
        )
    maintenance.check(inner(request, "MaintenanceOptions"))
    options = inner(request, "MetadataOptions")
    check_metadata(options)
    defaults = call.doors.database.read(lambda db: market.metadata_defaults(db, call.account, call.region))
    options = {**defaults, **{name: value for name, value in options.items() if value}}
    tags = specified_tags(request, "instance", "network-interface", "volume")
    tags["instance"] = tags.get("instance", {}) | template_rows.launch_tags(request)
    interfaces.check(request)
    wanted = interfaces.primary(request)
    subnet = _subnet(call, wanted.subnet_id, placement.get("AvailabilityZone") or "")
    return Plan(
        image.id,
        kind,
        subnet,
        wanted.private_ip,
        bool(subnet.public_on_launch) if wanted.public is None else wanted.public,
        resolve_groups(call, subnet.vpc_id, wanted.group_ids, wanted.group_names),
        *resolve_profile(call, inner(request, "IamInstanceProfile")),
        user_data(request.get("UserData") or ""),
        options,
        tags,
        key_name,
        public_key,
        devices.launched(image.disks, devices.requested(request), lambda one: images.snapshot_for(call, one).size_gib),
    )


def check_metadata(options: Mapping[str, Any]) -> None:
    """Check `MetadataOptions`.

    Raises:
        InvalidParameterValue, UnsupportedOperation: a value that is not one, or IPv6.
    """
    refuse(
        "MetadataOptions.",
        options,
        {"HttpTokens", "HttpEndpoint", "HttpPutResponseHopLimit", "InstanceMetadataTags", "HttpProtocolIpv6"},
    )
    for name, known in (
        ("HttpTokens", ("optional", "required")),
        ("HttpEndpoint", ("enabled", "disabled")),
        ("InstanceMetadataTags", ("enabled", "disabled")),
        ("HttpProtocolIpv6", ("disabled",)),
    ):
        value = options.get(name)
        if value and value not in known:
            kind = errors.UnsupportedOperation if value == "enabled" else errors.InvalidParameterValue
            raise kind(f"Value ({value}) for parameter MetadataOptions.{name} is invalid.")
    if not 1 <= int(options.get("HttpPutResponseHopLimit") or 2) <= 64:
        raise errors.InvalidParameterValue("MetadataOptions.HttpPutResponseHopLimit must be between 1 and 64")


def instance_type(name: str, machine: str) -> catalog.InstanceType:
    """A type that the image can run on.

    Raises:
        InvalidInstanceType: no such type.
        InvalidParameterValue: another architecture.
    """
    kind = catalog.TYPES.get(name)
    if kind is None:
        raise errors.InvalidInstanceType(f"The following supplied instance types do not exist: [{name}]")
    if kind.architecture != machine:
        raise errors.InvalidParameterValue(
            f"The architecture '{kind.architecture}' of the specified instance type does not match the architecture "
            f"'{machine}' of the specified AMI. Specify an instance type and an AMI that have matching "
            f"architectures, and try again."
        )
    return kind


def user_data(text: str) -> bytes:
    """Decoded user data.

    Raises:
        InvalidUserData.Malformed: not base64.
        InvalidParameterValue: more than 16 KB.
    """
    try:
        data = base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        raise errors.InvalidUserDataMalformed("Invalid BASE64 encoding of user data.") from None
    check_user_data(data)
    return data


def check_user_data(data: bytes) -> None:
    """Refuse user data that is too long. What form it has, the instance finds out at its boot, as on AWS."""
    if len(data) > USER_DATA_OCTETS_MAX:
        raise errors.InvalidParameterValue("User data is limited to 16384 bytes")


def _subnet(call: Call, subnet_id: str, zone: str) -> nets.Subnet:
    if subnet_id:
        found = call.doors.database.read(lambda db: nets.get(db, nets.Subnet, call.account, call.region, subnet_id))
        if zone and zone != found.zone:
            raise errors.InvalidParameterValue(f"The specified subnet is not in the Availability Zone {zone}.")
        return found
    known = call.doors.database.read(lambda db: nets.listed(db, nets.Subnet, call.account, call.region))
    defaults = [one for one in known if one.is_default]
    if not defaults:
        raise errors.VPCIdNotSpecified(
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC."
        )
    for one in defaults:
        if not zone or zone == one.zone:
            return one
    if zone in dict(names.zones(call.region)):
        raise errors.MissingInput(f"No default subnet for availability zone: '{zone}'.")
    raise errors.InvalidParameterValue(f"Invalid availability zone: [{zone}]")


def resolve_groups(
    call: Call, vpc_id: str, group_ids: Sequence[str], group_names: Sequence[str] = ()
) -> tuple[str, ...]:
    """Ids of security groups that exist in a VPC; its default group where none is named.

    Raises:
        InvalidGroup.NotFound: one does not. InvalidParameter: it belongs to another VPC.
    """

    def look(db: Reader) -> tuple[str, ...]:
        found: list[str] = []
        for one in group_ids:
            row = tables.group(db, one)
            if row is None or (row.account, row.region) != (call.account, call.region):
                raise errors.InvalidGroupNotFound(f"The security group '{one}' does not exist")
            if row.vpc_id != vpc_id:
                raise errors.InvalidParameter(f"Security group {row.id} and the subnet belong to different networks.")
            found.append(row.id)
        for name in group_names:
            row = tables.group_named(db, vpc_id, name)
            if row is None:
                raise errors.InvalidGroupNotFound(f"The security group '{name}' does not exist in VPC '{vpc_id}'")
            found.append(row.id)
        if not found:
            default = tables.group_named(db, vpc_id, "default")
            found += [default.id] if default is not None else []
        return tuple(dict.fromkeys(found))

    found = call.doors.database.read(look)
    if len(found) > 5:
        raise errors.InvalidParameterValue("A network interface can have at most 5 security groups.")
    return found


def resolve_profile(call: Call, profile: Mapping[str, Any]) -> tuple[str, str]:
    """ARN and unique id of an instance profile; empty texts if none is named.

    Raises:
        InvalidParameterValue: there is none, or it has no role.
    """
    given = profile.get("Arn") or profile.get("Name") or ""
    if not given:
        return "", ""
    found = call.doors.identities.instance_profile(call.account, given)
    if found is None or not call.doors.identities.profile_roles(call.account, given):
        kind = "ARN" if profile.get("Arn") else "name"
        why = f"Invalid IAM Instance Profile {kind}" if found is None else "The IAM instance profile has no role"
        raise errors.InvalidParameterValue(
            f"Value ({given}) for parameter iamInstanceProfile.{kind.lower()} is invalid. {why}"
        )
    return found


def _addresses(tx: Tx, subnet: nets.Subnet, wanted: str, count: int) -> list[str]:
    """Free private addresses, or the one that is wanted."""
    if not wanted:
        return nets.free_private(tx, subnet, count)
    if count != 1:
        raise errors.InvalidParameterCombination(
            "The parameter PrivateIpAddress cannot be used when launching multiple instances."
        )
    if not names.covers(subnet.cidr, wanted) or wanted in nets.reserved(subnet.cidr):
        raise errors.InvalidParameterValue(f"Address {wanted} does not fall within the subnet's address range")
    if wanted in nets.used_private(tx, subnet):
        raise errors.InvalidIPAddressInUse(f"Address {wanted} is in use.")
    return [wanted]


def _fingerprint(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""What a launch may say of how an instance is bought and built: what is true here is accepted, the rest refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import addresses, catalog, errors, instances, names, needs, nets
from cloudchamber.services.ec2.checks import inner, many, page, refuse, select, takes, with_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

TAKEN = (
    "InstanceMarketOptions",
    "HibernationOptions",
    "CpuOptions",
    "CreditSpecification",
    "EnclaveOptions",
    "CapacityReservationSpecification",
    "PrivateDnsNameOptions",
    "EbsOptimized",
)
"""Members of RunInstances and of launch templates that `check` reads."""
_TRUE: dict[str, dict[str, tuple[object, ...]]] = {
    "HibernationOptions": {"Configured": (False,)},
    "EnclaveOptions": {"Enabled": (False,)},
    "CapacityReservationSpecification": {"CapacityReservationPreference": ("open", "none")},
    "PrivateDnsNameOptions": {
        "HostnameType": ("ip-name",),
        "EnableResourceNameDnsARecord": (False,),
        "EnableResourceNameDnsAAAARecord": (False,),
    },
}
"""Structures, and the values that say what is so anyway."""


def check(request: Mapping[str, Any], kind: catalog.InstanceType | None) -> None:
    """Refuse what no instance here is; without a `kind` what a template says that leaves the type to its launches.

    Raises:
        UnsupportedOperation: names the parameter.
        InvalidParameterCombination: AWS has no such instance either.
    """
    market = inner(request, "InstanceMarketOptions").get("MarketType")
    if market:
        raise errors.UnsupportedOperation(
            f"The parameter InstanceMarketOptions is not supported by this EC2 endpoint: there is no market of "
            f"'{market}' instances here. Launch it on demand."
        )
    for name, known in _TRUE.items():
        for member, value in inner(request, name).items():
            if value not in known.get(member, ()) and value not in (None, "", {}, []):
                raise errors.UnsupportedOperation(
                    f"The parameter {name}.{member} is not supported by this EC2 endpoint with the value "
                    f"'{str(value).lower() if isinstance(value, bool) else value}'."
                )
    credits = inner(request, "CreditSpecification").get("CpuCredits")
    if credits and kind is not None and not kind.burstable:
        raise errors.InvalidParameterCombination(
            f"The CreditSpecification parameter is not supported for the instance type '{kind.name}'."
        )
    if credits not in (None, "", "unlimited"):
        raise errors.UnsupportedOperation(
            "The parameter CreditSpecification.CpuCredits is not supported by this EC2 endpoint with the value "
            f"'{credits}': no instance is slowed down here when its credits would be used up ('unlimited')."
        )
    if kind is not None:
        _cpu(inner(request, "CpuOptions"), kind)


def _cpu(options: Mapping[str, Any], kind: catalog.InstanceType) -> None:
    refuse("CpuOptions.", options, {"CoreCount", "ThreadsPerCore", "AmdSevSnp"})
    if options.get("AmdSevSnp") not in (None, "", "disabled"):
        raise errors.UnsupportedOperation("The parameter CpuOptions.AmdSevSnp is not supported by this EC2 endpoint.")
    default = (max(1, kind.vcpus // kind.threads_per_core), kind.threads_per_core)
    asked = (int(options.get("CoreCount") or default[0]), int(options.get("ThreadsPerCore") or default[1]))
    if asked != default:
        raise errors.UnsupportedOperation(
            f"The parameter CpuOptions is not supported by this EC2 endpoint with other values than the type's own: "
            f"{default[0]} cores with {default[1]} threads each for {kind.name}."
        )


@operation("DescribeInstanceTypeOfferings", needs=needs.look("DescribeInstanceTypeOfferings"))
@takes("LocationType", "Filters", "MaxResults", "NextToken")
async def describe_instance_type_offerings(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Which types there are where: every one in every zone.

    Source: Amazon EC2 API Reference, DescribeInstanceTypeOfferings.
    """
    kind = request.get("LocationType") or "region"
    zones = names.zones(call.region)
    places = {
        "region": [call.region],
        "availability-zone": [zone for zone, _ in zones],
        "availability-zone-id": [zone_id for _, zone_id in zones],
    }
    if kind not in places:
        raise errors.InvalidParameterValue(f"Value ({kind}) for parameter locationType is invalid.")
    rows: list[dict[str, Any]] = [
        {"InstanceType": name, "LocationType": kind, "Location": place}
        for name in sorted(catalog.TYPES)
        for place in places[kind]
    ]
    paths = {"instance-type": "InstanceType", "location": "Location"}
    chosen, token = page(
        select(rows, request.get("Filters"), paths, lambda row: row),
        request,
        lambda row: f"{row['InstanceType']} {row['Location']}",
    )
    return with_token({"InstanceTypeOfferings": chosen}, token)


@operation("DescribeInstanceCreditSpecifications", needs=needs.look("DescribeInstanceCreditSpecifications"))
@takes("InstanceIds", "Filters", "MaxResults", "NextToken")
async def describe_instance_credit_specifications(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """CPU credits of burstable instances: `unlimited`, since nothing slows them down.

    Source: Amazon EC2 API Reference, DescribeInstanceCreditSpecifications.
    """
    rows = [
        {"InstanceId": row.id, "CpuCredits": "unlimited"}
        for row in instances.wanted(instances.look(call), many(request, "InstanceIds"))
        if catalog.TYPES[row.type].burstable and row.state != "terminated"
    ]
    chosen, token = page(
        select(rows, request.get("Filters"), {"instance-id": "InstanceId"}, lambda row: row),
        request,
        lambda row: row["InstanceId"],
    )
    return with_token({"InstanceCreditSpecifications": chosen}, token)


@operation("DescribeAccountAttributes", needs=needs.look("DescribeAccountAttributes"))
@takes("AttributeNames")
async def describe_account_attributes(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What this account may have here.

    Source: Amazon EC2 API Reference, DescribeAccountAttributes.
    """
    from cloudchamber.services.ec2 import launch  # Why here: it reads this module's `check`

    vpc = call.doors.database.read(lambda db: nets.default_vpc(db, call.account, call.region))
    values = {
        "supported-platforms": "VPC",
        "default-vpc": vpc.id if vpc is not None else "none",
        "max-instances": str(launch.INSTANCES_MAX),
        "vpc-max-security-groups-per-interface": "5",
        "max-elastic-ips": str(addresses.ADDRESSES_MAX),
        "vpc-max-elastic-ips": str(addresses.ADDRESSES_MAX),
    }
    wanted = many(request, "AttributeNames") or list(values)
    unknown = [one for one in wanted if one not in values]
    if unknown:
        raise errors.InvalidParameterValue(f"Value ({unknown[0]}) for parameter attributeName is invalid.")
    return {
        "AccountAttributes": [
            {"AttributeName": one, "AttributeValues": [{"AttributeValue": values[one]}]} for one in wanted
        ]
    }


@operation("GetConsoleScreenshot", needs=needs.on("GetConsoleScreenshot", "InstanceId"))
@takes("InstanceId", "WakeUp")
async def get_console_screenshot(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """No instance here has a screen.

    Source: Amazon EC2 API Reference, GetConsoleScreenshot.
    """
    row = instances.wanted(instances.look(call), [request["InstanceId"]])[0]
    raise errors.UnsupportedOperation(
        f"The instance '{row.id}' has no screen to be shown; GetConsoleOutput gives what it wrote."
    )


# Defaults of the metadata service

_DEFAULTS = {
    "HttpTokens": ("optional", "required"),
    "HttpEndpoint": ("enabled", "disabled"),
    "InstanceMetadataTags": ("enabled", "disabled"),
}


def metadata_defaults(db: Reader, account: str, region: str) -> dict[str, Any]:
    """What instances of a region get where their launch says nothing, as `MetadataOptions`."""
    row = db.execute(
        "SELECT options FROM ec2_metadata_defaults WHERE account = ? AND region = ?", (account, region)
    ).fetchone()
    return json.loads(row[0]) if row is not None else {}


@operation("GetInstanceMetadataDefaults", needs=needs.look("GetInstanceMetadataDefaults"))
@takes()
async def get_instance_metadata_defaults(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The region's defaults for the metadata service.

    Source: Amazon EC2 API Reference, GetInstanceMetadataDefaults.
    """
    found = call.doors.database.read(lambda db: metadata_defaults(db, call.account, call.region))
    return {"AccountLevel": {**found, "ManagedBy": "account"}}


@operation("ModifyInstanceMetadataDefaults", needs=needs.modify_metadata_defaults)
@takes("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags")
async def modify_instance_metadata_defaults(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set the region's defaults for the metadata service; `no-preference` and a hop limit of -1 take one back.

    Source: Amazon EC2 API Reference, ModifyInstanceMetadataDefaults.
    """
    changed: dict[str, Any] = {}
    for name, known in _DEFAULTS.items():
        value = request.get(name)
        if value and value not in (*known, "no-preference"):
            raise errors.InvalidParameterValue(f"Value ({value}) for parameter {name} is invalid.")
        if value:
            changed[name] = None if value == "no-preference" else value
    hops = request.get("HttpPutResponseHopLimit")
    if hops is not None:
        if hops != -1 and not 1 <= hops <= 64:
            raise errors.InvalidParameterValue("HttpPutResponseHopLimit must be between 1 and 64, or -1")
        changed["HttpPutResponseHopLimit"] = None if hops == -1 else hops

    def change(tx: Tx) -> None:
        values = {**metadata_defaults(tx, call.account, call.region), **changed}
        kept = json.dumps({name: value for name, value in values.items() if value is not None})
        tx.execute("INSERT OR REPLACE INTO ec2_metadata_defaults VALUES (?, ?, ?)", (call.account, call.region, kept))

    await call.doors.database.write(change)
    return {"Return": True}

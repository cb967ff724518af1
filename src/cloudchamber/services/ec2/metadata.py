# SPDX-License-Identifier: Apache-2.0
"""The tree of the metadata service, from what is known of an instance: pure, but for the signatures.

What does not apply to an instance here is not there, as on AWS: `spot/`, `autoscaling/`, `events/recommendations/`,
`placement/` of groups and hosts, `identity-credentials/` (AWS's own), IPv6.
Source: Amazon EC2 User Guide, Instance metadata categories.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import catalog, names, tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.services.ec2 import nets, views
    from cloudchamber.services.ec2.identity import Signer

_STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tree says beside the instance's row; `devices` are names such as ``/dev/sdf``."""

    groups: tuple[str, ...]
    outside: views.Public | None
    subnet: nets.Subnet | None
    vpc_cidr: str
    tags: Mapping[str, str]
    devices: tuple[str, ...]


def tree(row: tables.Instance, facts: Facts, role: str, now: datetime, signer: Signer) -> dict[str, Any]:
    """Everything below a version: texts, octets, folders as dicts, and functions for what takes a while to make.

    `role` is the name of the role in the instance's profile; empty for none.
    """
    meta = _meta_data(row, list(facts.groups), facts.outside, facts.subnet, facts.vpc_cidr)
    meta["block-device-mapping"] = _devices(facts.devices)
    document = _document(row)
    signed = document.encode()
    found: dict[str, Any] = {
        "dynamic": {
            "fws": {"instance-monitoring": "disabled"},
            "instance-identity": {
                "document": document,
                "pkcs7": lambda: signer.pkcs7(signed),
                "rsa2048": lambda: signer.pkcs7(signed),
                "signature": lambda: signer.signature(signed),
            },
        },
        "meta-data": meta,
    }
    if row.user_data:
        found["user-data"] = row.user_data
    said = {"Code": "Success", "LastUpdated": now.strftime(_STAMP)}
    # Why no `security-credentials` beside it: AWS keeps those for itself ("internal use only")
    meta["identity-credentials"] = {"ec2": {"info": json.dumps({**said, "AccountId": row.account}, indent=2)}}
    if row.profile_arn:
        info = {
            **said,
            "InstanceProfileArn": row.profile_arn,
            "InstanceProfileId": row.profile_id,
        }
        iam: dict[str, Any] = {"info": json.dumps(info, indent=2)}
        if role:
            iam["security-credentials"] = {role: ""}
        meta["iam"] = iam
    if row.public_key:
        meta["public-keys"] = PublicKeys({"0": {"openssh-key": row.public_key}}, row.key_name)
    if row.metadata_tags == "enabled":
        meta["tags"] = {"instance": dict(facts.tags)}
    found["meta-data"] = dict(sorted(meta.items()))
    return found


def _devices(devices: tuple[str, ...]) -> dict[str, str]:
    """`block-device-mapping`: the root device, and each further volume."""
    found = {"ami": "xvda", "root": "/dev/xvda"}
    others = sorted(one for one in devices if one and one != "/dev/xvda")
    return found | {f"ebs{number}": one.removeprefix("/dev/") for number, one in enumerate(others, 1)}


class PublicKeys(dict[str, Any]):
    """`public-keys`, which is listed with the name of each key: ``0=my-key``."""

    def __init__(self, keys: Mapping[str, Any], name: str) -> None:
        super().__init__(keys)
        self.name = name


def _meta_data(
    row: tables.Instance, groups: list[str], outside: views.Public | None, subnet: nets.Subnet | None, vpc_cidr: str
) -> dict[str, Any]:
    dns, mac = names.private_dns(row.private_ip, row.region), names.mac(row.private_ip)
    interface: dict[str, Any] = {
        "device-number": "0",
        "interface-id": row.eni_id,
        "local-hostname": dns,
        "local-ipv4s": row.private_ip,
        "mac": mac,
        "owner-id": row.account,
        "security-group-ids": "\n".join(row.groups),
        "security-groups": "\n".join(groups),
        "subnet-id": row.subnet_id,
        "subnet-ipv4-cidr-block": subnet.cidr if subnet else "",
        "vpc-id": row.vpc_id,
        "vpc-ipv4-cidr-block": vpc_cidr,
        "vpc-ipv4-cidr-blocks": vpc_cidr,
    }
    public: dict[str, Any] = {}
    if outside is not None:
        interface["ipv4-associations"] = {outside.address: row.private_ip}
        interface["public-ipv4s"] = public["public-ipv4"] = outside.address
        if outside.name:
            interface["public-hostname"] = public["public-hostname"] = outside.name
    return {
        **public,
        "ami-id": row.image_id,
        "ami-launch-index": str(row.launch_index),
        "ami-manifest-path": "(unknown)",
        "events": {"maintenance": {"history": "[]", "scheduled": "[]"}},
        "hostname": dns,
        "instance-action": "none",
        "instance-id": row.id,
        "instance-life-cycle": "on-demand",
        "instance-type": row.type,
        "local-hostname": dns,
        "local-ipv4": row.private_ip,
        "mac": mac,
        "metrics": {"vhostmd": '<?xml version="1.0" encoding="UTF-8"?>'},
        "network": {"interfaces": {"macs": {mac: interface}}},
        "placement": {
            "availability-zone": row.zone,
            "availability-zone-id": subnet.zone_id if subnet else "",
            "region": row.region,
        },
        "profile": "default-hvm",
        "reservation-id": row.reservation_id,
        "security-groups": "\n".join(groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "system": "nitro",
    }


def _document(row: tables.Instance) -> str:
    document = {
        "accountId": row.account,
        "architecture": catalog.TYPES[row.type].architecture,
        "availabilityZone": row.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": row.image_id,
        "instanceId": row.id,
        "instanceType": row.type,
        "kernelId": None,
        "pendingTime": tables.moment(row.started_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": row.private_ip,
        "ramdiskId": None,
        "region": row.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2, separators=(",", " : "))


def listing(tree: Mapping[str, Any]) -> str:
    """A folder's names, one a line; folders with a slash."""
    if isinstance(tree, PublicKeys):
        return "\n".join(f"{number}={tree.name}" for number in tree)
    return "\n".join(f"{name}/" if isinstance(value, dict) else name for name, value in tree.items())

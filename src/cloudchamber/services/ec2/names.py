# SPDX-License-Identifier: Apache-2.0
"""Names and addresses: pure. The default VPC, its subnets, ARNs, DNS names, hardware addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import re

INSTANCE_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
GROUP_ID = re.compile(r"sg-[0-9a-f]{8}(?:[0-9a-f]{9})?")
WEB_DOMAIN = "ec2.localhost"
VPC_CIDR = "172.31.0.0/16"

REGIONS = {
    "us-east-1": ("abcdef", "use1"),
    "us-east-2": ("abc", "use2"),
    "us-west-1": ("ab", "usw1"),
    "us-west-2": ("abcd", "usw2"),
    "ca-central-1": ("abd", "cac1"),
    "eu-central-1": ("abc", "euc1"),
    "eu-west-1": ("abc", "euw1"),
    "eu-west-2": ("abc", "euw2"),
    "eu-west-3": ("abc", "euw3"),
    "eu-north-1": ("abc", "eun1"),
    "ap-northeast-1": ("acd", "apne1"),
    "ap-northeast-2": ("abcd", "apne2"),
    "ap-northeast-3": ("abc", "apne3"),
    "ap-south-1": ("abc", "aps1"),
    "ap-southeast-1": ("abc", "apse1"),
    "ap-southeast-2": ("abc", "apse2"),
    "sa-east-1": ("abc", "sae1"),
}
"""Region -> letters of its Availability Zones, prefix of their zone ids."""


def well_formed(prefix: str, identifier: str) -> bool:
    """Whether a text has the form of an id: a prefix and 8 or 17 hexadecimal digits."""
    return re.fullmatch(rf"{prefix}-[0-9a-f]{{8}}(?:[0-9a-f]{{9}})?", identifier) is not None


def stable_id(prefix: str, *parts: str) -> str:
    """An id that depends on nothing but `parts`: default resources keep theirs after a reset."""
    return f"{prefix}-0{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}"


def vpc_id(account: str, region: str) -> str:
    """The default VPC's id."""
    return stable_id("vpc", account, region)


def default_group_id(account: str, region: str) -> str:
    """Id of the default VPC's default security group."""
    return stable_id("sg", account, region, "default")


def zones(region: str) -> list[tuple[str, str]]:
    """Availability Zones of a region: name and zone id."""
    letters, prefix = REGIONS.get(region, ("abc", region.replace("-", "")))
    return [(region + letter, f"{prefix}-az{n}") for n, letter in enumerate(letters, 1)]


def arn(kind: str, identifier: str, region: str, account: str) -> str:
    """ARN of an EC2 resource; images and snapshots have no account in theirs."""
    if kind in ("image", "snapshot"):
        account = ""
    return f"arn:aws:ec2:{region}:{account}:{kind}/{identifier}"


def private_dns(address: str, region: str) -> str:
    """``ip-172-31-0-5.ec2.internal``, or with the region's name outside us-east-1."""
    suffix = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{suffix}"


def public_dns(instance_id: str) -> str:
    """The name that EC2's HTTPS front routes to the instance's port 80."""
    return f"{instance_id}.{WEB_DOMAIN}"


def mac(address: str) -> str:
    """The hardware address that belongs to a private address (locally administered)."""
    return "0a:58:" + ":".join(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)


def covers(cidr: str, address: str) -> bool:
    """Whether a CIDR block contains an address."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        return False

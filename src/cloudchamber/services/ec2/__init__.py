# SPDX-License-Identifier: Apache-2.0
"""Amazon EC2: instances as sandboxes, their metadata service, security groups, and their networks."""

from cloudchamber.contract.service import service
from cloudchamber.services.ec2 import (
    addresses,
    attributes,
    disk_resources,
    groups,
    images,
    instances,
    key_resources,
    keys,
    launch,
    maintenance,
    market,
    net_resources,
    network,
    profiles,
    resources,
    routing,
    snapshots,
    status,
    tags,
    templates,
    volumes,
    vpcs,
)
from cloudchamber.services.ec2.compute import Compute

SERVICE = service(
    "ec2",
    launch,
    templates,
    instances,
    attributes,
    profiles,
    groups,
    network,
    vpcs,
    routing,
    addresses,
    images,
    volumes,
    snapshots,
    status,
    market,
    keys,
    maintenance,
    tags,
    resources=(*resources.TYPES, *net_resources.TYPES, *key_resources.TYPES, *disk_resources.TYPES),
    part=Compute,
    facts=tags.facts,
)

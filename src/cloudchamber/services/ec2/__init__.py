# SPDX-License-Identifier: Apache-2.0
"""Amazon EC2: instances as sandboxes, their metadata service, security groups, and the default VPC."""

from cloudchamber.contract.service import service
from cloudchamber.services.ec2 import attributes, groups, images, instances, launch, network, profiles, resources, tags
from cloudchamber.services.ec2.compute import Compute

SERVICE = service(
    "ec2",
    launch,
    instances,
    attributes,
    profiles,
    groups,
    network,
    images,
    tags,
    resources=resources.TYPES,
    part=Compute,
    facts=tags.facts,
)

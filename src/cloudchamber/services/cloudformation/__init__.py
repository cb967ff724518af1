# SPDX-License-Identifier: Apache-2.0
"""AWS CloudFormation: stacks of resources from templates."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.cloudformation import changesets, describing, stacks, templates
from cloudchamber.services.cloudformation.engine import Engine
from cloudchamber.services.cloudformation.facts import facts
from cloudchamber.services.cloudformation.resources import RESOURCES

SERVICE = service(
    "cloudformation", stacks, changesets, describing, templates, resources=RESOURCES, part=Engine, facts=facts
)

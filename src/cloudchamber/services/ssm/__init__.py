# SPDX-License-Identifier: Apache-2.0
"""AWS Systems Manager: Parameter Store."""

from cloudchamber.contract.service import service
from cloudchamber.services.ssm import parameters
from cloudchamber.services.ssm.facts import facts
from cloudchamber.services.ssm.resources import RESOURCES

SERVICE = service("ssm", parameters, resources=RESOURCES, facts=facts)

# SPDX-License-Identifier: Apache-2.0
"""AWS Systems Manager: the public parameters that name Amazon Linux images, to read."""

from cloudchamber.contract.service import service
from cloudchamber.services.ssm import parameters

SERVICE = service("ssm", parameters)

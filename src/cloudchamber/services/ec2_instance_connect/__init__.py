# SPDX-License-Identifier: Apache-2.0
"""EC2 Instance Connect: a public key that may log in to an instance for a minute."""

from cloudchamber.contract.service import service
from cloudchamber.services.ec2_instance_connect import keys

SERVICE = service("ec2-instance-connect", keys)

# SPDX-License-Identifier: Apache-2.0
"""Amazon ECR: repositories and their policies, without images.

There is no registry behind it: what pushes or pulls is not offered. Stacks that make a repository (the AWS CDK's
bootstrap stack is one) deploy, and their repositories stay empty.
"""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.ecr import policies, repositories
from cloudchamber.services.ecr.facts import facts
from cloudchamber.services.ecr.resources import RESOURCES

SERVICE = service(
    "ecr", repositories, policies, resources=RESOURCES, facts=facts, policies=(("ecr_repositories", "policy"),)
)

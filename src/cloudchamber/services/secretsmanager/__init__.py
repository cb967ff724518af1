# SPDX-License-Identifier: Apache-2.0
"""Secrets Manager: secrets with versions, sealed at rest."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.secretsmanager import secrets, values
from cloudchamber.services.secretsmanager.facts import facts
from cloudchamber.services.secretsmanager.part import Safe
from cloudchamber.services.secretsmanager.resources import RESOURCES

SERVICE = service(
    "secretsmanager", secrets, values, resources=RESOURCES, part=Safe, facts=facts,
    policies=(("secretsmanager_secrets", "body"),),
)  # fmt: skip

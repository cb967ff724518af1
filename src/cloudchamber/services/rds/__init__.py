# SPDX-License-Identifier: Apache-2.0
"""RDS: DB instances are real PostgreSQL servers, each behind an endpoint that speaks TLS and IAM."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.rds import catalog, history, instances, power, subnets
from cloudchamber.services.rds.facts import facts
from cloudchamber.services.rds.part import Databases
from cloudchamber.services.rds.resources import RESOURCES

SERVICE = service(
    "rds",
    instances,
    power,
    subnets,
    history,
    catalog,
    resources=RESOURCES,
    part=Databases,
    facts=facts,
    signing_names=("rds",),
)

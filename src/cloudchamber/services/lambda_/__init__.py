# SPDX-License-Identifier: Apache-2.0
"""Lambda: functions in sandboxes of their own, through AWS's own runtime client."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.lambda_ import (
    aliases,
    controls,
    event_invoke,
    functions,
    invoking,
    layers,
    permissions,
    provisioned,
    sources,
    urls,
    versions,
)
from cloudchamber.services.lambda_.facts import facts
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.published_resources import PUBLISHED
from cloudchamber.services.lambda_.resources import EVENT_INVOKE_CONFIG, FUNCTION, PERMISSION

SERVICE = service(
    "lambda",
    functions,
    invoking,
    permissions,
    controls,
    event_invoke,
    versions,
    aliases,
    layers,
    provisioned,
    sources,
    urls,
    resources=(FUNCTION, PERMISSION, EVENT_INVOKE_CONFIG, *PUBLISHED),
    part=LambdaPart,
    facts=facts,
    policies=tuple((f"lambda_{table}", "statements") for table in ("functions", "qualifiers", "layers")),
)

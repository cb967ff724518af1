# SPDX-License-Identifier: Apache-2.0
"""CloudWatch Logs: groups, streams, events."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.logs import events, filters, groups, streams, tail
from cloudchamber.services.logs.facts import facts
from cloudchamber.services.logs.part import LogsPart
from cloudchamber.services.logs.resources import LOG_GROUP

SERVICE = service(
    "logs",
    groups,
    streams,
    events,
    tail,
    filters,
    resources=(LOG_GROUP,),
    part=LogsPart,
    facts=facts,
    busy=frozenset(("logs_events", "logs_streams")),
)

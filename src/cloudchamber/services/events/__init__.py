# SPDX-License-Identifier: Apache-2.0
"""EventBridge's schedules: rules that run functions at a rate or by a cron expression."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.events import rules, targets
from cloudchamber.services.events.facts import facts
from cloudchamber.services.events.part import SchedulePart
from cloudchamber.services.events.resources import RULE

SERVICE = service("events", rules, targets, resources=(RULE,), part=SchedulePart, facts=facts)

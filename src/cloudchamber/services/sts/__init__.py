# SPDX-License-Identifier: Apache-2.0
"""STS: temporary credentials."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.sts import sessions

SERVICE = service("sts", sessions)

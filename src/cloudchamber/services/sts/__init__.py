# SPDX-License-Identifier: Apache-2.0
"""STS: temporary credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.service import service
from cloudchamber.services.sts import assume, federate, saml, sessions
from cloudchamber.services.sts.issuers import Issuers

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def _part(doors: Doors) -> Issuers:
    return Issuers()


SERVICE = service("sts", sessions, assume, federate, saml, part=_part, shared={})

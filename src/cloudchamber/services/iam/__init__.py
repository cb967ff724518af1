# SPDX-License-Identifier: Apache-2.0
"""IAM: users, groups, roles, policies, keys - and who a caller is."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.iam import (
    account,
    groups,
    inline,
    managed,
    oidc,
    profiles,
    roles,
    saml,
    simulate,
    tags,
    users,
)
from cloudchamber.services.iam.facts import facts
from cloudchamber.services.iam.identities import identities
from cloudchamber.services.iam.resources import RESOURCES

SERVICE = service(
    "iam",
    users,
    groups,
    roles,
    profiles,
    inline,
    managed,
    tags,
    account,
    simulate,
    oidc,
    saml,
    resources=RESOURCES,
    facts=facts,
    identities=identities,
)

# SPDX-License-Identifier: Apache-2.0
"""IAM: users, groups, roles, policies, keys - and who a caller is."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.iam import (
    access_keys,
    account,
    details,
    devices,
    groups,
    inline,
    last_accessed,
    last_used,
    linked,
    logins,
    managed,
    oidc,
    profiles,
    report,
    roles,
    saml,
    server_certificates,
    service_credentials,
    signing,
    simulate,
    ssh_keys,
    tags,
    users,
)
from cloudchamber.services.iam.facts import facts
from cloudchamber.services.iam.identities import identities, new_master, new_pair
from cloudchamber.services.iam.resources import RESOURCES

SERVICE = service(
    "iam",
    users,
    access_keys,
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
    linked,
    last_accessed,
    details,
    last_used,
    report,
    devices,
    logins,
    server_certificates,
    service_credentials,
    signing,
    ssh_keys,
    resources=RESOURCES,
    facts=facts,
    identities=identities,
    shared={"session-key": new_master, "root-credentials.json": new_pair},
)

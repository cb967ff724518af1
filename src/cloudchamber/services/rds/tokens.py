# SPDX-License-Identifier: Apache-2.0
"""IAM authentication tokens for databases: presigned requests used as passwords.

Source: Amazon RDS User Guide, "IAM database authentication"; the token's form is what the SDKs' signers make.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import sigv4
from cloudchamber.wire.http import Headers

if TYPE_CHECKING:
    from collections.abc import Collection

    from cloudchamber.contract.identity import Credential, Identities

LIFETIME_S = 900
_SKEW = timedelta(minutes=5)
_OCTETS_MAX = 16_384


class TokenRefused(Exception):  # noqa: N818 - an outcome
    """Why a token is not accepted; for the owner of the chamber, not for the client."""


def verify(
    token: str, user: str, hosts: Collection[str], region: str, now: datetime, identities: Identities
) -> Credential:
    """The credential that made a token for `user` at one of `hosts` (``address:port``).

    Raises:
        TokenRefused: with the reason.
    """
    host, slash, query = token.partition("/?")
    if not slash or len(token) > _OCTETS_MAX:
        raise TokenRefused("the password is no authentication token")
    if host not in hosts:
        raise TokenRefused(f"the token was made for {host[:100]}, this is {' or '.join(sorted(hosts))}")
    pairs = [part.partition("=")[::2] for part in query.split("&")]
    fields = {name: unquote(value) for name, value in pairs}
    if len(fields) != len(pairs) or fields.get("Action") != "connect":
        raise TokenRefused("the token is not made for Action=connect")
    if fields.get("DBUser") != user:
        raise TokenRefused(f"the token was made for database user {fields.get('DBUser')!r}, not {user!r}")
    claim, timestamp = _claim(fields, region, now)
    try:
        found = identities.credential(claim.access_key_id, fields.get("X-Amz-Security-Token", ""), now)
    except ServiceError as error:
        raise TokenRefused(f"{error.code}: {error.message}") from error
    canonical = sigv4.canonical_request(
        "GET", "/", query, Headers([("host", host)]), claim, sigv4.EMPTY_SHA256, s3=False
    )
    if not sigv4.same(sigv4.expect(claim, timestamp, canonical, found.secret_key).signature, claim.signature):
        raise TokenRefused(f"the token's signature is not made with the secret of {claim.access_key_id}")
    return found


def _claim(fields: dict[str, str], region: str, now: datetime) -> tuple[sigv4.Claim, str]:
    try:
        key_id, date, scope_region, service = sigv4.read_scope(fields["X-Amz-Credential"])
        timestamp = fields["X-Amz-Date"]
        made = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        lifetime_s = int(fields["X-Amz-Expires"])
        signature = fields["X-Amz-Signature"]
        names = sigv4.header_names(fields["X-Amz-SignedHeaders"])
    except (KeyError, ValueError) as error:
        raise TokenRefused(f"the token is malformed: {error}") from error
    if fields.get("X-Amz-Algorithm") != sigv4.ALGORITHM or "host" not in names:
        raise TokenRefused("the token is malformed: algorithm or signed headers")
    if (service, scope_region) != ("rds-db", region) or not timestamp.startswith(date):
        raise TokenRefused(f"the token is scoped to {service} in {scope_region}, this is rds-db in {region}")
    if not 0 < lifetime_s <= LIFETIME_S:
        raise TokenRefused(f"the token is made to last {lifetime_s} s; at most {LIFETIME_S} are allowed")
    if not made - _SKEW <= now <= made + timedelta(seconds=lifetime_s):
        raise TokenRefused(f"the token was made at {timestamp} and is expired or not valid yet")
    return sigv4.Claim("query", key_id, date, scope_region, service, names, signature), timestamp

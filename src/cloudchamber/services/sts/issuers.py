# SPDX-License-Identifier: Apache-2.0
"""The public keys of token issuers: kept here, or fetched from the issuer and remembered for a while.

Source: OpenID Connect Discovery 1.0; IAM User Guide, "Create an OpenID Connect (OIDC) identity provider in IAM".
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from cloudchamber.services.sts.errors import IDPCommunicationError, InvalidIdentityToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

FETCHED_OCTETS_MAX = 512 * 1024
TIMEOUT_S = 5
REMEMBERED_S = 300
REMEMBERED_MAX = 64
AT_ONCE_MAX = 4
_NO_KEY = (
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity "
    "documentation for requirements"
)
_log = logging.getLogger(__name__)


class Issuers:
    """STS's live part: what was fetched, and how many fetches run."""

    def __init__(self) -> None:
        self._fetched: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)

    async def start(self) -> None:
        """Nothing is fetched before a token asks for it."""

    async def stop(self) -> None:
        """Forget everything."""
        self._fetched.clear()

    def status(self) -> list[Mapping[str, Any]]:
        """Nothing runs."""
        return []

    async def keys(self, call: Call, issuer: str) -> Mapping[str, Any]:
        """The JWKS of an issuer (without ``https://``).

        Raises:
            IDPCommunicationError: the issuer does not answer. InvalidIdentityToken: it answers with something else.
        """
        kept = call.doors.identities.issuer_keys(issuer)
        if kept is not None:
            return json.loads(kept)
        now = call.now.timestamp()
        found = self._fetched.get(issuer)
        if found is None or now - found[0] > REMEMBERED_S:
            async with self._turns:
                found = (now, await asyncio.to_thread(_discover, issuer))
            if len(self._fetched) >= REMEMBERED_MAX:
                self._fetched.clear()
            self._fetched[issuer] = found
        return found[1]


def _discover(issuer: str) -> Mapping[str, Any]:
    """The keys that an issuer's configuration points to."""
    about = _get(f"https://{issuer.removesuffix('/')}/.well-known/openid-configuration")
    where = about.get("jwks_uri")
    if not isinstance(where, str) or urlsplit(where).scheme != "https":
        raise InvalidIdentityToken(_NO_KEY)
    return _get(where)


def _get(url: str) -> Mapping[str, Any]:
    import http.client
    import ssl

    parts = urlsplit(url)
    try:
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"Accept": "application/json"})
            reply = connection.getresponse()
            body = reply.read(FETCHED_OCTETS_MAX + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        _log.info("the issuer at %s does not answer: %s", parts.hostname, error)
        raise IDPCommunicationError(
            "Error communicating with the identity provider; retry, and check that it can be reached from here"
        ) from error
    if reply.status != 200 or len(body) > FETCHED_OCTETS_MAX:
        raise InvalidIdentityToken(_NO_KEY)
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidIdentityToken(_NO_KEY) from None
    if not isinstance(found, dict):
        raise InvalidIdentityToken(_NO_KEY)
    return cast("Mapping[str, Any]", found)

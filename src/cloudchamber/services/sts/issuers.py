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

from cloudchamber.base.errors import ServiceError
from cloudchamber.services.sts.errors import IDPCommunicationError, InvalidIdentityToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

FETCHED_OCTETS_MAX = 512 * 1024
TIMEOUT_S = 5
REMEMBERED_S = 300
REMEMBERED_MAX = 64
AGAIN_AFTER_S = 10
"""An issuer that failed, or whose keys lack the token's, is not asked again before."""
AT_ONCE_MAX = 4
WAITING_MAX = 64
_NO_KEY = (
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity "
    "documentation for requirements"
)
_SILENT = "Error communicating with the identity provider; retry, and check that it can be reached from here"
_log = logging.getLogger(__name__)


class Issuers:
    """STS's live part: what was fetched, and how many fetches run."""

    def __init__(self) -> None:
        self._fetched: dict[str, tuple[float, Mapping[str, Any] | ServiceError]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._waiting = 0

    async def start(self) -> None:
        """Nothing is fetched before a token asks for it."""

    async def stop(self) -> None:
        """Forget everything."""
        self._fetched.clear()

    def status(self) -> list[Mapping[str, Any]]:
        """Nothing runs."""
        return []

    async def keys(self, call: Call, issuer: str, key_id: str) -> Mapping[str, Any]:
        """The JWKS of an issuer (without ``https://``); one without `key_id` is fetched again after a while.

        Raises:
            IDPCommunicationError: the issuer does not answer. InvalidIdentityToken: it answers with something else.
        """
        kept = call.doors.identities.issuer_keys(issuer)
        if kept is not None:
            return json.loads(kept)
        found = self._remembered(issuer, key_id, call.now.timestamp())
        if found is None:
            if self._waiting >= WAITING_MAX:
                raise IDPCommunicationError(_SILENT)
            self._waiting += 1
            try:
                async with self._turns:
                    # Why: another call may have fetched it meanwhile
                    found = self._remembered(issuer, key_id, call.now.timestamp())
                    if found is None:
                        found = await self._fetch(call, issuer)
            finally:
                self._waiting -= 1
        if isinstance(found, ServiceError):
            raise found
        return found

    def _remembered(self, issuer: str, key_id: str, now_s: float) -> Mapping[str, Any] | ServiceError | None:
        at, found = self._fetched.get(issuer, (0.0, None))
        if found is None or isinstance(found, ServiceError):
            return found if now_s - at < AGAIN_AFTER_S else None
        return found if now_s - at < (REMEMBERED_S if key_id in _names(found) else AGAIN_AFTER_S) else None

    async def _fetch(self, call: Call, issuer: str) -> Mapping[str, Any] | ServiceError:
        """What the issuer answers, or the error; both are remembered."""
        found: Mapping[str, Any] | ServiceError
        try:
            found = await asyncio.to_thread(_discover, issuer)
        except ServiceError as error:
            found = error
        if len(self._fetched) >= REMEMBERED_MAX:
            self._fetched.clear()
        self._fetched[issuer] = (call.doors.clock.now().timestamp(), found)
        return found


def _names(jwks: Mapping[str, Any]) -> set[str]:
    listed = jwks.get("keys")
    keys = cast("list[object]", listed) if isinstance(listed, list) else []
    return {str(cast("dict[str, object]", one).get("kid", "")) for one in keys if isinstance(one, dict)}


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
        raise IDPCommunicationError(_SILENT) from error
    if reply.status != 200 or len(body) > FETCHED_OCTETS_MAX:
        raise InvalidIdentityToken(_NO_KEY)
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidIdentityToken(_NO_KEY) from None
    if not isinstance(found, dict):
        raise InvalidIdentityToken(_NO_KEY)
    return cast("Mapping[str, Any]", found)

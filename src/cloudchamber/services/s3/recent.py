# SPDX-License-Identifier: Apache-2.0
"""Responses for whole objects that were fetched a moment ago, kept as long as nothing was committed that might matter.

A response is kept under the stamp that the database had before the object was read, and given only under the same
stamp: after any commit but to the outbox, to logs and the like, and while one is under way, the row is read again. So
it can never be older than what a reader of the database would find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.body import FileSlice
from cloudchamber.wire.codec import Alone, Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.store.database import Database

KEPT_MAX = 2048
KEPT_OCTETS_MAX = 8 * 1024 * 1024


class Recent:
    """What GetObject and HeadObject said of whole objects, to anybody who was allowed to ask."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stamp = -1
        self._octets = 0
        self._alone = Alone()
        self._kept: dict[tuple[str, str, str, str], Kept] = {}

    def find(self, operation: str, request: Mapping[str, Any]) -> Kept | None:
        """The response, if the request names nothing but a bucket and a key, and no row has changed since."""
        if self._database.stamp != self._stamp:
            return None
        name = _name(operation, request)
        return None if name is None else self._kept.get(name)

    def stamp(self) -> int:
        """What to hand to `keep`; ask for it before the object is read."""
        return -1 if self._database.reading else self._database.stamp

    def forget(self) -> None:
        """Something else than rows has changed on which the giving of responses rests."""
        self._alone.holds = False  # Why one for all: responses that are not kept any more may still be given
        self._alone = Alone()
        self._kept.clear()
        self._octets = 0

    def keep(
        self, stamp: int, operation: str, request: Mapping[str, Any], response: dict[str, Any], *, alone: bool = False
    ) -> dict[str, Any]:
        """The response; if it may be given again, as one that is kept. `alone`: it is only sent."""
        body, name = response.get("Body", b""), _name(operation, request)
        if stamp < 0 or name is None or not isinstance(body, bytes | FileSlice) or not _for_anybody(response):
            return response
        if stamp != self._stamp or self._octets > KEPT_OCTETS_MAX or len(self._kept) >= KEPT_MAX:
            self._kept.clear()
            self._octets, self._stamp = 0, stamp
        self._octets += len(body) if isinstance(body, bytes) else 0
        kept = self._kept[name] = Kept(response, self._alone if alone else None)
        return kept


def _name(operation: str, request: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    """What a response is kept under; None for a request with conditions, a range, a version, a key, an owner."""
    mode = request.get("ChecksumMode", "")
    if len(request) != (3 if mode else 2):
        return None
    return operation, request["Bucket"], request["Key"], mode


def _for_anybody(response: Mapping[str, Any]) -> bool:
    """Whether nothing but S3's own keys was needed to read it: others decide anew each time."""
    return response.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in response

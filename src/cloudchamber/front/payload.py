# SPDX-License-Identifier: Apache-2.0
"""Bodies that check themselves while they are read: payload hash, chunk signatures, trailers."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.base.body import Pourable, at_once, put_into
from cloudchamber.wire.chunked import Decoder, Signer
from cloudchamber.wire.errors import XAmzContentSHA256Mismatch
from cloudchamber.wire.sigv4 import EMPTY_SHA256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cloudchamber.base.body import Body, Intake


ASIDE = 64 * 1024
"""Octets of signed chunks from which on they are hashed on a thread."""


@dataclass(frozen=True, slots=True)
class PayloadRule:
    """What a body must prove. `sha256`: its hash. `chunks`: it is aws-chunked, with `length` decoded octets."""

    sha256: str = ""
    chunks: bool = False
    length: int = 0
    signer: Signer | None = None
    trailers: bool = False
    announced: frozenset[str] = frozenset()


NO_RULE = PayloadRule()
EMPTY = PayloadRule(sha256=EMPTY_SHA256)


class Verified:
    """A `Body` that raises, at its end at the latest, if it is not what was signed."""

    __slots__ = ("_body", "_rule", "_trailers")

    def __init__(self, body: Body, rule: PayloadRule) -> None:
        self._body = body
        self._rule = rule
        self._trailers: Mapping[str, str] = {}

    @property
    def length(self) -> int | None:
        """Decoded octets that will come, if the client said."""
        return self._rule.length if self._rule.chunks else self._body.length

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailing headers; complete after the last octet."""
        return self._trailers

    async def pour(self, into: Intake) -> None:
        """All octets, hashed beside whatever else is done with them; raises as iterating does."""
        body = self._body
        if self._rule.chunks:
            async for data in self:
                await put_into(into, data)
            return
        digest = hashlib.sha256()
        into.also(digest)
        if isinstance(body, Pourable):
            await body.pour(into)
        else:
            async for data in body:
                await put_into(into, data)
        await into.settle()
        self._compare(digest.hexdigest())

    def at_once(self, limit: int) -> bytes | None:
        """All octets, checked, if they came and fit in `limit`, framing included; see `base.body.at_once`."""
        data = at_once(self._body, limit)
        if data is None:
            return None
        if self._rule.chunks:
            decoder = self._decoder()
            data = b"".join(decoder.feed(data))
            decoder.finish()
            self._trailers = decoder.trailers
            return data
        self._compare(hashlib.sha256(data).hexdigest())
        return data

    def _decoder(self) -> Decoder:
        rule = self._rule
        return Decoder(rule.length, signer=rule.signer, trailers=rule.trailers, announced=rule.announced)

    def _compare(self, computed: str) -> None:
        if computed != self._rule.sha256:
            raise XAmzContentSHA256Mismatch(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=self._rule.sha256,
                S3ComputedContentSHA256=computed,
            )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._rule.chunks:
            decoder = self._decoder()
            signed = self._rule.signer is not None
            async for data in self._body:
                aside = signed and len(data) >= ASIDE  # Why: each chunk is hashed
                for part in await asyncio.to_thread(decoder.feed, data) if aside else decoder.feed(data):
                    yield part
            decoder.finish()
            self._trailers = decoder.trailers
            return
        digest = hashlib.sha256()
        async for data in self._body:
            digest.update(data)
            yield data
        self._compare(digest.hexdigest())

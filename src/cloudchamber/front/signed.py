# SPDX-License-Identifier: Apache-2.0
"""Heads that are signed alike: what verifies the next one, where only date, values and signature differ."""

from __future__ import annotations

import hashlib
import re
from hmac import compare_digest
from typing import TYPE_CHECKING

from cloudchamber.front.authenticate import parse_stamp
from cloudchamber.front.words import SKEW_S
from cloudchamber.wire import sigv4

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cloudchamber.contract.identity import Credential
    from cloudchamber.wire.http import Headers, HttpRequest

HEAD_OCTETS_MAX = 8 * 1024
SIGNATURE_OCTETS = 64
DATE = "x-amz-date"
FREE = ("amz-sdk-invocation-id", "amz-sdk-request")
"""Headers that differ from request to request, and say nothing of what is asked for."""
VALUE = re.compile(rb"[!-~]+(?: [!-~]+)*")
"""Values that are the same in the head and in what is signed."""


def places(lines: Sequence[bytes], headers: Headers) -> dict[str, tuple[int, bytes]] | None:
    """Where each header is among a head's lines, and how its line begins; None: it was read from other lines."""
    at: dict[str, tuple[int, bytes]] = {}
    for number, (name, value) in enumerate(headers.items, 1):
        beginning, rest = lines[number][: len(name) + 2], lines[number][len(name) + 2 :]
        if beginning.lower() != f"{name}: ".encode() or rest != value.encode("utf-8", "surrogateescape"):
            return None
        at[name] = number, beginning
    return at


class SignedAlike:
    """Signatures of one credential in one scope."""

    def __init__(self, claim: sigv4.Claim, credential: Credential) -> None:
        self._day, self._scope = claim.date.encode(), claim.scope.encode()
        self._pads = claim.pads(credential.secret_key)
        expires = credential.expires_at
        self._expires = expires.timestamp() if expires is not None else float("inf")
        self._date, self._signed_at = b"", 0.0

    def in_time(self, date: bytes, now: float) -> bool:
        """Whether a head says that it was signed about now, and its session lives. `now`: POSIX seconds."""
        if date != self._date:
            signed = parse_stamp(date.decode("latin-1")) if date.startswith(self._day) else None
            if signed is None:
                return False
            self._date, self._signed_at = date, signed.timestamp()
        return now < self._expires and -SKEW_S <= now - self._signed_at <= SKEW_S

    def right(self, date: bytes, canonical: bytes, signature: bytes) -> bool:
        """Whether this is the signature of a canonical request."""
        digest = hashlib.sha256(canonical).hexdigest()
        text = b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (date, self._scope, digest.encode())
        return compare_digest(sigv4.hmac_hex(self._pads, text).encode(), signature)


def canonical_rest(request: HttpRequest, claim: sigv4.Claim, varying: Collection[str], payload: str) -> bytes:
    """The canonical request behind its query, with places for the values that vary, in the order of the claim."""
    made: list[str] = []
    for name in claim.signed_once:
        line = sigv4.canonical_headers(request.headers, (name,))
        made.append(f"{name}:%b\n" if name in varying else line.replace("%", "%%"))
    return ("".join(made) + f"\n{claim.names}\n".replace("%", "%%") + payload).encode("utf-8", "surrogateescape")

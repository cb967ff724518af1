# SPDX-License-Identifier: Apache-2.0
"""The ``aws-chunked`` body encoding, decoded as it arrives.

Each chunk's signature is checked when the chunk is complete; its octets are handed out before, so nobody may publish
them until the body ended. Source: Amazon S3 API Reference, "Signature calculations for chunked upload" and "with
trailing headers".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cloudchamber.wire.errors import IncompleteBody, MalformedTrailerError, SignatureDoesNotMatch
from cloudchamber.wire.sigv4 import EMPTY_SHA256, Pads, hmac_hex, same

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
KINDS = frozenset((SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER))

LINE_MAX = 1024
TRAILERS_MAX = 16 * 1024

_BAD_BODY = "The request body terminated unexpectedly"
_BAD_TRAILER = (
    "The request contained trailing data that was not well-formed or did not conform to our published schema."
)
_BAD_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
_HEADER, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


@dataclass(frozen=True, slots=True)
class Signer:
    """What chunk signatures are made with."""

    states: Pads
    timestamp: str
    scope: str
    seed: str
    """Signature of the request's head: the first chunk's predecessor."""

    def chunk(self, previous: str, digest: str) -> str:
        """Signature of a chunk with that SHA-256."""
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.timestamp}\n{self.scope}\n{previous}\n{EMPTY_SHA256}\n{digest}"
        return hmac_hex(self.states, text.encode())

    def trailer(self, previous: str, digest: str) -> str:
        """Signature of the trailing headers with that SHA-256."""
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self.timestamp}\n{self.scope}\n{previous}\n{digest}"
        return hmac_hex(self.states, text.encode())


class Decoder:
    """Decodes one body: `feed` octets as they come, then `finish`; then `trailers` are complete."""

    def __init__(self, length: int, *, signer: Signer | None, trailers: bool, announced: frozenset[str]) -> None:
        """`length`: decoded octets that must come. `announced`: names in x-amz-trailer, in lower case."""
        self.trailers: dict[str, str] = {}
        self._left = length
        self._signer = signer
        self._with_trailers = trailers
        self._announced = announced
        self._state = _HEADER
        self._buffer = bytearray()
        self._chunk_left = 0
        self._signature = ""
        self._previous = signer.seed if signer else ""
        self._hash = hashlib.sha256()
        self._last = False

    def feed(self, data: bytes) -> list[bytes]:
        """Decoded octets.

        Raises:
            ServiceError: `IncompleteBody`, `SignatureDoesNotMatch`, `MalformedTrailerError`.
        """
        out: list[bytes] = []
        if self._state == _DATA and not self._buffer:
            data = self._take(data, out)
        self._buffer += data
        while self._step(out):
            pass
        return out

    def _step(self, out: list[bytes]) -> bool:
        """One step; False if more octets are needed."""
        if self._state == _DATA:
            rest = self._take(bytes(self._buffer), out)
            self._buffer[:] = rest
            return bool(rest) or self._state != _DATA
        if self._state == _DONE:
            if self._buffer:
                raise IncompleteBody(_BAD_BODY)
            return False
        if self._state == _DATA_END:
            return self._end_of_data()
        line = self._line()
        if line is None:
            return False
        if self._state == _HEADER:
            self._header(line)
        else:
            self._trailer(line)
        return True

    def _end_of_data(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if not self._buffer.startswith(b"\r\n"):
            raise IncompleteBody(_BAD_BODY)
        del self._buffer[:2]
        self._state = _DONE if self._last else _HEADER
        return True

    def _line(self) -> str | None:
        end = self._buffer.find(b"\r\n")
        limit = TRAILERS_MAX if self._state == _TRAILERS else LINE_MAX
        if end < 0:
            if len(self._buffer) > limit:
                raise IncompleteBody(_BAD_BODY)
            return None
        if end > limit:
            raise IncompleteBody(_BAD_BODY)
        line = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 2]
        return line

    def _header(self, line: str) -> None:
        size, _, extension = line.partition(";")
        size = size.strip()
        if not size or len(size) > 12 or not all(c in "0123456789abcdefABCDEF" for c in size):
            raise IncompleteBody(_BAD_BODY)
        self._chunk_left = int(size, 16)
        self._signature = extension.partition("chunk-signature=")[2].strip()
        self._hash = hashlib.sha256()
        if self._chunk_left > self._left:
            raise IncompleteBody(_BAD_BODY)
        if self._chunk_left:
            self._state = _DATA
            return
        if self._left:
            raise IncompleteBody(_BAD_BODY)
        self._check_chunk()
        self._last = True
        self._state = _TRAILERS if self._with_trailers else _DATA_END

    def _take(self, data: bytes, out: list[bytes]) -> bytes:
        part, rest = (
            (data, b"") if len(data) <= self._chunk_left else (data[: self._chunk_left], data[self._chunk_left :])
        )
        if part:
            out.append(part)
            self._chunk_left -= len(part)
            self._left -= len(part)
            if self._signer is not None:
                self._hash.update(part)
        if self._chunk_left == 0:
            self._check_chunk()
            self._state = _DATA_END
        return rest

    def _check_chunk(self) -> None:
        if self._signer is None:
            return
        wanted = self._signer.chunk(self._previous, self._hash.hexdigest())
        if not same(wanted, self._signature):
            raise SignatureDoesNotMatch(_BAD_SIGNATURE, SignatureProvided=self._signature[:128])
        self._previous = wanted

    def _trailer(self, line: str) -> None:
        if line == "":
            self._check_trailers()
            self._state = _DONE
            return
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or name in self.trailers or len(self.trailers) > 16:
            raise MalformedTrailerError(_BAD_TRAILER)
        self.trailers[name] = value.strip()

    def _check_trailers(self) -> None:
        signature = self.trailers.pop("x-amz-trailer-signature", "")
        if frozenset(self.trailers) != self._announced:
            raise MalformedTrailerError(_BAD_TRAILER)
        if self._signer is None:
            return
        text = "".join(f"{n}:{v}\n" for n, v in self.trailers.items())
        wanted = self._signer.trailer(self._previous, hashlib.sha256(text.encode("latin-1")).hexdigest())
        if not same(wanted, signature):
            raise SignatureDoesNotMatch(_BAD_SIGNATURE, SignatureProvided=signature[:128])

    def finish(self) -> None:
        """The body ended.

        Raises:
            IncompleteBody: it ended too early.
        """
        if self._state == _TRAILERS and not self._buffer and self._signer is None:
            # Why: some clients leave out the empty line after the trailers.
            self._trailer("")
        if self._state == _DATA_END and self._last and not self._buffer:
            self._state = _DONE
        if self._state != _DONE:
            raise IncompleteBody(_BAD_BODY)

# SPDX-License-Identifier: Apache-2.0
"""Whether stored octets are what their row says: read, decrypted, and compared with size, checksum and ETag.

Nothing here runs on the event loop.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import checksums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudchamber.services.s3.encryption import Keeper
    from cloudchamber.services.s3.tables import Object, Part
    from cloudchamber.store.blobs import Blobs

PIECE = 1024 * 1024
SUM = "CRC64NVME"
"""What is kept of encrypted octets that cannot be decrypted without the client, or without KMS."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with stored octets."""

    wrong: str
    """``missing``, ``unreadable``, ``short`` or ``changed``."""
    expected: str
    actual: str


class Pace:
    """Lets so many octets a second be read, and counts them."""

    def __init__(self, octets_per_s: float) -> None:
        self._rate = octets_per_s
        self._free_at = time.monotonic()
        self.octets = 0

    def take(self, count: int) -> None:
        """Wait until so many may be read."""
        self.octets += count
        if self._rate > 0:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + count / self._rate
            if self._free_at > now:
                time.sleep(self._free_at - now)


class Verifier:
    """Reads what rows name."""

    def __init__(self, blobs: Blobs, keeper: Keeper, pace: Pace) -> None:
        self._blobs = blobs
        self._keeper = keeper
        self._pace = pace

    def object(self, found: Object) -> Fault | None:
        """What is wrong with an object's octets; `found` has the data of its body row, if it has one.

        Octets under a key that the chamber has not (SSE-C, SSE-KMS) are compared as they lie there, by the sum that
        goes with their nonce.
        """
        nonce: str | None = found.stored.get("nonce")
        pieces: Sequence[tuple[int, str | None]] = found.stored.get("nonces") or [(found.size, nonce)]
        if "sse" in found.stored:
            return self._sealed(found.data, found.blob, found.size, pieces)
        parts: Sequence[tuple[int, str]] = found.stored.get("parts") or ()
        algorithm, _, expected = found.checksum.partition(":")
        composite = "-" in expected
        digests = _Digests(algorithm, parts if composite else (), found.etag if "-" not in found.etag else "")
        try:
            for octets in self.octets(found.data, found.blob, found.size, pieces):
                digests.update(octets)
        except FileNotFoundError:
            return Fault("missing", "a file", "none")
        except OSError as error:
            return Fault("unreadable", "octets", str(error))
        if digests.size != found.size:
            return Fault("short", f"{found.size} octets", f"{digests.size} octets")
        return digests.compare(found.checksum, composite=composite)

    def _sealed(
        self, data: bytes | None, blob: str | None, size: int, pieces: Sequence[tuple[int, str | None]]
    ) -> Fault | None:
        """What is wrong with octets that cannot be decrypted here."""
        sums = [(nonce or "").partition(".")[2] for _, nonce in pieces]
        digests = _Digests(SUM, [(length, "") for length, _ in pieces], "")
        try:
            for octets in self.octets(data, blob, size, [(length, None) for length, _ in pieces]):
                digests.update(octets)
        except FileNotFoundError:
            return Fault("missing", "a file", "none")
        except OSError as error:
            return Fault("unreadable", "octets", str(error))
        if digests.size != size:
            return Fault("short", f"{size} octets", f"{digests.size} octets")
        for expected, actual in zip(sums, digests.values, strict=False):
            if expected and expected != actual:
                return Fault("changed", f"{SUM}:{expected} encrypted", f"{SUM}:{actual} encrypted")
        return None

    def part(self, part: Part, *, readable: bool) -> Fault | None:
        """The same for a part of an upload; `readable`: the chamber has its key."""
        if not readable:
            return self._sealed(None, part.blob, part.size, [(part.size, part.nonce)])
        md5, size = hashlib.md5(usedforsecurity=False), 0
        try:
            for octets in self.octets(None, part.blob, part.size, [(part.size, part.nonce or None)]):
                md5.update(octets)
                size += len(octets)
        except FileNotFoundError:
            return Fault("missing", "a file", "none")
        except OSError as error:
            return Fault("unreadable", "octets", str(error))
        if size != part.size:
            return Fault("short", f"{part.size} octets", f"{size} octets")
        if md5.hexdigest() != part.etag:
            return Fault("changed", f"MD5 {part.etag}", f"MD5 {md5.hexdigest()}")
        return None

    def octets(
        self, data: bytes | None, blob: str | None, size: int, pieces: Sequence[tuple[int, str | None]]
    ) -> Iterator[bytes]:
        """Octets as they were before they were encrypted; fewer than `size` if there are no more."""
        if blob is None:
            data = data or b""
            self._pace.take(len(data))
            nonce = pieces[0][1] if pieces else None
            yield data if nonce is None else self._keeper.cipher(nonce).update(data)
            return
        file = self._blobs.open(blob, 0, size)
        try:
            for length, nonce in pieces:
                cipher: Any = None if nonce is None else self._keeper.cipher(nonce)
                left = min(length, size)
                while left > 0:
                    count = min(PIECE, left)
                    self._pace.take(count)
                    octets = file.read(count)
                    if not octets:
                        return
                    left -= len(octets)
                    size -= len(octets)
                    yield octets if cipher is None else cipher.update(octets)
        finally:
            file.close()


class _Digests:
    """The checksum of the whole or those of its parts, or its MD5 if there is no checksum."""

    def __init__(self, algorithm: str, parts: Sequence[tuple[int, str]], etag: str) -> None:
        self._algorithm = algorithm
        self._sizes = [size for size, _ in parts]
        self._etag = etag
        self.values: list[str] = []
        self._at = 0
        self._digest = checksums.new(algorithm) if algorithm else hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, octets: bytes) -> None:
        """More octets."""
        self.size += len(octets)
        while self._sizes and self._at + len(octets) >= self._sizes[0]:
            count = self._sizes.pop(0) - self._at
            self._digest.update(octets[:count])
            self.values.append(checksums.text(self._digest.digest()))
            self._digest, self._at, octets = checksums.new(self._algorithm), 0, octets[count:]
        self._digest.update(octets)
        self._at += len(octets)

    def compare(self, checksum: str, *, composite: bool) -> Fault | None:
        """What does not agree."""
        if composite:
            actual = f"{self._algorithm}:{checksums.composite(self._algorithm, self.values)}"
        elif self._algorithm:
            actual = f"{self._algorithm}:{checksums.text(self._digest.digest())}"
        elif self._etag:
            actual, checksum = f"MD5:{self._digest.hexdigest()}", f"MD5:{self._etag}"
        else:
            return None
        return None if actual == checksum else Fault("changed", checksum, actual)

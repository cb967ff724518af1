# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest with keys of the chamber (SSE-S3): AES-256 in counter mode, one nonce for each object.

Counter mode, because any range must be readable without what is before it; that nothing was changed on disk is what
the object's checksum is for. Source: NIST SP 800-38A, section 6.5.
"""

from __future__ import annotations

import base64
import hmac
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.s3 import checksums
from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 16
_COUNTERS = 1 << 128


def new_key() -> bytes:
    """A key for objects."""
    return bytes.fromhex(ids.hex_token(32))


class Keeper:
    """Holds the chamber's key for objects (a file, 0600), made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = b""
        self._loop: Any = None

    def nonce(self) -> str:
        """A nonce for one object, in base64. The low half counts blocks, so that no two objects share a counter."""
        return b2a_base64(ids.random_octets(8) + bytes(8), newline=False).decode()

    def cipher(self, nonce: str, offset: int = 0, key: bytes | None = None) -> Any:
        """Encrypts or decrypts octets that begin at `offset`: `update`. `key`: another than the chamber's."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # lazily: 20 ms

        start = int.from_bytes(_octets(nonce), "big") + offset // _BLOCK
        counter = modes.CTR((start % _COUNTERS).to_bytes(_BLOCK, "big"))
        made = Cipher(algorithms.AES256(key or self._load()), counter).encryptor()
        made.update(bytes(offset % _BLOCK))
        return made

    def small(self, nonce: str, data: bytes, key: bytes | None = None) -> bytes:
        """Encrypt or decrypt octets that are in memory. On the event loop only: one cipher serves them all."""
        if key is not None:
            return self.cipher(nonce, 0, key).update(data)
        if self._loop is None:
            self._loop = self.cipher(nonce)
        self._loop.reset_nonce(_octets(nonce))
        return self._loop.update(data)

    def seal(self, data: bytes) -> bytes:
        """16 octets that only who has the chamber's key can make of `data`."""
        return hmac.digest(hmac.digest(self._load(), b"cloudchamber label", "sha256"), data, "sha256")[:16]

    def _load(self) -> bytes:
        if not self._key:
            self._key = private.kept(self._path, new_key)
        return self._key


class Summed:
    """A cipher that keeps a sum of what it encrypted, for octets that only others can decrypt."""

    def __init__(self, cipher: Any) -> None:
        self._cipher = cipher
        self._sum = checksums.new("CRC64NVME")

    def update(self, data: Any, /) -> bytes:
        """Encrypt more octets."""
        done: bytes = self._cipher.update(data)
        self._sum.update(done)
        return done

    def update_into(self, data: Any, into: memoryview, /) -> int:
        """Encrypt more octets to where there is room for them."""
        count: int = self._cipher.update_into(data, into)
        self._sum.update(into[:count])
        return count

    def told(self, nonce: str) -> str:
        """The nonce, with the sum behind it."""
        return f"{nonce}.{checksums.text(self._sum.digest())}"


def _octets(nonce: str) -> bytes:
    """A nonce, without the sum that may stand behind it."""
    return base64.b64decode(nonce.partition(".")[0])

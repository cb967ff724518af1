# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest with keys of the chamber (SSE-S3): AES-256 in counter mode, one nonce for each object.

Counter mode, because any range must be readable without what is before it; that nothing was changed on disk is what
the object's checksum is for. Source: NIST SP 800-38A, section 6.5.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 16


class Keeper:
    """Holds the chamber's key for objects (a file, 0600), made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = b""

    def nonce(self) -> str:
        """A nonce for one object, in base64. The low half counts blocks, so that no two objects share a counter."""
        return base64.b64encode(bytes.fromhex(ids.hex_token(8)) + bytes(8)).decode()

    def cipher(self, nonce: str, offset: int = 0) -> Any:
        """Encrypts or decrypts octets that begin at `offset`: `update`."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # lazily: 20 ms

        start = int.from_bytes(base64.b64decode(nonce), "big") + offset // _BLOCK
        made = Cipher(algorithms.AES256(self._load()), modes.CTR(start.to_bytes(_BLOCK, "big"))).encryptor()
        made.update(bytes(offset % _BLOCK))
        return made

    def _load(self) -> bytes:
        if not self._key:
            if not self._path.exists():
                _write_new(self._path, bytes.fromhex(ids.hex_token(32)))
            self._key = self._path.read_bytes()
        return self._key


def _write_new(path: Path, data: bytes) -> None:
    """Write whole and durable, or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

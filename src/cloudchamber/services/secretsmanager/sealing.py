# SPDX-License-Identifier: Apache-2.0
"""Values at rest: AES-256-GCM with a key of the chamber's, bound to the secret and version that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError
from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

_KEY_OCTETS = 32
_NONCE_OCTETS = 12


class Seal:
    """Seals and opens values. The key lies in a file (0600) that is made at first use."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "key"
        self._key = b""

    def close(self, value: bytes, label: str) -> bytes:
        """Seal a value; `label` must be the same when it is opened."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # lazily: a start without secrets need not pay

        nonce = bytes.fromhex(ids.hex_token(_NONCE_OCTETS))
        return nonce + AESGCM(self._load()).encrypt(nonce, value, label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        """The value.

        Raises:
            ChamberError: it was not sealed with this key and label.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._load()).decrypt(sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:], label.encode())
        except InvalidTag as error:
            raise ChamberError("a secret does not open", f"{self._path} is not the key it was sealed with") from error

    def _load(self) -> bytes:
        if not self._key:
            key = private.kept(self._path, lambda: bytes.fromhex(ids.hex_token(_KEY_OCTETS)))
            if len(key) != _KEY_OCTETS:
                raise ChamberError(f"{self._path} is no key", "restore it from a backup, or 'cloudchamber reset'")
            self._key = key
        return self._key

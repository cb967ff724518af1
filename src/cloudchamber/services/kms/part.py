# SPDX-License-Identifier: Apache-2.0
"""The live side of KMS: the chamber's own key, with which the material of all keys is sealed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.kms import tables
from cloudchamber.services.kms.errors import InvalidCiphertextException
from cloudchamber.store import private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors

KEY_OCTETS = 32
_NONCE = 12
_VERSION = b"\x01"
_ID = 16


class KeyStore:
    """One for the chamber."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._path = doors.folder / "kms" / "key"
        self._key = b""

    async def start(self) -> None:
        """Nothing runs by itself: keys whose time is over are removed when keys are next used."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def status(self) -> list[Mapping[str, Any]]:
        """One row: how many keys there are."""
        count = self._doors.database.read(lambda db: db.execute("SELECT count(*) FROM kms_keys").fetchone()[0])
        return [{"kind": "kms", "id": "keys", "state": "available", "detail": f"{count} keys"}]

    def new_material(self) -> bytes:
        """Material of a new key, sealed."""
        return _seal(self._load(), octets(KEY_OCTETS), b"material")

    def encrypt(self, key: tables.Key, plain: bytes, context: Mapping[str, str]) -> bytes:
        """A ciphertext that says which key it takes."""
        head = _VERSION + bytes.fromhex(key.id.replace("-", ""))
        return head + _seal(self._material(key), plain, head + _bound(context))

    def decrypt(self, key: tables.Key, blob: bytes, context: Mapping[str, str]) -> bytes:
        """What was encrypted.

        Raises:
            InvalidCiphertextException: not by this key, or with another context, or it was changed.
        """
        head = blob[: 1 + _ID]
        return _open(self._material(key), blob[1 + _ID :], head + _bound(context))

    def _material(self, key: tables.Key) -> bytes:
        return _open(self._load(), key.material, b"material")

    def _load(self) -> bytes:
        if not self._key:
            self._key = private.kept(self._path, new_key)
        return self._key


def store(call: Call) -> KeyStore:
    """The chamber's key store."""
    return call.doors.part("kms", KeyStore)


def octets(count: int) -> bytes:
    """Random octets."""
    return bytes.fromhex(ids.hex_token(count))


def new_key() -> bytes:
    """A key to seal the material of keys with."""
    return octets(KEY_OCTETS)


def key_id_of(blob: bytes) -> str:
    """The id of the key that a ciphertext takes.

    Raises:
        InvalidCiphertextException: it is none of ours.
    """
    if len(blob) < 1 + _ID + _NONCE + 16 or blob[:1] != _VERSION:
        raise InvalidCiphertextException("")
    digits = blob[1 : 1 + _ID].hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _bound(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(sorted(context.items())), separators=(",", ":")).encode()


def _seal(key: bytes, plain: bytes, label: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # lazily: a start without keys need not pay

    nonce = octets(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, label)


def _open(key: bytes, sealed: bytes, label: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], label)
    except InvalidTag:
        raise InvalidCiphertextException("") from None

# SPDX-License-Identifier: Apache-2.0
"""Keys that all chambers over one database must have: kept there, sealed with a secret that the database never sees.

Each chamber has them as private files in its own state folder, where their owners look for them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError
from cloudchamber.store import private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudchamber.store.database import Database, Tx

_NONCE, _SALT = 12, 16
_TABLE = "CREATE TABLE IF NOT EXISTS shared_keys (name TEXT PRIMARY KEY, salt BLOB NOT NULL, sealed BLOB NOT NULL)"


async def share(database: Database, folder: Path, secret: str, keys: Mapping[str, Callable[[], bytes]]) -> None:
    """Give this chamber the keys (name of the file in `folder` -> what makes one) that the others have.

    The first chamber's own, if it has any, are those of all.

    Raises:
        ChamberError: the others have another secret, or this folder has keys of its own.
    """
    made = {name: (_own(folder / name) or make()) for name, make in keys.items()}

    def change(tx: Tx) -> dict[str, bytes]:
        tx.execute(_TABLE)
        found: dict[str, bytes] = {}
        for name, value in made.items():
            row = tx.execute("SELECT salt, sealed FROM shared_keys WHERE name = ?", (name,)).fetchone()
            if row is not None:
                found[name] = _opened(secret, name, row["salt"], row["sealed"])
                continue
            salt = bytes.fromhex(ids.hex_token(_SALT))
            tx.execute("INSERT INTO shared_keys VALUES (?, ?, ?)", (name, salt, _sealed(secret, name, salt, value)))
            found[name] = value
        return found

    for name, value in (await database.write(change)).items():
        own = _own(folder / name)
        if own is not None and own != value:
            raise ChamberError(
                f"{folder} has a {name} of its own, and the chambers of this database have another",
                "give a new folder by --state: what that folder's chamber encrypted needs its own key",
            )
        if own is None:
            private.write(folder / name, value)


def _own(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _key(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def _sealed(secret: str, name: str, salt: bytes, value: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # lazily: only where chambers share

    nonce = bytes.fromhex(ids.hex_token(_NONCE))
    return nonce + AESGCM(_key(secret, salt)).encrypt(nonce, value, name.encode())


def _opened(secret: str, name: str, salt: bytes, sealed: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(_key(secret, salt)).decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
    except InvalidTag:
        raise ChamberError(
            "the chambers of this database share their keys under another secret",
            "give theirs by CLOUDCHAMBER_CLUSTER_SECRET_FILE",
        ) from None

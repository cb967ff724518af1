# SPDX-License-Identifier: Apache-2.0
"""Whether blobs and database belong together: only then may what the database does not name be removed.

A word stands in both. Somebody who loses the database, or puts an older one back, must not lose the files with it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError
from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

    from cloudchamber.store.blobs import Blobs
    from cloudchamber.store.database import Database, Tx

_log = logging.getLogger(__name__)


async def belong(database: Database, folder: Path) -> bool:
    """Whether the blobs below `folder` are those of the database; new ones of either are made to belong."""
    path = folder / "identity"
    row = database.read(lambda db: db.execute("SELECT word FROM s3_identity").fetchone())
    used = database.read(lambda db: db.execute("SELECT 1 FROM s3_buckets LIMIT 1").fetchone()) is not None
    try:
        word = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        word = ""
    if row is not None and row[0] == word:
        return True
    if row is None and not word and (used or not _holds(folder / "blobs")):
        word = ids.hex_token(16)
        private.write(path, word.encode())
        await database.write(lambda tx: tx.execute("INSERT INTO s3_identity VALUES (?)", (word,)) and None)
        return True
    if row is not None and not word:
        private.write(path, row[0].encode())
        return True
    if not _holds(folder / "blobs"):
        private.write(path, (row[0] if row is not None else word).encode())
        if row is None:
            await database.write(lambda tx: tx.execute("INSERT INTO s3_identity VALUES (?)", (word,)) and None)
        return True
    _log.error(
        "the files below %s are not those of this database: none is removed. "
        "'cloudchamber rebuild' makes their objects anew; or put the database back that belongs to them",
        folder / "blobs",
    )
    return False


async def belong_together(database: Database, blobs: Blobs) -> None:
    """The same where several chambers share both: the word of the database stands in the store, too.

    Raises:
        ChamberError: the blobs are another database's; what this one does not name would be swept.
    """

    def change(tx: Tx) -> str:
        row = tx.execute("SELECT word FROM s3_identity").fetchone()
        if row is None:
            word = ids.hex_token(16)
            tx.execute("INSERT INTO s3_identity VALUES (?)", (word,))
            return word
        return row[0]

    word = await database.write(change)
    if await blobs.marked(word) != word:
        raise ChamberError(
            "the blobs in the store are another database's",
            "give the database that belongs to them, or another prefix in CLOUDCHAMBER_BLOBS",
        )


def _holds(blobs: Path) -> bool:
    return any(path.exists() for shard in blobs.iterdir() if shard.name != "incoming" for path in shard.iterdir())

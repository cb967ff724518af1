# SPDX-License-Identifier: Apache-2.0
"""Whether blobs and database belong together: only then may what the database does not name be removed.

A word stands in both. Somebody who loses the database, or puts an older one back, must not lose the files with it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

    from cloudchamber.store.database import Database

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


def _holds(blobs: Path) -> bool:
    return any(path.is_file() for shard in blobs.iterdir() if shard.name != "incoming" for path in shard.iterdir())

# SPDX-License-Identifier: Apache-2.0
"""Numbered SQL files, each applied once: ``services/<name>/migrations/0001_what.sql``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.errors import ChamberError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudchamber.store.database import Database, Tx


async def migrate(database: Database, folders: Mapping[str, Path]) -> None:
    """Bring the tables of each owner in `folders` (name -> folder of SQL files) up to date.

    Raises:
        ChamberError: the state was written by a newer version.
    """
    steps = {name: sorted(folder.glob("*.sql")) for name, folder in folders.items() if folder.is_dir()}

    def change(tx: Tx) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS migrations (owner TEXT, file TEXT, PRIMARY KEY (owner, file))")
        for name, files in steps.items():
            done = {row[0] for row in tx.execute("SELECT file FROM migrations WHERE owner = ?", (name,))}
            newer = done - {file.name for file in files}
            if newer:
                raise ChamberError(
                    f"this state has {name}/{min(newer)}, which this version does not know",
                    "start it with the version that wrote it, or 'cloudchamber reset'",
                )
            for file in files:
                if file.name not in done:
                    for statement in _statements(file.read_text(encoding="utf-8")):
                        tx.execute(statement)
                    tx.execute("INSERT INTO migrations VALUES (?, ?)", (name, file.name))

    await database.write(change)


def _statements(text: str) -> list[str]:
    """Statements of a file; a statement ends with a semicolon at the end of a line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part for part in ("\n".join(lines) + "\n").split(";\n") if part.strip()]

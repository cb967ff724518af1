# SPDX-License-Identifier: Apache-2.0
"""Takes over what can still be read of a broken database.

Rows are read from the front until SQLite gives up, and then from the back; what lies between is lost. Indexes and
tables are made anew by migrations, so only rows matter.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What became of one table."""

    table: str
    rows: int
    whole: bool


def sound(path: Path) -> str:
    """Why a database cannot be used as it is; empty if it can."""
    if not path.exists():
        return "there is none"
    try:
        with closing(sqlite3.connect(path)) as db:
            said = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error as error:
        return str(error)
    if said != ["ok"]:
        return said[0]
    return "" if tables else "it is empty"


def salvage(broken: Path, fresh: Path) -> list[Salvaged]:
    """Copy rows of `broken` to the tables of the same name in `fresh`, which exist and are empty."""
    found: list[Salvaged] = []
    with closing(sqlite3.connect(fresh, isolation_level=None)) as to:
        to.execute("PRAGMA foreign_keys=OFF")
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        names = [row[0] for row in to.execute(sql) if row[0] != "migrations"]
        for name in names:
            with closing(sqlite3.connect(broken, isolation_level=None)) as old:
                done = _table(old, to, name)
            if done is not None:
                found.append(done)
    return found


def _table(old: sqlite3.Connection, to: sqlite3.Connection, name: str) -> Salvaged | None:
    """One table; None if the old database has no such."""
    theirs = {row[1] for row in to.execute(f"PRAGMA table_info({name})")}
    try:
        ours = [row for row in old.execute(f"PRAGMA table_info({name})") if row[1] in theirs]
    except sqlite3.Error:
        return Salvaged(name, 0, whole=False)
    if not ours:
        return None
    columns = ", ".join(row[1] for row in ours)
    key = ", ".join(f"{row[1]} DESC" for row in sorted((row for row in ours if row[5]), key=lambda row: row[5]))
    sql = f"SELECT {columns} FROM {name}"
    put = f"INSERT OR IGNORE INTO {name} ({columns}) VALUES ({', '.join('?' * len(ours))})"
    to.execute("BEGIN")
    # Why NOT INDEXED: rows are what counts, and an index may be what is broken
    rows, whole = _copy(_read(old, f"{sql} NOT INDEXED"), to, put)
    if not whole:
        back = key if _without_rowid(old, name) else "rowid DESC"
        more, _ = _copy(_read(old, f"{sql} ORDER BY {back}"), to, put)
        rows += more
    to.execute("COMMIT")
    return Salvaged(name, rows, whole)


def _copy(rows: Iterator[tuple[object, ...] | None], to: sqlite3.Connection, put: str) -> tuple[int, bool]:
    """How many rows were new, and whether reading came to the end."""
    count = 0
    for row in rows:
        if row is None:
            return count, False
        try:
            count += to.execute(put, row).rowcount
        except sqlite3.Error:  # a row that breaks a rule of its table: it is not what was written
            continue
    return count, True


def _read(old: sqlite3.Connection, sql: str) -> Iterator[tuple[object, ...] | None]:
    """Rows, then None if there may be more that cannot be read."""
    try:
        yield from old.execute(sql)
    except sqlite3.Error:
        yield None


def _without_rowid(old: sqlite3.Connection, name: str) -> bool:
    try:
        row = old.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    except sqlite3.Error:
        return False
    return row is not None and "WITHOUT ROWID" in str(row[0]).upper()

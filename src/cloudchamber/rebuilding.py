# SPDX-License-Identifier: Apache-2.0
"""What `cloudchamber rebuild` does: a database that was lost or broken is made anew, as far as that goes."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber import services
from cloudchamber.base.clock import SystemClock
from cloudchamber.base.errors import ChamberError
from cloudchamber.contract.service import discover
from cloudchamber.services.s3.rebuild import Rebuilt, belongs, rebuild
from cloudchamber.store import outbox
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.store.salvage import Salvaged, salvage, sound

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from cloudchamber.store.database import Tx


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was wrong, what was taken over, what was made anew."""

    wrong: str
    """Empty: the database was sound, and that of these files."""
    aside: Path | None
    """Where the broken database lies now."""
    salvaged: list[Salvaged]
    rebuilt: Rebuilt | None


async def run(folder: Path) -> Outcome:
    """Make the database of a state folder anew, if need be.

    Raises:
        ChamberError: there is no state, or a chamber runs on it.
    """
    with _locked(folder):
        path = folder / "chamber.db"
        wrong = sound(path)
        aside = None
        if wrong and path.exists():
            aside = folder / f"chamber.db.broken-{SystemClock().now():%Y%m%d-%H%M%S}"
            for ending in ("", "-wal"):
                if (folder / f"chamber.db{ending}").exists():
                    (folder / f"chamber.db{ending}").replace(f"{aside}{ending}")
        if wrong:
            (folder / "chamber.db-shm").unlink(missing_ok=True)
            (folder / "chamber.db-wal").unlink(missing_ok=True)
        database = Database(path)
        try:
            found = discover(services)
            await migrate(database, {s.name: s.migrations for s in found.values() if s.migrations})
            await database.write(_outbox)
            salvaged = salvage(aside, path) if aside is not None else []
            if not wrong and belongs(database, folder):
                return Outcome("", None, [], None)
            wrong = wrong or "it is not the one that these files belong to"
            return Outcome(wrong, aside, salvaged, await rebuild(database, folder))
        finally:
            await database.close()


def _outbox(tx: Tx) -> None:
    for statement in outbox.SCHEMA:
        tx.execute(statement)


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    if not (folder / "lock").exists():
        raise ChamberError(f"{folder} holds no chamber", "give its folder with --state")
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ChamberError(f"a chamber runs on {folder}", "'cloudchamber stop' it first") from error
        yield
    finally:
        os.close(lock)

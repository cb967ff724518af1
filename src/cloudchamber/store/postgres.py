# SPDX-License-Identifier: Apache-2.0
"""The chamber's rows on PostgreSQL, where several chambers share them.

There is one writer still, now among all chambers: a transaction that writes begins by taking one advisory lock, which
the server gives back with the commit (or when the connection of a chamber that died ends). So what holds for one
chamber's writes holds for those of all: each sees what was committed before it, none fails because of another, and the
numbers that they give out grow. Readers wait for nobody.

Source: PostgreSQL documentation, "Advisory Locks", "NOTIFY", "Transaction Isolation".
"""

from __future__ import annotations

import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.database import Database, T
from cloudchamber.store.postgres_session import LOCK, Session, connect, first_line
from cloudchamber.store.postgres_writer import LostError, WritingSession

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from psycopg import Connection

    from cloudchamber.store.database import Reader, Tx
    from cloudchamber.store.dialect import Table

LOOK_S = 1.0
"""How often a chamber looks whether it is to lead, and forgets what it remembers, whatever it heard."""
AGAIN_S = 1.0
"""How long it waits before it listens anew."""
_LEAD = f"SELECT pg_try_advisory_lock({LOCK.format('leader')})"

_log = logging.getLogger(__name__)


class PostgresDatabase(Database):
    """The rows of several chambers; see `Database`."""

    shared = True
    inline_max_s = -1.0  # Why: the loop must not wait for other chambers' commits

    def __init__(self, url: str, busy: frozenset[str] = frozenset()) -> None:
        """`busy`: tables that are written to all the time, whose rows nobody remembers."""
        self._url = url
        self._busy = busy
        self._tables: dict[str, Table] = {}
        self._count = itertools.count(1)
        self.leads = False
        self._over = threading.Event()
        self._prepare()
        self._open()
        self.stamp = -1  # Why: another chamber may have written since
        self._watch = threading.Thread(target=self._watch_for_ever, name="cluster", daemon=True)
        self._watch.start()

    async def close(self) -> None:
        """Finish the queued writes, let another chamber lead, and close."""
        self._over.set()
        await super().close()
        self._watch.join(2 * LOOK_S)

    def recall(self, name: Hashable, look: Callable[[Reader], T], tx: Tx | None = None) -> T:
        """What `look` finds; remembered within a transaction that writes only, since nobody knows otherwise what
        other chambers wrote."""
        if tx is None:
            return self.peek(look)
        writer: Any = tx
        return writer.recall(name, lambda: look(tx)) if isinstance(writer, WritingSession) else look(tx)

    def _prepare(self) -> None:
        with connect(self._url) as made:
            self.home = f"PostgreSQL at {made.info.host}:{made.info.port}/{made.info.dbname}"
            if made.info.server_version < 140_000:
                raise ChamberError(f"PostgreSQL {made.info.server_version // 10_000} is too old", "14 is the oldest")
            setting: Any = made.execute("SHOW fsync").fetchone()
            if setting[0] != "on":
                raise ChamberError("the database does not write to its disk before it answers", "set fsync = on")
            setting = made.execute("SHOW server_encoding").fetchone()
            if setting[0] != "UTF8":
                raise ChamberError(f"the database is in {setting[0]}", "make one with ENCODING 'UTF8'")
            made.execute(f"BEGIN; SELECT pg_advisory_xact_lock({LOCK.format('writer')})")
            made.execute("CREATE EXTENSION IF NOT EXISTS citext; COMMIT")

    def _connect(self) -> Tx:
        return cast("Tx", Session(self._url, self._tables))

    def _connect_reader(self) -> Tx:
        return self._connect()

    def _connect_writer(self) -> Tx:
        return cast("Tx", WritingSession(self._url, self._tables, self._busy))

    def _changed(self) -> None:
        self.changes = self.settled = next(self._count)

    def _try_commit(self, batch: list[Any]) -> list[Any]:
        try:
            return super()._try_commit(batch)
        except LostError:  # Why: the server was away for a moment, and nothing of it happened
            return super()._try_commit(batch)

    def _publish(self, tx: Tx) -> None:
        touched = cast("WritingSession", tx).touched
        try:
            tx.execute("COMMIT")
        finally:
            self.changes = next(self._count)
            if touched:
                self.settled = self.changes

    def _roll_back(self) -> None:
        cast("WritingSession", self._writer).roll_back()

    def _watch_for_ever(self) -> None:
        """Hear of other chambers' commits, and hold the lock of who leads while no other chamber does."""
        import psycopg

        while not self._over.is_set():
            try:
                with connect(self._url) as made:
                    made.execute("LISTEN cloudchamber")
                    self._watch_by(made)
            except (psycopg.Error, ChamberError) as error:
                _log.warning("%s", first_line(error))
            finally:
                self.leads = False
                self._changed()
            self._over.wait(AGAIN_S)

    def _watch_by(self, made: Connection[Any]) -> None:
        while not self._over.is_set():
            self._changed()
            if not self.leads:
                row: Any = made.execute(_LEAD).fetchone()
                if row[0]:
                    _log.info("this chamber leads: it delivers and sweeps for all")
                    self.leads = True
            for _ in made.notifies(timeout=LOOK_S):
                self._changed()

# SPDX-License-Identifier: Apache-2.0
"""The connection that writes for a chamber of several.

What a transaction changes goes to the server without waiting for an answer; only a question waits, and so hears of all
that went before it. So a batch of writes costs one round trip for each of its questions, and one for its end.

Source: PostgreSQL documentation, "Pipeline Mode"; psycopg documentation, "Pipeline mode support".
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.database import UnreachableError
from cloudchamber.store.dialect import Statement
from cloudchamber.store.postgres_session import GONE, LOCK, NEXT, Found, Session, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from psycopg import Pipeline

    from cloudchamber.store.database import T
    from cloudchamber.store.dialect import Table

# Why said: a snapshot taken before the lock is held would miss what was committed meanwhile
_BEGIN = Statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
_TAKE = Statement(f"SELECT pg_advisory_xact_lock({LOCK.format('writer')})")
_TELL, _COMMIT, _ROLLBACK = Statement("NOTIFY cloudchamber"), Statement("COMMIT"), Statement("ROLLBACK")
_POINTS = ("SAVEPOINT ", "ROLLBACK TO ", "RELEASE ")

_log = logging.getLogger(__name__)


class LostError(UnreachableError):
    """The connection was lost before the transaction was to be committed: nothing of it happened."""


class Sent(Found):
    """A change that was sent; who asks what it did waits for the answer."""

    def __init__(self, cursor: Any, statement: Statement, wait: Callable[[], None]) -> None:
        super().__init__(cursor, statement)
        self._wait = wait

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        self._wait()
        return super().rowcount


class WritingSession(Session):
    """A connection whose transactions hold the lock of the one writer among all chambers."""

    def __init__(self, url: str, tables: dict[str, Table], busy: frozenset[str]) -> None:
        """`busy`: tables of whose changes other chambers are not told."""
        self._busy = busy
        self._inside = False
        self._pipeline: Pipeline | None = None
        self._pipelined: AbstractContextManager[Pipeline] | None = None
        self.touched = False
        """Whether the transaction may have changed a row of any other table."""
        self._recalled: dict[Hashable, Any] = {}
        super().__init__(url, tables)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that failed."""
        return self._inside

    def recall(self, name: Hashable, look: Callable[[], T]) -> T:
        """What `look` finds in tables that are not busy; remembered until the transaction ends or changes one.

        INVARIANT: nobody else changes them meanwhile, since this transaction holds the lock.
        """
        if name in self._recalled:
            return self._recalled[name]
        value = self._recalled[name] = look()
        return value

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Found:
        """Run one statement.

        Raises:
            LostError: the server is gone; UnreachableError: it did not take it in time, or may have.
        """
        import psycopg

        if sql == "BEGIN IMMEDIATE":
            return self._begin()
        if sql == "COMMIT":
            return self._commit()
        statement = self._translated(sql)
        self._note(statement)
        try:
            if statement.several or sql.startswith(_POINTS):  # Why: whose error it is must be known there
                self._leave()
            return self._sent(statement, values)
        except psycopg.OperationalError as error:
            raise self._lost(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """As `Session.executemany`."""
        self._note(self._translated(sql))
        super().executemany(sql, rows)

    def roll_back(self) -> None:
        """Undo the transaction that is open, if one is; a connection on which that fails is made anew by the next."""
        import psycopg

        if not self._inside:
            return
        self._inside = False
        with contextlib.suppress(psycopg.Error):  # Why: what was sent failed, and whoever waits hears it
            self._leave()
        try:
            self._begun(_ROLLBACK)
        except psycopg.Error as error:
            _log.info("a rollback failed: %s", first_line(error))
            self._connection.close()

    def _note(self, statement: Statement) -> None:
        if statement.several or (statement.writes and statement.writes not in self._busy):
            self.touched = True
            self._recalled.clear()

    def _sent(self, statement: Statement, values: Sequence[Any]) -> Found:
        if self._pipeline is None:
            return self._run(statement, values)
        if statement.writes and not statement.answers:
            return Sent(self._begun(statement, values), statement, self._wait)
        cursor = self._begun(statement, values)
        self._pipeline.sync()
        return Found(cursor, statement)

    def _wait(self) -> None:
        import psycopg

        try:
            if self._pipeline is not None:
                self._pipeline.sync()
        except psycopg.OperationalError as error:
            raise self._lost(error) from error

    def _begin(self) -> Found:
        import psycopg

        if self._connection.closed or self._connection.broken:
            self._connection = self._connect()
        self._recalled.clear()
        self.touched = False
        self._inside = True
        try:
            self._pipelined = self._connection.pipeline()
            self._pipeline = self._pipelined.__enter__()
            self._begun(_BEGIN)
            return Found(self._begun(_TAKE), _TAKE)
        except psycopg.OperationalError as error:
            raise self._lost(error) from error

    def _commit(self) -> Found:
        import psycopg

        try:
            if self.touched:
                self._begun(_TELL)
            cursor = self._begun(_COMMIT)
            self._leave()
        except psycopg.OperationalError as error:
            self._drop_broken()
            raise UnreachableError(f"the database did not take it: {first_line(error)}", NEXT) from error
        # INVARIANT: a transaction that failed ends with another word, and no error
        if cursor.statusmessage != "COMMIT":
            raise ChamberError(f"the database answered {cursor.statusmessage} to a commit")
        self._inside = False
        return Found(cursor, _COMMIT)

    def _leave(self) -> None:
        """Hear of all that was sent; from now on each statement is waited for."""
        pipelined, self._pipelined, self._pipeline = self._pipelined, None, None
        if pipelined is not None:
            pipelined.__exit__(None, None, None)

    def _lost(self, error: BaseException) -> UnreachableError:
        if self._drop_broken():
            return LostError(f"{GONE}: {first_line(error)}", NEXT)
        return UnreachableError(f"the database did not take it: {first_line(error)}", NEXT)

    def _drop_broken(self) -> bool:
        gone = self._connection.broken or self._connection.closed
        if gone:
            self._pipelined = self._pipeline = None
            self._inside = False
            self._connection.close()
        return gone

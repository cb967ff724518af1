# SPDX-License-Identifier: Apache-2.0
"""One SQLite database: one writer, many readers, group commit.

A write is acknowledged only when the transaction that holds it is on disk (`synchronous=FULL`). Writes that
queue up while a commit runs share the next commit and its one fsync.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cloudchamber.base.errors import ChamberError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

Tx: TypeAlias = sqlite3.Connection
"""A connection inside a transaction. A function given to `write` is synchronous, touches only its `tx`,
never commits, and may run twice."""

Reader: TypeAlias = sqlite3.Connection
"""A connection to read with."""

_log = logging.getLogger(__name__)


class Database:
    """The chamber's rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = self._connect()
        self._reader.execute("PRAGMA query_only=ON")
        self._queue: deque[tuple[Callable[[Tx], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]] = (
            deque()
        )
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._commit_for_ever, name="committer", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        try:
            tx = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            tx.row_factory = sqlite3.Row
            tx.execute("PRAGMA journal_mode=WAL")
            tx.execute("PRAGMA synchronous=FULL")
            tx.execute("PRAGMA foreign_keys=ON")
            tx.execute("PRAGMA busy_timeout=10000")
        except sqlite3.Error as error:
            raise ChamberError(
                f"cannot open {self.path}: {error}", "check the disk and the folder's owner"
            ) from error
        return tx

    async def write(self, change: Callable[[Tx], T]) -> T:
        """Run `change` in a transaction; return its result once it is durable.

        What `change` raises is raised here, and nothing of it is kept.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._wake:
            if self._closed:
                raise ChamberError("the chamber is stopping")
            self._queue.append((change, loop, future))
            self._wake.notify()
        return await future

    def read(self, look: Callable[[Reader], T]) -> T:
        """Run `look` on the caller's thread over one consistent snapshot: for point reads and short pages."""
        self._reader.execute("BEGIN")
        try:
            return look(self._reader)
        finally:
            self._reader.execute("COMMIT")

    async def query(self, look: Callable[[Reader], T]) -> T:
        """Run `look` on a thread of its own, over one consistent snapshot: for what takes milliseconds."""

        def work() -> T:
            reader = self._connect()
            try:
                reader.execute("BEGIN")
                return look(reader)
            finally:
                reader.close()

        return await asyncio.to_thread(work)

    async def close(self) -> None:
        """Finish the queued writes and close."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        self._reader.close()

    def _commit_for_ever(self) -> None:
        tx = self._connect()
        while True:
            with self._wake:
                while not self._queue and not self._closed:
                    self._wake.wait()
                if not self._queue:
                    break
                batch = list(self._queue)
                self._queue.clear()
            self._commit(tx, batch)
        tx.close()

    def _commit(
        self,
        tx: sqlite3.Connection,
        batch: list[tuple[Callable[[Tx], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]],
    ) -> None:
        results: list[tuple[Any, BaseException | None]] = []
        try:
            tx.execute("BEGIN IMMEDIATE")
            for change, _, _ in batch:
                tx.execute("SAVEPOINT one")
                try:
                    results.append((change(tx), None))
                except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who gets it
                    tx.execute("ROLLBACK TO one")
                    results.append((None, error))
                tx.execute("RELEASE one")
            tx.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - the whole batch failed: every caller hears it
            _log.exception("a commit failed")
            if tx.in_transaction:
                tx.execute("ROLLBACK")
            results = [(None, error) for _ in batch]
        for (_, loop, future), (result, error) in zip(batch, results, strict=True):
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the caller's loop is gone; a lost caller must never stop the committer
                continue


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)

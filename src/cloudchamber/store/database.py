# SPDX-License-Identifier: Apache-2.0
"""One SQLite database: one writer, many readers, group commit.

A write is acknowledged only when the transaction that holds it is on disk (`synchronous=FULL`). Writes that come
up in one turn of the event loop, or while a commit runs, share one transaction and its one fsync. On a disk that syncs
quickly they are committed at once, on the loop's own thread: the hop to another thread and back, and the quarrel of two
threads about the interpreter, cost more than the sync.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

T = TypeVar("T")
C = TypeVar("C", bound=sqlite3.Connection)

Tx: TypeAlias = sqlite3.Connection
"""A connection inside a transaction. A function given to `write` is synchronous, touches only its `tx`,
never commits, and may run twice."""

Reader: TypeAlias = sqlite3.Connection
"""A connection to read with."""

_Waiting: TypeAlias = "tuple[Callable[[Tx], Any], asyncio.AbstractEventLoop, asyncio.Future[Any] | _Told]"
_Outcome: TypeAlias = "tuple[Any, BaseException | None]"

BATCH_MAX = 512
INLINE_MAX_S = 0.0015
"""A lone write is committed on the loop's thread while the disk usually syncs within this time."""
INLINE_SEVERAL_MAX_S = INLINE_MAX_S / 2
"""The same for several, which the loop could go on taking in while the disk syncs: measured, it pays below this."""
INLINE_WRITES_MAX = 128
"""More at once would hold up the loop."""
IDLE_READERS_MAX = 4
_DISK = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REBUILD = "stop the chamber, and 'cloudchamber rebuild' makes the database anew"
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
REMEMBERED_MAX = 4096

_WRITES = re.compile(r"\s*(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM)\s+(\w+)")
_READS = ("SELECT ", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT ", "RELEASE ", "PRAGMA ")

_log = logging.getLogger(__name__)


class Writer(sqlite3.Connection):
    """The connection that writes; it knows whether it wrote to anything but the busy tables."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.busy: frozenset[str] = frozenset()
        self.fleeting: frozenset[str] = frozenset()
        """Those of them whose rows nobody remembers at all."""
        self.touched = True
        """Whether the transaction may have changed a row of any table that is not busy."""
        self.stirred = True
        """Whether it may have changed a row that anybody remembers."""
        self._known: dict[str, bool] = {}
        """Statements that touch nothing, and whether they stir."""

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """As sqlite3's."""
        stirs = self._known.get(sql)
        if stirs is None:
            self._look_at(sql)
        elif stirs:
            self.stirred = True
        return super().execute(sql, values)

    def executemany(self, sql: str, rows: Any, /) -> sqlite3.Cursor:
        """As sqlite3's."""
        self._look_at(sql)
        return super().executemany(sql, rows)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        """As sqlite3's."""
        self.touched = self.stirred = True
        return super().executescript(script)

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """As sqlite3's."""
        self.touched = self.stirred = True  # Why: nobody sees what is done with it
        return super().cursor(*args, **kwargs)

    def _look_at(self, sql: str) -> None:
        found = _WRITES.match(sql)
        table = found[1] if found is not None else ""
        if sql.startswith(_READS) or table in self.busy:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            stirs = self._known[sql] = table in self.busy and table not in self.fleeting
            self.stirred = self.stirred or stirs
        else:
            self.touched = self.stirred = True


class UnreachableError(ChamberError):
    """The database or the store of blobs, on other machines, does not answer; what was asked may have happened."""


class Database:
    """The chamber's rows."""

    shared = False
    """Whether other chambers read and write the same rows."""
    leads = True
    """Whether this chamber does what one alone does: it delivers messages, and sweeps."""
    inline_max_s = INLINE_MAX_S
    room: Room | None = None
    """The room on its disk; None where the disk is another machine's."""

    def __init__(
        self, path: Path, busy: frozenset[str] = frozenset(), remembered: frozenset[str] = frozenset()
    ) -> None:
        """`busy`: tables that are written to all the time, whose rows nobody remembers by `settled`. `remembered`:
        those of them whose rows somebody remembers by `stamp`."""
        self.path = path
        self._busy = busy
        self._fleeting = busy - remembered
        self.home = f"the disk of {path}"
        self._make_file()
        self.room = Room(path.parent)
        try:
            self._open()
        except ChamberError:  # a full disk: SQLite makes files beside the database
            if not self.room.give_up():
                raise
            self._open()

    def _open(self) -> None:
        self._writer = self._connect_writer()
        self._reader = self._connect_reader()
        self._reader_thread = threading.get_ident()
        self._idle_readers: list[sqlite3.Connection] = []
        self._pending: deque[_Waiting] = deque()
        self._scheduled = False
        self._queue: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._committing = False
        self._closed = False
        self.changes = 0
        """Goes up with every commit, before the writer hears of it: while it stands still, so do all rows."""
        self.stamp = 0
        """As `changes`, but still after a commit that wrote to busy tables only that are not remembered; and negative
        while another one is under way, of which nobody knows whether readers see it yet."""
        self.settled = 0
        """As `changes`, but still after a commit that wrote to busy tables only: then all other rows are as before."""
        self._known: dict[Any, tuple[int, Any]] = {}
        self._sync_s = 0.0
        """How long the disk usually takes to sync a commit."""
        self._thread = threading.Thread(target=self._commit_for_ever, name="committer", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[Tx], T]) -> T:
        """Run `change` in a transaction; return its result once it is durable.

        What `change` raises is raised here, and nothing of it is kept. A caller that is cancelled while it waits
        has lost the answer, not the write.

        Raises:
            ChamberError: the disk did not take it, or the chamber is stopping; nothing was kept.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._wake:
            if self._closed:
                raise ChamberError("the chamber is stopping")
            self._pending.append((change, loop, future))
            first = not self._scheduled
            self._scheduled = True
        if first:
            loop.call_soon(self._dispatch, loop)
        return await future

    def submit(self, change: Callable[[Tx], Any], tell: Callable[[Any, BaseException | None], None]) -> bool:
        """As `write`, for who waits for nothing: `tell` hears the result, or what was raised, on this loop.

        `tell` must not raise. False: the chamber is stopping; nothing was done, and nothing will be told.
        """
        loop = asyncio.get_running_loop()
        with self._wake:
            if self._closed:
                return False
            self._pending.append((change, loop, _Told(tell)))
            first = not self._scheduled
            self._scheduled = True
        if first:
            loop.call_soon(self._dispatch, loop)
        return True

    def read(self, look: Callable[[Reader], T]) -> T:
        """Run `look` on the caller's thread over one consistent snapshot: for point reads and short pages."""
        if threading.get_ident() != self._reader_thread:
            return self._look_apart(look)
        reader = self._reader
        if reader.in_transaction:  # a read inside a read sees the same snapshot
            return look(reader)
        reader.execute("BEGIN")
        try:
            return look(reader)
        finally:
            reader.execute("COMMIT")

    def peek(self, look: Callable[[Reader], T]) -> T:
        """Run `look`, which reads by one statement only, on the caller's thread: that is a snapshot by itself."""
        if threading.get_ident() != self._reader_thread:
            return self._look_apart(look)
        return look(self._reader)

    def recall(self, name: Hashable, look: Callable[[Reader], T], tx: Tx | None = None) -> T:
        """What `look` finds by one statement in tables that are not busy; remembered until one of them changes.

        `name` says what that is, for all callers. `tx`: the transaction that the caller is in.
        """
        if tx is not None and self._unsettled(tx):
            return look(tx)
        found = self._known.get(name)
        # INVARIANT: what is remembered was read after commit `settled` was published, and before the next one was
        if found is not None and found[0] == self.settled:
            return found[1]
        settled, inside = self.settled, tx is None and self.reading
        value = look(tx) if tx is not None else self.peek(look)
        if not inside:  # Why: the snapshot that the caller reads may be an older one
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[name] = settled, value
        return value

    def _unsettled(self, tx: Tx) -> bool:
        """Whether `tx` may see rows, outside the busy tables, that are not what `settled` stands for."""
        return not isinstance(tx, Writer) or tx.touched

    @property
    def reading(self) -> bool:
        """Whether this is inside a `read`, whose snapshot may be older than `changes` says."""
        return self._reader.in_transaction

    async def query(self, look: Callable[[Reader], T]) -> T:
        """Run `look` on a thread of its own, over one consistent snapshot: for what takes milliseconds."""
        return await asyncio.to_thread(self._look_apart, look)

    async def close(self) -> None:
        """Finish the queued writes and close."""
        with self._wake:
            self._closed = True
            self._queue.extend(self._pending)
            self._pending.clear()
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)
        for reader in (*self._idle_readers, self._reader, self._writer):
            reader.close()
        self._idle_readers.clear()

    def _make_file(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ChamberError(f"cannot open {self.path}: {error}", "check the disk and the folder's owner") from error

    def _connect_writer(self) -> Tx:
        tx = self._open_file(Writer)
        tx.busy, tx.fleeting = self._busy, self._fleeting
        return tx

    def _connect(self) -> Tx:
        return self._open_file(sqlite3.Connection)

    def _open_file(self, kind: type[C]) -> C:
        try:
            tx = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=512, factory=kind
            )
            tx.row_factory = sqlite3.Row
            tx.execute("PRAGMA journal_mode=WAL")
            tx.execute("PRAGMA synchronous=FULL")
            tx.execute("PRAGMA foreign_keys=ON")
            tx.execute("PRAGMA busy_timeout=10000")
            tx.execute("PRAGMA journal_size_limit=67108864")
        except sqlite3.Error as error:
            hint = _REBUILD if _is_broken(error) else "check the disk and the folder's owner"
            raise ChamberError(f"cannot open {self.path}: {error}", hint) from error
        return tx

    def _connect_reader(self) -> sqlite3.Connection:
        reader = self._connect()
        reader.execute("PRAGMA query_only=ON")
        return reader

    def _look_apart(self, look: Callable[[Reader], T]) -> T:
        try:
            reader = self._idle_readers.pop()
        except IndexError:
            reader = self._connect_reader()
        try:
            reader.execute("BEGIN")
            try:
                return look(reader)
            finally:
                reader.execute("COMMIT")
        finally:
            if len(self._idle_readers) < IDLE_READERS_MAX and not self._closed:
                self._idle_readers.append(reader)
            else:
                reader.close()

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Commit what came up in this turn of the loop: here, or on the committer's thread."""
        with self._wake:
            self._scheduled = False
            if not self._pending:  # the chamber is stopping: they are the committer's
                return
            if self._committing or self._queue or not self._inline(loop):
                self._queue.extend(self._pending)
                self._pending.clear()
                self._wake.notify()
                return
            batch = list(self._pending)
            self._pending.clear()
            self._committing = True
        try:
            outcomes = self._commit(batch)
        finally:
            with self._wake:
                self._committing = False
                if self._queue or self._closed:
                    self._wake.notify()
        _settle(batch, outcomes)

    def _inline(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the writes that came up are few and quick enough for the loop's own thread."""
        if len(self._pending) == 1:
            return self._sync_s <= self.inline_max_s
        if self._sync_s > min(self.inline_max_s, INLINE_SEVERAL_MAX_S) or len(self._pending) > INLINE_WRITES_MAX:
            return False
        return all(asked is loop for _, asked, _ in self._pending)

    def _commit_for_ever(self) -> None:
        while True:
            with self._wake:
                while (not self._queue or self._committing) and not (self._closed and not self._committing):
                    self._wake.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
                self._committing = True
            outcomes = self._commit(batch)
            with self._wake:
                self._committing = False
            for loop in {loop for _, loop, _ in batch}:
                mine = [(w, o) for w, o in zip(batch, outcomes, strict=True) if w[1] is loop]
                try:
                    loop.call_soon_threadsafe(_settle, [w for w, _ in mine], [o for _, o in mine])
                except RuntimeError:  # that loop is gone; a lost caller must never stop the committer
                    continue

    def _commit(self, batch: list[_Waiting]) -> list[_Outcome]:
        """One transaction for the batch; never raises. `_committing` makes the caller the only user of the writer."""
        try:
            return self._try_commit(batch)
        except BaseException as error:  # noqa: BLE001 - the transaction failed: whoever waits hears it, below
            self._roll_back()
            if _is_full(error) and self.room is not None and self.room.give_up():
                return self._commit(batch)
            if _is_io(error) and (len(batch) == 1 or not _is_full(error)):
                _log.error("%d writes could not be saved: %s; look at %s", len(batch), error, self.home)
                return [(None, _refused(error)) for _ in batch]
            if len(batch) == 1:
                _log.exception("a write could not be saved")
                return [(None, _refused(error)) for _ in batch]
            # Why: one write may have spoilt the others (a constraint checked at COMMIT, a full disk).
            return [outcome for waiting in batch for outcome in self._commit([waiting])]

    def _try_commit(self, batch: list[_Waiting]) -> list[_Outcome]:
        tx = self._writer
        tx.execute("BEGIN IMMEDIATE")
        if len(batch) == 1:
            try:
                result = batch[0][0](tx)
            except BaseException as error:
                self._roll_back()
                if _is_io(error):
                    raise
                return [
                    (None, _refused(error) if _is_broken(error) else error)
                ]  # it belongs to the caller, who gets it
            self._publish(tx)
            return [(result, None)]
        try:
            results: list[_Outcome] = [(change(tx), None) for change, _, _ in batch]
        except BaseException:  # noqa: BLE001 - which one it belongs to is found out, below
            self._roll_back()
        else:
            self._publish(tx)
            return results
        return self._try_each(batch)

    def _try_each(self, batch: list[_Waiting]) -> list[_Outcome]:
        """As `_try_commit`, for a batch of which a write has failed: each is kept or undone by itself."""
        tx = self._writer
        tx.execute("BEGIN IMMEDIATE")
        outcomes: list[_Outcome] = []
        for change, _, _ in batch:
            tx.execute("SAVEPOINT one")
            try:
                outcomes.append((change(tx), None))
            except BaseException as error:
                if not tx.in_transaction or _is_io(error):  # the disk refused: it is nobody's own error
                    raise
                tx.execute("ROLLBACK TO one")
                outcomes.append((None, error))
            tx.execute("RELEASE one")
        self._publish(tx)
        return outcomes

    def _publish(self, tx: Tx) -> None:
        stirred = not isinstance(tx, Writer) or tx.stirred
        if stirred:
            self.stamp = -1
        began = time.perf_counter()
        try:
            tx.execute("COMMIT")
        finally:  # Why: a commit that failed may have reached the disk for all that is known
            self.changes += 1
            if not isinstance(tx, Writer):
                self.settled += 1
            elif tx.touched:
                self.settled += 1
                tx.touched = False
            if stirred:
                self.stamp = self.changes
            if isinstance(tx, Writer):
                tx.stirred = False
            self._sync_s += 0.1 * (time.perf_counter() - began - self._sync_s)

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            _log.exception("a rollback failed; the connection is made anew")
            try:
                self._writer.close()
                self._writer = self._connect_writer()
            except (sqlite3.Error, ChamberError):
                _log.exception("and could not be made: writes fail until it can")


class _Told:
    """What is settled as a future is, but calls at once."""

    __slots__ = ("_tell",)

    def __init__(self, tell: Callable[[Any, BaseException | None], None]) -> None:
        self._tell = tell

    def _call(self, result: Any, error: BaseException | None) -> None:
        try:
            self._tell(result, error)
        except Exception:  # noqa: BLE001 - one who cannot be told must not keep the others of the batch from it
            _log.exception("who waited for a write could not be told of it")

    def done(self) -> bool:
        """Nobody gives up waiting."""
        return False

    def set_result(self, result: Any) -> None:
        """It is durable."""
        self._call(result, None)

    def set_exception(self, error: BaseException) -> None:
        """It is not."""
        self._call(None, error)


def _is_io(error: BaseException) -> bool:
    """Whether the disk refused."""
    if isinstance(error, UnreachableError):
        return True
    return isinstance(error, sqlite3.OperationalError) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DISK


def _is_full(error: BaseException) -> bool:
    """Whether there was no room; that includes SQLite's own index of the log, for which it has another word."""
    return isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 0) in _NO_ROOM


def _is_broken(error: BaseException) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BROKEN


def _refused(error: BaseException) -> BaseException:
    if _is_broken(error):
        return ChamberError(f"the database is broken: {error}", _REBUILD)
    if isinstance(error, sqlite3.OperationalError):
        return ChamberError(f"could not save: {error}", "check that the disk has space and is writable")
    return error


def _settle(batch: list[_Waiting], outcomes: list[_Outcome]) -> None:
    for (_, _, future), (result, error) in zip(batch, outcomes, strict=True):
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # a future cannot carry it
            future.set_exception(RuntimeError(f"the write raised {error!r}"))
        else:
            future.set_exception(error)

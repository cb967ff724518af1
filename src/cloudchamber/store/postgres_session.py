# SPDX-License-Identifier: Apache-2.0
"""Connections to PostgreSQL that take what services say to SQLite's. Source: PostgreSQL documentation."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.database import UnreachableError
from cloudchamber.store.dialect import Statement, Table, escaped, translate, unescaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg import Connection, RawCursor

AGAIN_S = 1.0
"""How long nobody tries to connect after that failed."""
LOCK = "hashtextextended('cloudchamber ' || current_schema() || ' {}', 0)"
"""The number of a lock, by its name."""
_WORDS = {
    "BEGIN": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "COMMIT": "COMMIT",
    "SAVEPOINT one": "SAVEPOINT one",
    "ROLLBACK TO one": "ROLLBACK TO one",
    "RELEASE one": "RELEASE one",
}
_TABLE = """SELECT a.attname, a.attidentity <> '', coalesce(a.attnum = ANY(i.indkey), false)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
GONE = "the database cannot be reached"
NEXT = "look whether PostgreSQL runs and this machine reaches it"


class Row(tuple[Any, ...]):
    """A row, by number and by name."""

    names: dict[str, int]

    def __getitem__(self, which: Any) -> Any:
        return super().__getitem__(self.names[which] if type(which) is str else which)

    def keys(self) -> list[str]:
        """Names of the columns."""
        return list(self.names)


@lru_cache(maxsize=1024)
def _kind(names: tuple[str, ...]) -> type[Row]:
    return type("Row", (Row,), {"names": {name: at for at, name in enumerate(names)}})


def _rows(cursor: Any) -> Any:
    kind = _kind(tuple(column.name for column in cursor.description or ()))

    def make(values: Sequence[Any]) -> Row:
        return kind([unescaped(v) if type(v) is str else v for v in values])

    return make


class Found:
    """What a statement found or did, as `sqlite3.Cursor` tells it."""

    def __init__(self, cursor: RawCursor[Any], statement: Statement) -> None:
        self._cursor = cursor
        row: Any = cursor.fetchone() if statement.numbered else None
        self.lastrowid: int | None = None if row is None else row[0]

    @property
    def rowcount(self) -> int:
        """How many rows it changed, or found."""
        return self._cursor.rowcount

    def fetchone(self) -> Any:
        """The next row; None if there is none."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


class Session:
    """A connection that takes what services say to `sqlite3.Connection`.

    One that is lost is made anew by the statement that begins the next transaction.
    """

    def __init__(self, url: str, tables: dict[str, Table]) -> None:
        self._url = url
        self._tables = tables
        self._statements: dict[str, Statement] = {}
        self._failed_at = -AGAIN_S
        self._connection: Connection[Any] = self._connect()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that failed."""
        return self._connection.info.transaction_status in (1, 2, 3)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Found:
        """Run one statement.

        Raises:
            UnreachableError: the server is gone, or did not do it in time.
        """
        import psycopg

        statement = self._translated(sql)
        begun = self.in_transaction
        try:
            return self._run(statement, values)
        except psycopg.OperationalError as error:
            if begun or not (self._connection.broken or self._connection.closed):
                raise UnreachableError(f"the database did not take it: {first_line(error)}", NEXT) from error
        self._connection = self._connect()
        try:
            return self._run(statement, values)
        except psycopg.OperationalError as error:
            raise UnreachableError(f"{GONE}: {first_line(error)}", NEXT) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of `rows`, without waiting for one before the next; inside a transaction.

        Raises:
            UnreachableError: the server is gone.
        """
        import psycopg

        statement = self._translated(sql)
        try:
            cast("Any", self._connection.cursor()).executemany(statement.text, rows)
        except psycopg.OperationalError as error:
            raise UnreachableError(f"the database did not take it: {first_line(error)}", NEXT) from error

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _run(self, statement: Statement, values: Sequence[Any]) -> Found:
        return Found(self._begun(statement, values), statement)

    def _begun(self, statement: Statement, values: Sequence[Any] = ()) -> RawCursor[Any]:
        """Hand a statement to the driver."""
        prepare = False if statement.several else None  # Why: several statements in one cannot be prepared
        run = cast("Any", self._connection).execute  # the driver's types want a literal; this text is put together
        return run(statement.text, values or None, prepare=prepare)

    def _translated(self, sql: str) -> Statement:
        found = self._statements.get(sql)
        if found is None:
            found = Statement(_WORDS[sql]) if sql in _WORDS else translate(sql, self._table)
            self._statements[sql] = found
        return found

    def _table(self, name: str) -> Table:
        found = self._tables.get(name)
        if found is None:
            rows = self._run(Statement(_TABLE), (name,)).fetchall()
            numbered = next((row[0] for row in rows if row[1]), "")
            found = Table(tuple(row[0] for row in rows), tuple(row[0] for row in rows if row[2]), numbered)
            if found.key:
                self._tables[name] = found
        return found

    def _connect(self) -> Connection[Any]:
        if time.monotonic() - self._failed_at < AGAIN_S:
            raise UnreachableError(GONE, NEXT)
        try:
            made = connect(self._url)
        except UnreachableError:
            self._failed_at = time.monotonic()
            raise
        made.execute("SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'")
        return made


def connect(url: str) -> Connection[Any]:
    """A connection whose server notices soon that this machine is gone, and the other way round.

    Raises:
        ChamberError: the driver is not installed.
        UnreachableError: nobody answers, or refuses who asks.
    """
    try:
        import psycopg
        from psycopg.adapt import Loader
        from psycopg.types.numeric import Int2Dumper
        from psycopg.types.string import StrDumperUnknown
    except ImportError as error:
        raise ChamberError(
            "state on PostgreSQL takes the driver psycopg, which is not here", "pip install 'cloudchamber[cluster]'"
        ) from error

    class Text(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(escaped(obj))

    class Truth(Int2Dumper):
        def dump(self, obj: Any) -> Any:
            return b"1" if obj else b"0"

    class Number(Loader):
        """Sums, which SQLite gives as what was added up."""

        def load(self, data: Any) -> Any:
            text = bytes(data)
            return float(text) if b"." in text or b"e" in text else int(text)

    try:
        made = psycopg.connect(
            url, autocommit=True, connect_timeout=3, cursor_factory=psycopg.RawCursor, row_factory=_rows,
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3, tcp_user_timeout=10_000,
            application_name="cloudchamber", client_encoding="utf8", target_session_attrs="read-write",
        )  # fmt: skip
    except psycopg.OperationalError as error:
        raise UnreachableError(f"{GONE}: {first_line(error)}", NEXT) from error
    made.prepared_max = 512
    made.adapters.register_dumper(str, Text)
    made.adapters.register_dumper(bool, Truth)
    made.adapters.register_loader("numeric", Number)
    made.execute(
        "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
        # INVARIANT: a commit is on disk when it is told, whatever the server's own setting; never weaker
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
    )
    return made


def first_line(error: BaseException) -> str:
    """The first line of what the driver says; it names no password."""
    return (str(error).splitlines() or [type(error).__name__])[0]

# SPDX-License-Identifier: Apache-2.0
"""A small PostgreSQL client for our own statements, over the private socket.

Source: PostgreSQL documentation, Frontend/Backend Protocol, simple query.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ADMIN = "rdsadmin"
"""The cluster's superuser, as on RDS: for ourselves only."""
PATH_MAX = 100 if sys.platform == "darwin" else 104
_ROW_MAX = 1 << 24


class SqlError(Exception):
    """What PostgreSQL answered; `code` is the SQLSTATE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


def dial(path: Path) -> socket.socket:
    """Begin to connect a non-blocking socket to a Unix socket, however long its path is.

    Raises:
        OSError: nobody listens, or the path is too long for this system.
    """
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if len(os.fsencode(path)) < PATH_MAX:
            link.connect(str(path))
        else:
            # Why: a Unix socket's address holds about 104 octets; a handle of the folder has a short name.
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                link.connect(f"/proc/self/fd/{handle}/{path.name}")
            finally:
                os.close(handle)
    except BaseException:
        link.close()
        raise
    link.setblocking(False)
    return link


def startup(user: str, database: str, **more: str) -> bytes:
    """The message that begins a session, protocol 3.0."""
    pairs = {"user": user, "database": database, **more}
    body = struct.pack("!I", 196608) + b"".join(f"{k}\0{v}\0".encode() for k, v in pairs.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def literal(text: str) -> str:
    """A string as an SQL literal.

    Raises:
        ValueError: it holds a NUL.
    """
    if "\0" in text:
        raise ValueError("NUL in a string")
    quoted = text.replace("'", "''")
    return f" E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"


def name(text: str) -> str:
    """A string as an SQL identifier."""
    if "\0" in text:
        raise ValueError("NUL in a name")
    return '"' + text.replace('"', '""') + '"'


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse: ``C`` the SQLSTATE, ``M`` the message."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


class Control:
    """One session; statements run one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = asyncio.Lock()
        self.lost = asyncio.Event()

    @classmethod
    async def connect(cls, path: Path, database: str = "postgres", user: str = ADMIN) -> Control:
        """Open a session.

        Raises:
            OSError: the server does not listen. SqlError: it does not let us in (it may be starting).
        """
        reader, writer = await asyncio.open_unix_connection(sock=dial(path), limit=_ROW_MAX)
        control = cls(reader, writer)
        writer.write(startup(user, database, application_name="cloudchamber"))
        try:
            await control._answer()
        except BaseException:
            writer.close()
            raise
        return control

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """Run one or more statements; the rows of the last that gave rows, as text.

        Raises:
            SqlError: PostgreSQL refused. OSError: the connection is gone.
        """
        async with self._lock:
            body = sql.encode() + b"\0"
            self._writer.write(b"Q" + struct.pack("!I", len(body) + 4) + body)
            try:
                return await self._answer()
            except (OSError, EOFError) as error:
                self.lost.set()
                raise ConnectionResetError("the server closed the connection") from error

    async def close(self) -> None:
        """End the session."""
        self.lost.set()
        self._writer.close()

    async def _answer(self) -> list[tuple[str | None, ...]]:
        rows: list[tuple[str | None, ...]] = []
        failed: SqlError | None = None
        while True:
            head = await self._reader.readexactly(5)
            size = int.from_bytes(head[1:], "big") - 4
            body = await self._reader.readexactly(size)
            kind = head[:1]
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"T":
                rows = []
            elif kind == b"E":
                fields = error_fields(body)
                failed = SqlError(fields.get("C", ""), fields.get("M", ""))
                if fields.get("S") in ("FATAL", "PANIC"):
                    raise failed
            elif kind == b"R" and body[:4] != b"\0\0\0\0":
                raise SqlError("28000", "the private socket asks for a password")
            elif kind == b"Z":
                if failed is not None:
                    raise failed
                return rows


def _row(body: bytes) -> tuple[str | None, ...]:
    count = int.from_bytes(body[:2], "big")
    values: list[str | None] = []
    at = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, at)
        at += 4
        if size < 0:
            values.append(None)
        else:
            values.append(body[at : at + size].decode(errors="replace"))
            at += size
    return tuple(values)

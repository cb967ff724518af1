# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""SFTP on descriptors 0 and 1, where the machine has no sftp-server: asyncssh's, as an ordinary process of the user."""

from __future__ import annotations

import asyncio
import logging
import sys

from asyncssh import logging as ssh_logging
from asyncssh import sftp


class Reader:
    """What the library reads from."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self.logger = ssh_logging.SSHLogger(logging.getLogger("sftp"), None)  # pyright: ignore[reportArgumentType]
        self.readexactly = stream.readexactly

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Nothing is known of the connection."""
        return default


class Writer:
    """What the library writes to."""

    def __init__(self, transport: asyncio.WriteTransport, logger: object) -> None:
        self._transport = transport
        self.logger = logger
        self.write = transport.write
        self.close = transport.close
        self.channel = transport

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Nothing is known of the connection."""
        return default


async def serve() -> None:
    """Until the client ends."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=2**22)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), sys.stdin)
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout)
    reader = Reader(stream)
    handler = sftp.SFTPServerHandler(sftp.SFTPServer(None), reader, Writer(transport, reader.logger), 3)  # pyright: ignore[reportArgumentType]
    await handler.run()


if __name__ == "__main__":
    asyncio.run(serve())

# SPDX-License-Identifier: Apache-2.0
"""SSH to instances: the chamber ends the connection, the instance runs what it is for.

Who may log in is said by `~/.ssh/authorized_keys` of the user inside, read by a program inside, and by EC2 Instance
Connect for a minute. Shells, commands, file transfer and forwarded connections are processes of the instance, as its
user: nothing of this machine can be reached through them that the instance could not reach itself.
Source: RFC 4251-4254; sshd(8); Amazon EC2 User Guide, EC2 Instance Connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.services.ec2.ssh_session import Session
from cloudchamber.store import private

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.sandboxes import Sandbox

_log = logging.getLogger(__name__)
LOGIN = (sys.executable, "-I", "-S", str(Path(__file__).resolve().parent / "guest" / "login.py"))
"""What runs a program inside as one of the instance's users."""
HOST_KEY = "ssh_host_ed25519_key"
OFFER_S = 60.0
"""How long a key that EC2 Instance Connect pushed may log in."""
_OFFERS_MAX = 100
_CONNECTIONS_MAX = 32
"""Of one instance at a time."""
_RUNS_MAX = 200
"""Processes of an instance at a time; each holds descriptors of ours until it ends, as without a terminal it outlives
its connection."""
_KEYS_MAX = 256 * 1024
_LOGIN_S = 60.0
_READ_S = 20.0


@dataclass(frozen=True, slots=True)
class _Offer:
    user: str
    key: str
    until: float


class Ssh:
    """The SSH server of all instances. `find` gives the sandbox of a running one."""

    def __init__(self, doors: Doors, folder: Path, find: Callable[[str], Sandbox | None]) -> None:
        self._doors = doors
        self._folder = folder
        self._find = find
        self._offers: dict[str, list[_Offer]] = {}
        self._open: dict[str, set[Any]] = {}
        self._count: dict[str, int] = {}
        self._running: dict[str, int] = {}

    def host_key(self, instance_id: str) -> Any:
        """The private host key of an instance (an asyncssh key), made when it is first needed."""
        import asyncssh  # Why here: only a log-in needs it

        path = self._folder / instance_id / HOST_KEY
        with contextlib.suppress(FileNotFoundError):
            return asyncssh.import_private_key(path.read_bytes())
        generate = cast("Any", asyncssh).generate_private_key
        made = generate("ssh-ed25519", comment=instance_id)
        private.write(path, made.export_private_key())
        return made

    def host_line(self, instance_id: str) -> str:
        """The public host key, as `known_hosts` has it after the name."""
        line: bytes = self.host_key(instance_id).export_public_key()
        return " ".join(line.decode().split()[:2])

    def offer(self, instance_id: str, user: str, public_key: str) -> None:
        """Let a key log in as a user for a minute."""
        now = self._doors.clock.monotonic()
        kept = [one for one in self._offers.get(instance_id, []) if one.until > now][-_OFFERS_MAX:]
        self._offers[instance_id] = [*kept, _Offer(user, public_key, now + OFFER_S)]

    def forget(self, instance_id: str) -> None:
        """End the connections to an instance that has ended."""
        self._offers.pop(instance_id, None)
        for connection in list(self._open.get(instance_id, ())):
            connection.abort()

    def stop(self) -> None:
        """End all connections."""
        for instance_id in list(self._open):
            self.forget(instance_id)

    async def serve(self, connection: socket.socket, instance_id: str) -> None:
        """Speak SSH on a connected socket until its end."""
        import asyncssh

        if self._count.get(instance_id, 0) >= _CONNECTIONS_MAX:
            connection.close()
            return
        self._count[instance_id] = self._count.get(instance_id, 0) + 1
        opened = self._open.setdefault(instance_id, set())
        made: Any = None
        asyncssh.set_log_level(logging.WARNING)  # Why: it would write command lines into our log
        try:
            made = await asyncssh.run_server(
                connection,
                server_factory=lambda: _server(self, instance_id),
                server_host_keys=[self.host_key(instance_id)],
                server_version="cloudchamber",
                password_auth=False, kbdint_auth=False, host_based_auth=False, gss_host=None, public_key_auth=True,
                agent_forwarding=False, x11_forwarding=False, allow_scp=False, allow_pty=True, line_editor=False,
                encoding=None, login_timeout=_LOGIN_S, keepalive_interval=60, authorized_client_keys=None,
            )  # fmt: skip
            opened.add(made)
            await made.wait_closed()
        except (OSError, asyncssh.Error) as error:
            _log.info("SSH to %s: %s", instance_id, error)
        finally:
            opened.discard(made)
            self._count[instance_id] -= 1
            if not self._count[instance_id]:
                self._open.pop(instance_id, None)
                del self._count[instance_id]
            if made is None:
                connection.close()

    async def run(self, instance_id: str, argv: list[str], fds: tuple[int, int, int], *, tty: bool = False,
                  env: dict[str, str] | None = None) -> int:  # fmt: skip
        """Run `login.py` inside; its exit code.

        Raises:
            OSError: the instance does not run, or runs too many.
        """
        sandbox = self._find(instance_id)
        if sandbox is None:
            raise ConnectionResetError(f"{instance_id} does not run")
        if self._running.get(instance_id, 0) >= _RUNS_MAX:
            raise BlockingIOError(f"{_RUNS_MAX} processes that were begun by SSH run in {instance_id}")
        self._running[instance_id] = self._running.get(instance_id, 0) + 1
        try:
            return await sandbox.run([*LOGIN, *argv], fds=fds, env=env or {}, tty=tty)
        finally:
            self._running[instance_id] -= 1
            if not self._running[instance_id]:
                del self._running[instance_id]

    async def keys(self, instance_id: str, user: str) -> list[str]:
        """Lines that say who may log in as a user: what the user's file says, and what was offered."""
        now = self._doors.clock.monotonic()
        offered = [one.key for one in self._offers.get(instance_id, []) if one.user == user and one.until > now]
        try:
            async with asyncio.timeout(_READ_S):
                data = await self._read(instance_id, ["keys", user])
        except (OSError, TimeoutError) as error:
            _log.info("SSH to %s: keys of %s: %s", instance_id, user, error)
            return []
        if data is None:
            return []
        return [*offered, *data.decode("utf-8", "replace").splitlines()]

    async def _read(self, instance_id: str, argv: list[str]) -> bytes | None:
        """What a program inside writes; None when it fails."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        running = asyncio.ensure_future(self.run(instance_id, argv, (null, theirs.fileno(), null)))
        with ours:
            try:
                data = await _until_end(ours, theirs, running)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                os.close(null)
                theirs.close()
        return data if running.result() == 0 else None


async def _until_end(ours: socket.socket, theirs: socket.socket, running: asyncio.Future[int]) -> bytes:
    """What was written to `theirs` until the program that has it ended."""
    running.add_done_callback(lambda _: _end(theirs))
    loop, found = asyncio.get_running_loop(), b""
    while len(found) <= _KEYS_MAX and (part := await loop.sock_recv(ours, 65536)):
        found += part
    await running
    return found


def _end(one: socket.socket) -> None:
    """Let the other side read that there is no more, and write no more; what was written can still be read."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _server(ssh: Ssh, instance_id: str) -> Any:
    """One connection, as asyncssh asks for it."""
    import asyncssh

    class Connection(asyncssh.SSHServer):
        """Asks the instance who may log in, and lets it run what was asked for."""

        _connection: Any = None
        _user = ""

        def connection_made(self, conn: Any) -> None:
            self._connection = conn

        async def begin_auth(self, username: str) -> bool:
            self._user = username
            valid: list[str] = []
            for line in await ssh.keys(instance_id, username):
                with contextlib.suppress(ValueError):
                    asyncssh.import_authorized_keys(line)
                    valid.append(line)
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys("\n".join(valid)) if valid else None)
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def session_requested(self) -> Any:
            return Session(ssh, instance_id, self._user)

        def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
            def forward(reader: Any, writer: Any) -> Any:
                return _forward(ssh, instance_id, dest_host, dest_port, reader, writer)

            return forward

    return Connection()


async def _forward(ssh: Ssh, instance_id: str, host: str, port: int, reader: Any, writer: Any) -> None:
    """Copy between a channel and a connection that a program inside makes."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    loop = asyncio.get_running_loop()

    async def forth() -> None:
        while data := await reader.read(65536):
            await loop.sock_sendall(ours, data)
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    async def back() -> None:
        while data := await loop.sock_recv(ours, 65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    running = asyncio.ensure_future(
        ssh.run(instance_id, ["connect", host, str(port)], (theirs.fileno(), theirs.fileno(), null))
    )
    running.add_done_callback(lambda _: _end(theirs))
    sending = asyncio.ensure_future(forth())
    try:
        await back()
        await running
    except (OSError, ConnectionError) as error:
        _log.info("SSH to %s: %s:%d: %s", instance_id, host, port, error)
    finally:
        sending.cancel()
        _end(ours)
        await asyncio.gather(sending, running, return_exceptions=True)
        ours.close()
        theirs.close()
        os.close(null)
        writer.close()

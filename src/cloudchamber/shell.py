# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber shell`: a terminal inside an instance.

The person's own process makes the pseudo-terminal and hands its far end through a socket in the state folder (0700) to
the chamber, which hands it on into the sandbox; the octets never pass through the chamber.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ChamberError
from cloudchamber.sandbox import messages

if TYPE_CHECKING:
    from pathlib import Path

    from cloudchamber.contract.call import Doors

SOCKET = "shell.sock"
_BACKLOG = 8


class ShellDoor:
    """The chamber's side."""

    def __init__(self, folder: Path, doors: Doors) -> None:
        self._folder = folder
        self._doors = doors
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Begin to accept."""
        path = self._folder / SOCKET
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            # Why: a unix socket's path has 108 octets at most; the state folder may lie deeper.
            listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")
        finally:
            os.close(directory)
        path.chmod(0o600)
        listener.listen(_BACKLOG)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Stop accepting; shells that are open end with their instance."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(5)
            got = await asyncio.to_thread(messages.receive, client)
            if got is None:
                return
            message, descriptors = got
            try:
                answer = await self._answer(message, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            # Why suppress: a client that was ended meanwhile has nobody who reads the answer.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(messages.send, client, answer)

    async def _answer(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        ec2 = self._doors.parts["ec2"]
        if "argv" in message:
            return await self._run(message, descriptors)
        if "function" in message:
            return await self._debug(message, descriptors)
        if ec2.sandbox(message["instance"]) is None:
            return {"error": f"instance {message['instance']} is not running"}
        if "key" in message:
            ec2.ssh.offer(message["instance"], message["user"], message["key"])
            return {"host": ec2.ssh.host_line(message["instance"])}
        if len(descriptors) != 1:
            return {"error": "no connection was handed over"}
        connection = socket.socket(fileno=os.dup(descriptors[0]))
        connection.setblocking(False)
        task = asyncio.get_running_loop().create_task(ec2.ssh.serve(connection, message["instance"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {}

    async def _debug(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Join a debugger's connection with a function."""
        if len(descriptors) != 1:
            return {"error": "no connection was handed over"}
        connection = socket.socket(fileno=os.dup(descriptors[0]))
        connection.setblocking(False)
        try:
            task = await self._doors.parts["lambda"].attach(message["function"], int(message["port"]), connection)
        except (LookupError, OSError) as error:
            connection.close()
            return {"error": f"no debugger can attach: {error}"}
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {}

    async def _run(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        sandbox = self._doors.parts["ec2"].sandbox(message["instance"])
        if sandbox is None:
            return {"error": f"instance {message['instance']} is not running"}
        if len(descriptors) != 1:
            return {"error": "no terminal was handed over"}
        terminal = descriptors[0]
        try:
            code = await sandbox.run(
                message["argv"], fds=(terminal, terminal, terminal), env=message["env"], tty=bool(message["tty"])
            )
        except OSError as error:
            return {"error": str(error)}
        return {"code": code}


def attach(state: Path, instance: str, argv: list[str]) -> int:
    """Run `argv` inside an instance on this terminal; returns its exit code.

    Raises:
        ChamberError: the instance is not running, or the chamber is not.
    """
    near, far = os.openpty()
    interactive = sys.stdin.isatty()
    if interactive:
        _copy_size(near)
        signal.signal(signal.SIGWINCH, lambda _number, _frame: _copy_size(near))
    with _connect(state) as chamber:
        env = {"TERM": "xterm-256color", "HOME": "/root", "LANG": "C.UTF-8"}
        messages.send(chamber, {"instance": instance, "argv": argv, "env": env, "tty": True}, [far])
        os.close(far)
        old = termios.tcgetattr(sys.stdin) if interactive else None
        try:
            if old is not None:
                tty.setraw(sys.stdin)
            _copy(near, chamber)
        finally:
            if old is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, old)
        got = messages.receive(chamber)
    answer = got[0] if got else {"error": "the chamber ended"}
    if "error" in answer:
        raise ChamberError(answer["error"], "'cloudchamber status' lists what runs")
    return int(answer["code"])


def ask(state: Path, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    """What the chamber answers to one message.

    Raises:
        ChamberError: the instance is not running, or the chamber is not.
    """
    with _connect(state) as chamber:
        messages.send(chamber, message, descriptors)
        got = messages.receive(chamber)
    answer = got[0] if got else {"error": "the chamber ended"}
    if "error" in answer:
        raise ChamberError(answer["error"], "'cloudchamber status' lists what runs")
    return answer


def _connect(state: Path) -> socket.socket:
    chamber = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(state, os.O_PATH | os.O_DIRECTORY)
    try:
        chamber.connect(f"/proc/self/fd/{directory}/{SOCKET}")
    except OSError as error:
        raise ChamberError(
            f"the chamber takes no shell: {error}", "'cloudchamber status' says whether it runs"
        ) from error
    finally:
        os.close(directory)
    return chamber


def _copy_size(terminal: int) -> None:
    size = fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


def _copy(near: int, chamber: socket.socket) -> None:
    """Copy both ways until the program has ended and its last output is shown."""
    sources = [near, sys.stdin.fileno(), chamber.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if near in ready:
            try:
                data = os.read(near, 65536)
            except OSError:  # EIO: the last one inside closed the terminal
                return
            os.write(sys.stdout.fileno(), data)
        elif chamber.fileno() in ready:
            return
        elif sys.stdin.fileno() in ready:
            data = os.read(sys.stdin.fileno(), 65536)
            if data:
                os.write(near, data)
            else:
                sources.remove(sys.stdin.fileno())
                os.write(near, b"\x04")

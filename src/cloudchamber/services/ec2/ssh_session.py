# SPDX-License-Identifier: Apache-2.0
"""One SSH session: a shell, a command or a file transfer, on a terminal or on pipes.

Octets are copied between the channel and the descriptors of a process inside, with the flow control of both. A session
that ends hangs up its terminal, or closes its pipes: what runs inside gets SIGHUP in either case (`guest/login.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import struct
import termios
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudchamber.services.ec2.ssh import Ssh

_log = logging.getLogger(__name__)
_PIECE = 65536
_LINGER_S = 2.0
"""How long what a process wrote last may take to be read after its end."""


class Session:
    """What asyncssh calls an `SSHServerSession` of octets."""

    def __init__(self, ssh: Ssh, instance_id: str, user: str) -> None:
        self._ssh = ssh
        self._instance_id = instance_id
        self._user = user
        self._argv: list[str] = []
        self._terminal = ""
        self._size = (80, 24, 0, 0)
        self._channel: Any = None
        self._task: asyncio.Task[None] | None = None
        self._input = -1
        self._outputs: dict[int, int | None] = {}
        """Descriptor to read -> type of the channel's data."""
        self._kept = bytearray()
        self._full = False
        self._ended = False
        self._paused = False
        self._drained = asyncio.Event()

    # What the client asks for

    def connection_made(self, chan: Any) -> None:
        """The channel is there."""
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any) -> bool:
        """A terminal."""
        self._terminal, self._size = term_type or "dumb", term_size
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """The window has another size."""
        self._size = (width, height, pixwidth, pixheight)
        if self._terminal and self._input >= 0:
            self._set_size(self._input)

    def shell_requested(self) -> bool:
        """A login shell."""
        self._argv = ["shell", self._user]
        return True

    def exec_requested(self, command: str) -> bool:
        """One command, by the user's shell."""
        self._argv = ["exec", self._user, command]
        return len(command) <= _PIECE

    def subsystem_requested(self, subsystem: str) -> bool:
        """File transfer; there are no others."""
        self._argv = ["sftp", self._user]
        return subsystem == "sftp"

    def break_received(self, msec: int) -> bool:
        """Breaks are not carried out."""
        return False

    def signal_received(self, signal: str) -> None:
        """Signals go through a terminal, as its characters."""

    def soft_eof_received(self) -> None:
        """Only with a line editor."""

    def session_started(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: the process hears of it by its terminal or pipes."""
        self._close()

    # The process

    async def _run(self) -> None:
        code = 255
        try:
            code = await (self._on_terminal() if self._terminal else self._on_pipes())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    while self._outputs:
                        await self._drained.wait()
                        self._drained.clear()
        except OSError as error:
            _log.info("SSH to %s: %s", self._instance_id, error)
        except Exception:  # noqa: BLE001 - the edge of a task nobody awaits
            _log.exception("SSH to %s", self._instance_id)
        self._close()
        if code < 0:
            with contextlib.suppress(ValueError):
                self._channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
                return
        self._channel.exit(code & 0xFF)

    async def _on_terminal(self) -> int:
        near, far = os.openpty()
        try:
            for descriptor in (near, far):
                os.set_inheritable(descriptor, False)
            self._set_size(near)
            self._watch(near, None)
            self._take_input(near)
            environment = {"TERM": self._terminal, "SSH_TTY": "/dev/tty"}
            return await self._start((far, far, far), environment, tty=True)
        finally:
            os.close(far)

    async def _on_pipes(self) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        out, out_end = os.pipe2(os.O_CLOEXEC)
        failures, failures_end = os.pipe2(os.O_CLOEXEC)
        try:
            self._watch(out, None)
            self._watch(failures, 1)
            self._take_input(write)
            return await self._start((read, out_end, failures_end), {}, tty=False)
        finally:
            for descriptor in (read, out_end, failures_end):
                os.close(descriptor)

    async def _start(self, fds: tuple[int, int, int], environment: dict[str, str], *, tty: bool) -> int:
        given = {"SSH_CONNECTION": "127.0.0.1 0 127.0.0.1 22", "SSH_CLIENT": "127.0.0.1 0 22", **environment}
        for name, value in self._channel.get_environment().items():
            if name in ("LANG", "LC_ALL", "LC_CTYPE", "COLORTERM") and len(value) < 200:
                given[name] = value
        return await self._ssh.run(self._instance_id, self._argv, fds, env=given, tty=tty)

    def _set_size(self, terminal: int) -> None:
        width, height, across, down = (max(0, min(one, 0xFFFF)) for one in self._size)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, across, down))

    # Out of the process

    def _watch(self, descriptor: int, kind: int | None) -> None:
        os.set_blocking(descriptor, False)
        self._outputs[descriptor] = kind
        if not self._paused:
            asyncio.get_running_loop().add_reader(descriptor, self._readable, descriptor)

    def _readable(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last one inside closed the terminal
            data = b""
        if data:
            self._channel.write(data, self._outputs[descriptor])
            return
        asyncio.get_running_loop().remove_reader(descriptor)
        del self._outputs[descriptor]
        if descriptor != self._input:
            os.close(descriptor)
        self._drained.set()

    def pause_writing(self) -> None:
        """The client does not take more for now."""
        self._paused = True
        for descriptor in self._outputs:
            asyncio.get_running_loop().remove_reader(descriptor)

    def resume_writing(self) -> None:
        """It takes more."""
        self._paused = False
        for descriptor in self._outputs:
            asyncio.get_running_loop().add_reader(descriptor, self._readable, descriptor)

    # Into the process

    def _take_input(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._input = descriptor
        self._send()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Octets for the process."""
        self._kept += data
        if self._input >= 0:
            self._send()

    def eof_received(self) -> bool:
        """There will be no more; the other half stays open."""
        self._ended = True
        if self._input >= 0:
            self._send()
        return True

    def _send(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._kept:
                del self._kept[: os.write(self._input, self._kept[:_PIECE])]
        except BlockingIOError:
            if not self._full:
                self._full = True
                loop.add_writer(self._input, self._send)
                self._channel.pause_reading()
            return
        except OSError:  # the process takes no more
            self._kept.clear()
        if self._full:
            self._full = False
            loop.remove_writer(self._input)
            # Why later: it hands over what was kept back at once, and so calls this function.
            loop.call_soon(self._taken)
        elif self._ended and not self._terminal:
            self._ended = False
            # INVARIANT: nothing watches a descriptor that is closed: the event loop would end the process.
            os.close(self._input)
            self._input = -1

    def _taken(self) -> None:
        """The process took what was kept: the client may go on."""
        self._channel.resume_reading()
        if self._input >= 0:
            self._send()

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        if self._input >= 0:
            loop.remove_writer(self._input)
        for descriptor in {self._input, *self._outputs} - {-1}:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        self._input = -1
        self._outputs.clear()
        self._drained.set()

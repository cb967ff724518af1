# SPDX-License-Identifier: Apache-2.0
"""PID 1 of a sandbox: starts the program, collects the dead, passes signals on, runs further programs for a shell.

It talks to its shim over one socket. It never execs: it is a copy of the spawner, which costs a few pages of memory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import termios
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from cloudchamber.sandbox import etc, linux, messages
from cloudchamber.sandbox.spec import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.sandbox.spec import SandboxSpec

_DEFAULT = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGXFSZ)


class Init:
    """The parent of everything inside."""

    def __init__(self, shim: socket.socket, spec: SandboxSpec, orders: socket.socket | None = None) -> None:
        self._shim = shim
        self._spec = spec
        self._orders = orders
        self._main = 0
        self._runs: dict[int, int] = {}
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()

    def serve(self, stdio: tuple[int, int, int]) -> NoReturn:
        """Start the program and stay until it ends."""
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            if self._orders is not None:
                self._main = self._start_waiting(stdio, self._orders)
            else:
                self._main = self._start(stdio, self._spec.program, self._spec.env, warm=self._spec.warm)
        except OSError as error:
            messages.send(self._shim, {"failed": f"{self._spec.program[0]}: {error.strerror}", "errno": error.errno})
            os._exit(127)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        for descriptor in {null, *stdio} - {0, 1, 2}:
            os.close(descriptor)
        messages.send(self._shim, {"running": True})
        chosen = selectors.DefaultSelector()
        chosen.register(self._shim, selectors.EVENT_READ)
        chosen.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in chosen.select():
                if key.fileobj is self._shim:
                    self._answer()
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 512)
            self._collect()

    def _start(
        self, stdio: Sequence[int], program: Sequence[str], env: Mapping[str, str], *, warm: bool = False,
        tty: bool = False,
    ) -> int:  # fmt: skip
        """A child that has begun its program; raises what `exec` says."""
        told, tell = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(told)
                _become(stdio, tell, tty=tty)
                if warm:
                    os.close(3)
                    _run_warm(program, env)
                os.set_inheritable(3, False)
                os.execvpe(program[0], list(program), dict(env))
            except OSError as error:
                os.write(3, str(error.errno or errno.EIO).encode())
            finally:
                os._exit(127)
        os.close(tell)
        with open(told, "rb") as answer:
            failed = answer.read()
        if failed:
            os.waitpid(child, 0)
            number = int(failed)
            raise OSError(number, os.strerror(number))
        return child

    def _start_waiting(self, stdio: Sequence[int], orders: socket.socket) -> int:
        """A child that has loaded its program, and hears from `orders` with which surroundings it is to run."""
        child = os.fork()
        if child == 0:
            try:
                _become(stdio, orders.fileno(), tty=False)
                orders.detach()
                _wait_then_run(self._spec.program[0])
            finally:
                os._exit(127)
        orders.close()
        return child

    def _answer(self) -> None:
        got = messages.receive(self._shim)
        if got is None:
            self._end()
        message, descriptors = got
        if "signal" in message:
            self._signal(int(message["signal"]))
            if "id" in message:
                messages.send(self._shim, {"ran": message["id"], "code": 0})
        elif "run" in message:
            try:
                # Why: what is named so is for the sandbox's own program, not for what a person runs beside it.
                own = {n: v for n, v in self._spec.env.items() if not n.startswith("CLOUDCHAMBER_")}
                env = {**own, **message["env"]}
                child = self._start(descriptors, message["run"], env, tty=bool(message["tty"]))
                self._runs[child] = message["id"]
            except OSError as error:
                code = 127 if error.errno == errno.ENOENT else 126
                messages.send(self._shim, {"ran": message["id"], "code": code, "why": error.strerror})
        for descriptor in descriptors:
            os.close(descriptor)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpid() == 1:  # else -1 would mean every process of this user
                os.kill(-1, number)

    def _collect(self) -> None:
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if child == self._main:
                messages.send(self._shim, {"exited": code})
                self._end()
            if child in self._runs:
                messages.send(self._shim, {"ran": self._runs.pop(child), "code": code})

    def _end(self) -> NoReturn:
        if os.getpid() != 1:
            for child in (self._main, *self._runs):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child, signal.SIGKILL)
        os._exit(0)  # the kernel kills the rest of the namespace; without one, the shim does


def _become(stdio: Sequence[int], tell: int, *, tty: bool) -> None:
    """A fresh session, descriptors 0 1 2 as given and 3 to tell a failure; nothing else is left open."""
    signal.set_wakeup_fd(-1)
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 64) for descriptor in (*stdio, tell)]
    for wanted, descriptor in enumerate(high):
        os.dup2(descriptor, wanted, inheritable=True)
    os.closerange(4, 4096)
    if tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _wait_then_run(module: str) -> NoReturn:
    """Load what will be needed, hear what this process is to be, and be that.

    What it hears lies in a file without a name, which nobody but the shim and the chamber has ever had.
    """
    importlib.import_module(module)
    importlib.import_module("random")
    with socket.socket(fileno=3) as orders:
        got = messages.receive(orders)
    if got is None or not got[1]:
        os._exit(0)  # nobody wanted it
    message, (written,) = got
    with open(written, "rb") as text:
        spec = from_json(json.load(text))
    places = {mount.target: mount.target for mount in spec.mounts}
    spec = placed(spec, with_defaults(spec.env), message["addresses"], places)
    os.chdir(spec.workdir)
    _run_warm(spec.program, spec.env)


def _run_warm(program: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Call `main()` of a module in this very process."""
    import random  # noqa: TID251 - only to seed it anew: a fork shares its parent's state

    code = 1
    try:
        os.environ.clear()  # noqa: TID251 - this process becomes somebody else's program
        os.environ.update(env)  # noqa: TID251 - as above
        random.seed()
        if sys.platform == "linux":
            linux.prctl(linux.PR_SET_DUMPABLE, 1)
        sys.argv = list(program)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, open(descriptor, "w", buffering=1, closefd=False))  # noqa: SIM115 - for good
        importlib.import_module(program[0]).main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # noqa: BLE001 - the edge of a process: it ends with the trace on its console
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def with_defaults(env: Any) -> dict[str, str]:
    """PATH with this interpreter in front, HOME and LANG where the spec says nothing."""
    path = etc.path_variable(sys.prefix)
    given = env.get("PATH")
    if given:
        path = given if f"{sys.prefix}/bin" in given.split(":") else f"{sys.prefix}/bin:{given}"
    return {"HOME": "/root", "LANG": "C.UTF-8", **env, "PATH": path}


def placed(
    spec: SandboxSpec, env: Mapping[str, str], addresses: Mapping[str, Sequence[Any]], places: Mapping[str, str]
) -> SandboxSpec:
    """The spec with `env`, and with `${listener:NAME}` and `${mount:TARGET}` replaced in it and in the program.

    A listener becomes `address:port`, a mount the path at which the program sees it.
    """
    known = {f"${{listener:{name}}}": f"{address}:{port}" for name, (address, port) in addresses.items()}
    known |= {f"${{mount:{target}}}": place for target, place in places.items()}

    def filled(text: str) -> str:
        for mark, value in known.items():
            text = text.replace(mark, value)
        return text

    changed = {name: filled(value) for name, value in env.items()}
    return replace(spec, env=changed, program=tuple(filled(word) for word in spec.program))

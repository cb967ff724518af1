# SPDX-License-Identifier: Apache-2.0
"""The process that keeps one sandbox: its sockets, its console, its end. Forked from the spawner, single-threaded.

It outlives the chamber when the sandbox is detached: connections then wait in the backlogs of the listening sockets,
which the next chamber gets again. How the sandbox ended is written to `shim.json` in its folder.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import selectors
import signal
import socket
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base import ids
from cloudchamber.base.clock import SystemClock, iso
from cloudchamber.sandbox import messages, nft
from cloudchamber.sandbox.console_log import ConsoleLog
from cloudchamber.sandbox.memory import peak_kb
from cloudchamber.sandbox.spec import Exit, Listener, Rule, SandboxSpec, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudchamber.sandbox.cgroups import Group

CONTROL, STATE, SPEC = "ctl.sock", "shim.json", "spec.json"
_MOST_STRANGERS = 16
_ALONE_S = 5.0
_LOOK_S = 0.1
_CLEAN_TRIES, _CLEAN_PAUSE_S = 200, 0.005
_KILL_TRIES, _KILL_PAUSE_S = 50, 0.004


class Walls(Protocol):
    """What keeps the sandbox in: namespaces, Landlock, or nothing."""

    addresses: dict[str, tuple[str, int]]

    def prepare(self) -> None: ...
    def start(self, stdio: tuple[int, int, int]) -> tuple[int, socket.socket]: ...
    def begin(self, to: socket.socket) -> None: ...
    def listen(self, listener: Listener) -> socket.socket: ...
    def connecting(self, port: int, source: str = "") -> socket.socket: ...
    def datagrams(self, source: tuple[str, int], port: int) -> socket.socket: ...
    def set_rules(self, rules: Sequence[Rule]) -> None: ...
    def signal(self, to: socket.socket, number: int, told_as: int = 0) -> bool:
        """Whether all have it already; otherwise PID 1 says so as it says of the run `told_as`."""
        ...

    def clean(self) -> None: ...


class Shim:
    """One sandbox from launch to end."""

    def __init__(self, spec: SandboxSpec, chamber: socket.socket, walls: Walls, group: Group) -> None:
        self._spec = spec
        self._walls = walls
        self._group = group
        self._clock = SystemClock()
        self._chambers: dict[int, socket.socket] = {chamber.fileno(): chamber}
        self._owner = chamber
        self._strangers: dict[int, socket.socket] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._rules = spec.rules
        self._chosen = selectors.DefaultSelector()
        self._door: socket.socket | None = None
        self._output = -1
        self._log: ConsoleLog | None = None
        self._pid = 0
        self._init: socket.socket | None = None
        self._code: int | None = None
        self._kill_at: float | None = None
        self._runs: dict[int, tuple[socket.socket, int]] = {}
        self._next_run = 0
        self._killed = 0
        self._frozen = self._over_limit = False
        self._state: dict[str, Any] = {"state": "starting", "shim": os.getpid(), "token": ids.token()}

    def run(self) -> None:
        """Launch, tell the chamber, stay until the end."""
        folder = self._spec.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._spec.detached:
                self._open_door()
            handed = self._launch()
        except Exception as error:  # noqa: BLE001 - the edge of a process: whatever it is, the chamber must hear it
            self._not_launched(error)
            return
        self._write_state("running", started=iso(self._clock.now()), addresses=self._walls.addresses)
        self._introduce(handed)
        self._serve()
        self._finish()

    def wait(self, orders: socket.socket, become: Callable[[SandboxSpec], None]) -> None:
        """Make all that can be made of a sandbox before anybody says whose it is to be; then be told, once, and be it.

        Why: all of that takes many times as long as what is left. `orders` leads to the program, which waits too;
        `become` puts a function's files into the walls.
        """
        try:
            self._introduce(self._launch())
        except Exception as error:  # noqa: BLE001 - as in `run`
            self._not_launched(error)
            return
        told = messages.receive(self._owner)
        if told is None or told[0].get("op") != "become":
            self._unmake()
            return
        message, descriptors = told
        try:
            self._become(orders, become, descriptors)
        except Exception as error:  # noqa: BLE001 - as in `run`: nothing has been started, another way can be tried
            self._not_launched(error, message["id"])
            return
        self._tell(self._owner, {"id": message["id"]})
        only_log_to(self._spec.folder / "shim.log")
        self._write_state("running", started=iso(self._clock.now()), addresses=self._walls.addresses)
        self._serve()
        self._finish()

    def _become(self, orders: socket.socket, become: Callable[[SandboxSpec], None], descriptors: list[int]) -> None:
        """Limits, files, then the order to the program that waits: it reads what is secret itself."""
        with os.fdopen(os.dup(descriptors[0]), "rb") as text:
            spec = from_json(json.load(text))
        spec.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._group.make(spec.limits)
        become(spec)
        os.lseek(descriptors[0], 0, os.SEEK_SET)
        addresses = {name: list(address) for name, address in self._walls.addresses.items()}
        messages.send(orders, {"addresses": addresses}, descriptors[:1])
        orders.close()
        for descriptor in descriptors:
            os.close(descriptor)
        self._spec = spec

    def _introduce(self, handed: list[int]) -> None:
        self._tell(self._owner, {"id": 0, **self._description()}, [*self._descriptors(), *handed])
        for descriptor in handed:
            os.close(descriptor)

    def _launch(self) -> list[int]:
        """Make it and let it run. Returns descriptors that only the chamber is to have."""
        spec = self._spec
        self._group.make(spec.limits)
        read, write = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        handed = [read] if spec.console == "pipe" else []
        self._walls.prepare()
        self._pid, self._init = self._walls.start((null, write, write))
        os.close(write)
        os.close(null)
        try:
            for listener in spec.listeners:
                self._listeners[listener.name] = self._walls.listen(listener)
            self._walls.begin(self._init)
        except BaseException:
            self._drain(read, ConsoleLog(spec.folder))
            raise
        if not handed:
            self._output, self._log = read, ConsoleLog(spec.folder)
            os.set_blocking(read, False)
        return handed

    def _unmake(self) -> None:
        if self._pid:
            self._reap()
        self._destroy()

    def _not_launched(self, error: Exception, request: int = 0) -> None:
        traceback.print_exc()
        self._unmake()
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        why = f"{type(error).__name__}: {error}"
        self._write_state("exited", code=127, out_of_memory=False, detail=why, ended=iso(self._clock.now()))
        self._shut_door()
        self._tell(self._owner, {"id": request, "errno": number, "error": why})

    def _open_door(self) -> None:
        """Listen on `ctl.sock`, named through a descriptor because such names are limited to 107 octets."""
        folder = self._spec.folder
        spec = folder / SPEC
        descriptor = os.open(spec, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as out:
            json.dump(to_json(self._spec), out)
        with contextlib.suppress(FileNotFoundError):
            (folder / CONTROL).unlink()
        self._door = open_door(folder)

    # --- the loop ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        chosen, init = self._chosen, self._init
        assert init is not None
        chosen.register(init, selectors.EVENT_READ, self._hear_init)
        chosen.register(self._owner, selectors.EVENT_READ, self._hear_chamber)
        if self._output >= 0:
            chosen.register(self._output, selectors.EVENT_READ, self._hear_program)
        heard = self._group.watch() if self._log else -1
        if heard >= 0:
            chosen.register(heard, selectors.EVENT_READ, self._hear_memory)
        if self._door:
            chosen.register(self._door, selectors.EVENT_READ, self._let_in)
        while self._pid:
            ready = chosen.select(self._patience())
            if self._kill_at is not None and self._clock.monotonic() >= self._kill_at:
                self._kill()
            if self._looks_at_memory and self._group.uses_more_than(self._spec.limits.memory_bytes):
                self._over_limit = True
                self._kill()
            if not self._chambers and not (self._spec.folder / CONTROL).exists():
                self._kill()  # its folder was deleted: no chamber will ever find it again
            for key, _ in ready:
                key.data(key.fileobj)

    def _patience(self) -> float | None:
        """How long to wait for news: until the kill, or a while when there is no chamber."""
        if self._kill_at is not None:
            return max(0.0, self._kill_at - self._clock.monotonic())
        if self._looks_at_memory:
            return _LOOK_S
        return None if self._chambers else _ALONE_S

    @property
    def _looks_at_memory(self) -> bool:
        """Whether the kernel's limit has room for /tmp as well, so that somebody must look at the rest."""
        limits = self._spec.limits
        return limits.tmp_apart and limits.memory_bytes > 0 and not self._frozen and not self._over_limit

    def _hear_init(self, source: socket.socket) -> None:
        got = messages.receive(source)
        if got is None:
            self._reap()
            return
        message, descriptors = got
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(message.get("exited"), int):
            self._code = message["exited"]
        elif isinstance(message.get("ran"), int) and message["ran"] in self._runs:
            chamber, request = self._runs.pop(message["ran"])
            self._tell(chamber, {"id": request, "code": int(message.get("code", 1))})

    def _reap(self) -> None:
        """PID 1 is gone, or no longer talks to us, which is the same."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._group.freeze(False)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(status) or 0

    def _hear_program(self, _source: int) -> None:
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return
        if not data:
            self._chosen.unregister(self._output)
            return
        if self._log:
            self._log.write(data)

    def _hear_memory(self, source: int) -> None:
        """Memory ran out: say on the console, and to the chamber, what that has killed."""
        with contextlib.suppress(BlockingIOError):
            os.read(source, 4096)
        names: set[str] = set()
        for _ in range(_KILL_TRIES):
            names |= {_name_of(pid) for pid in self._group.processes() if _is_dying(pid)}
            killed = self._group.out_of_memory() - self._killed
            if killed > 0 and names:
                break
            time.sleep(_KILL_PAUSE_S)
        else:
            killed = self._group.out_of_memory() - self._killed
        if killed <= 0:
            return
        self._killed += killed
        who = ", ".join(sorted(names)) or "no longer to be told which"
        limit = self._spec.limits.memory_bytes >> 20
        many = "1 process" if killed == 1 else f"{killed} processes"
        text = f"out of memory: the limit of {limit} MiB killed {many} ({who})"
        if self._log:
            self._log.write(f"[cloudchamber] {text}\n".encode())
        for chamber in list(self._chambers.values()):
            self._tell(chamber, {"event": "killed", "count": killed, "text": text})

    def _let_in(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stranger, _ = door.accept()
            self._strangers[stranger.fileno()] = stranger
            self._chosen.register(stranger, selectors.EVENT_READ, self._greet)
            while len(self._strangers) > _MOST_STRANGERS:
                self._forget(next(iter(self._strangers.values())))

    def _forget(self, stranger: socket.socket) -> None:
        del self._strangers[stranger.fileno()]
        self._chosen.unregister(stranger)
        stranger.close()

    def _greet(self, stranger: socket.socket) -> None:
        """Who knows the token of `shim.json` is a chamber; without Landlock's help a path is open to all."""
        first = messages.receive(stranger)
        token = str(first[0].get("token", "")) if first else ""
        if not hmac.compare_digest(token.encode(), self._state["token"].encode()):
            self._forget(stranger)
            return
        del self._strangers[stranger.fileno()]
        self._chosen.modify(stranger, selectors.EVENT_READ, self._hear_chamber)
        self._chambers[stranger.fileno()] = stranger
        self._tell(stranger, {"id": 0, **self._description()}, self._descriptors())

    def _hear_chamber(self, chamber: socket.socket) -> None:
        got = messages.receive(chamber)
        if got is None:
            self._chosen.unregister(chamber)
            self._chambers.pop(chamber.fileno(), None)
            chamber.close()
            if chamber is self._owner and not self._spec.detached:
                self._kill()
            return
        message, descriptors = got
        try:
            self._do(chamber, message, descriptors)
        except Exception as error:  # noqa: BLE001 - one bad request must not end an instance; the answer says it
            number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
            self._tell(chamber, {"id": message.get("id"), "errno": number, "error": f"{type(error).__name__}: {error}"})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _do(self, chamber: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
        request, operation = message.get("id"), message.get("op")
        answer: dict[str, Any] = {"id": request}
        if operation == "connect":
            with self._connecting(int(message["port"]), str(message.get("source", ""))) as made:
                self._tell(chamber, answer, [made.fileno()])
            return
        if operation == "datagrams":
            source = (str(message["source"][0]), int(message["source"][1]))
            with self._walls.datagrams(source, int(message["port"])) as made:
                self._tell(chamber, answer, [made.fileno()])
            return
        if operation == "listen":
            listener = Listener(**message["listener"])
            made = self._listeners[listener.name] = self._walls.listen(listener)
            self._tell(chamber, answer | {"address": self._walls.addresses[listener.name]}, [made.fileno()])
            return
        if operation == "run":
            self._run(chamber, message, descriptors)
            return
        if operation == "rules":
            rules = [Rule(**rule) for rule in message["rules"]]
            self._walls.set_rules(rules)
            self._rules = tuple(rules)
        elif operation == "signal":
            self._signal(int(message["number"]))
        elif operation == "memory":
            answer["peak_kb"] = peak_kb(self._pid) if self._pid else 0
        elif operation == "freeze":
            self._next_run += 1
            if not self._freeze(True, self._next_run):  # Why: what is told as frozen writes nothing any more
                self._runs[self._next_run] = (chamber, message["id"])
                return
        elif operation == "thaw":
            self._freeze(False)
        elif operation == "stop":
            self._stop(float(message["grace_s"]))
        elif operation == "kill":
            self._kill()
        else:
            raise ValueError(f"no such operation: {operation}")
        self._tell(chamber, answer)

    def _connecting(self, port: int, source: str) -> socket.socket:
        if not nft.lets_in(self._rules, port):
            raise TimeoutError(errno.ETIMEDOUT, f"no inbound rule for port {port}")
        return self._walls.connecting(port, source)

    def _run(self, chamber: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
        self._next_run += 1
        self._runs[self._next_run] = (chamber, message["id"])
        wanted = {"run": message["argv"], "env": message["env"], "tty": message["tty"], "id": self._next_run}
        self._to_init(wanted, descriptors)

    def _to_init(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        assert self._init is not None
        messages.send(self._init, message, descriptors)

    def _signal(self, number: int, told_as: int = 0) -> bool:
        """Whether all have it already; otherwise PID 1 says so as it says of the run `told_as`."""
        assert self._init is not None
        with contextlib.suppress(BrokenPipeError):
            return self._walls.signal(self._init, number, told_as)
        return True

    def _freeze(self, frozen: bool, told_as: int = 0) -> bool:
        self._frozen = frozen
        return self._group.freeze(frozen) or self._signal(signal.SIGSTOP if frozen else signal.SIGCONT, told_as)

    def _stop(self, grace_s: float) -> None:
        self._freeze(False)
        self._signal(signal.SIGTERM)
        self._kill_at = self._clock.monotonic() + grace_s

    def _kill(self) -> None:
        self._kill_at = None
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._group.freeze(False)

    # --- the end -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._output >= 0 and self._log:
            self._drain(self._output, self._log)
        killed = self._group.out_of_memory()
        code = self._code if self._code is not None else -signal.SIGKILL
        ended = code in {-signal.SIGKILL, 128 + signal.SIGKILL}
        out_of_memory = self._over_limit or (killed > 0 and ended)
        detail = f"the memory limit killed {killed} of its processes" if killed else ""
        self._destroy()
        over = Exit(code, out_of_memory, detail)
        self._write_state("exited", **asdict(over), ended=iso(self._clock.now()))
        self._shut_door()
        for chamber in list(self._chambers.values()):
            self._tell(chamber, {"event": "exited", **asdict(over)})

    @staticmethod
    def _drain(descriptor: int, log: ConsoleLog) -> None:
        os.set_blocking(descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(descriptor, 65536):
                log.write(data)

    def _destroy(self) -> None:
        """Leave nothing: no process, group, socket, folder."""
        for listener in self._listeners.values():
            listener.close()
        for _ in range(_CLEAN_TRIES):
            self._group.kill()
            if self._group.remove():
                break
            time.sleep(_CLEAN_PAUSE_S)
        self._walls.clean()

    def _shut_door(self) -> None:
        """After the state is written: a chamber that finds the door shut reads how it ended."""
        if self._door:
            self._door.close()
            with contextlib.suppress(OSError):
                (self._spec.folder / CONTROL).unlink()

    def _description(self) -> dict[str, Any]:
        return {"names": list(self._listeners), "addresses": self._walls.addresses, "token": self._state["token"]}

    def _descriptors(self) -> list[int]:
        return [listener.fileno() for listener in self._listeners.values()]

    def _tell(self, chamber: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(OSError):
            messages.send(chamber, message, descriptors)

    def _write_state(self, state: str, **values: Any) -> None:
        self._state |= {"state": state, **values}
        target = self._spec.folder / STATE
        fresh = target.with_suffix(".new")
        with contextlib.suppress(OSError):
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as out:
                json.dump(self._state, out)
            os.replace(fresh, target)


def _is_dying(pid: int) -> bool:
    """Whether a process has been killed and is not yet gone."""
    with (
        contextlib.suppress(OSError, ValueError),
        open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file,
    ):
        lines = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        pending = int(lines.get("SigPnd", "0"), 16) | int(lines.get("ShdPnd", "0"), 16)
        return lines.get("State", "")[:1] in "ZX" or "VmSize" not in lines or bool(pending & 1 << signal.SIGKILL - 1)
    return False


def _name_of(pid: int) -> str:
    """What a process calls itself: at most 15 characters, which it chose."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return "".join(one for one in file.read().strip() if one.isprintable())
    return "?"


def only_log_to(path: Path) -> None:
    """stdout and stderr of this process go to a file that starts anew; stdin is empty."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)


def short_path(folder: int, name: str) -> str:
    """A socket's name by way of its folder's descriptor."""
    return f"/proc/self/fd/{folder}/{name}"


def open_door(folder: Path) -> socket.socket:
    """Listen on `ctl.sock` of this folder, for this user only."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        door.bind(short_path(descriptor, CONTROL))
        os.chmod(CONTROL, 0o600, dir_fd=descriptor)
        door.listen(8)
    except OSError:
        door.close()
        raise
    finally:
        os.close(descriptor)
    return door

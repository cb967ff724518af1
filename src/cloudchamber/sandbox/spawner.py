# SPDX-License-Identifier: Apache-2.0
"""The chamber's side: starts the spawner, launches sandboxes, finds detached ones again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cloudchamber.sandbox import messages
from cloudchamber.sandbox.console_log import tail
from cloudchamber.sandbox.link import Link
from cloudchamber.sandbox.modes import not_blocked
from cloudchamber.sandbox.shim import CONTROL, SPEC, STATE, short_path
from cloudchamber.sandbox.spec import Exit, Limits, SandboxSpec, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchamber.sandbox.cgroups import LimitsBy
    from cloudchamber.sandbox.sandboxes import Sandbox, Sandboxes
    from cloudchamber.sandbox.spec import Listener, Mode, Rule

_BOOT = "import sys; sys.path += sys.argv.pop().split(':'); from cloudchamber.sandbox.spawner_main import main; main()"
_PACKAGE = str(Path(__file__).resolve().parent.parent.parent)
_LAUNCH_S = 30.0
_END_S = 10.0
SPARES = 2
"""How many sandboxes wait, ready but for whose they are to be, to become the next warm ones."""
_FILL_AFTER_S = 0.1


class SandboxError(OSError):
    """A sandbox could not be started; the text says why. Its `shim.log` and `console.log` may say more."""


class LocalSandbox:
    """One sandbox on this machine, through the socket to its shim."""

    def __init__(self, spec: SandboxSpec, link: Link, hello: dict[str, Any], descriptors: list[int]) -> None:
        self._spec = spec
        self._link = link
        self._listeners: dict[str, socket.socket] = {}
        for name in hello["names"]:
            self._keep(name, descriptors.pop(0))
        self._addresses = {name: (str(at[0]), int(at[1])) for name, at in hello["addresses"].items()}
        self._output = descriptors.pop(0) if descriptors else -1
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._exit: Exit | None = None
        self._left = False
        self._hear_kills: list[Callable[[int, str], None]] = []
        link.on_event(self._hear)

    def _keep(self, name: str, descriptor: int) -> socket.socket:
        made = self._listeners[name] = socket.socket(fileno=descriptor)
        made.setblocking(False)
        return made

    def _hear(self, message: dict[str, Any] | None) -> None:
        """An event of the shim; None when it is gone, which comes last."""
        if message is not None and message.get("event") == "exited":
            self._exit = Exit(message["code"], message["out_of_memory"], message["detail"])
        elif message is not None and message.get("event") == "killed":
            for hear in self._hear_kills:
                hear(int(message["count"]), str(message["text"]))
        elif message is None and not self._ended.done():
            for listener in self._listeners.values():
                listener.close()
            if not self._left:  # else it lives on, and nobody here will hear of its end
                self._ended.set_result(self._exit or Exit(-signal.SIGKILL, detail="its shim was killed"))

    @property
    def id(self) -> str:
        return self._spec.id

    @property
    def spec(self) -> SandboxSpec:
        return self._spec

    @property
    def listeners(self) -> Mapping[str, socket.socket]:
        return self._listeners

    @property
    def output(self) -> int:
        """Read end of stdout and stderr when `spec.console` is `pipe` (yours to close), else -1."""
        return self._output

    def on_kill(self, hear: Callable[[int, str], None]) -> None:
        """Call `hear` with how many processes the memory limit killed, and a line that says it."""
        self._hear_kills.append(hear)

    def address(self, name: str) -> tuple[str, int]:
        """Address and port at which the program inside reaches a listener."""
        return self._addresses[name]

    async def listen(self, listener: Listener) -> socket.socket:
        """Open one more listener inside."""
        answer, descriptors = await self._link.ask({"op": "listen", "listener": asdict(listener)})
        self._addresses[listener.name] = (answer["address"][0], answer["address"][1])
        return self._keep(listener.name, descriptors[0])

    async def connect(self, port: int, timeout_s: float = 5.0, source: str = "") -> socket.socket:
        """A non-blocking TCP socket connected to `port` of the program inside."""
        async with asyncio.timeout(timeout_s):
            _, descriptors = await self._link.ask({"op": "connect", "port": port, "source": source})
            made = socket.socket(fileno=descriptors[0])
            made.setblocking(False)
            try:
                await _connected(made)
            except BaseException:
                made.close()
                raise
            return made

    async def datagrams(self, source: tuple[str, int], port: int) -> socket.socket:
        """A non-blocking UDP socket connected to `port` of the program inside, which sees `source` as its peer."""
        _, descriptors = await self._link.ask({"op": "datagrams", "source": list(source), "port": port})
        made = socket.socket(fileno=descriptors[0])
        made.setblocking(False)
        return made

    async def set_rules(self, rules: Sequence[Rule]) -> None:
        """Filter its traffic from now on."""
        await self._link.ask({"op": "rules", "rules": [asdict(rule) for rule in rules]})

    async def signal(self, number: int) -> None:
        """Signal every process inside."""
        await self._link.ask({"op": "signal", "number": int(number)})

    async def stop(self, grace_s: float = 5.0) -> Exit:
        """SIGTERM to all, SIGKILL after the grace; returns when nothing of it is left."""
        return await self._end({"op": "stop", "grace_s": grace_s}, grace_s)

    async def kill(self) -> Exit:
        """End it at once."""
        return await self._end({"op": "kill"}, 0.0)

    async def _end(self, request: dict[str, Any], grace_s: float) -> Exit:
        with contextlib.suppress(ConnectionError):
            await self._link.ask(request)
        async with asyncio.timeout(grace_s + _END_S):
            return await self.exited()

    async def freeze(self) -> None:
        """Stop every process inside from running."""
        await self._link.ask({"op": "freeze"})

    async def thaw(self) -> None:
        """Let them go on."""
        await self._link.ask({"op": "thaw"})

    async def peak_kb(self) -> int:
        """The most memory that each of its processes has had, added up; 0 where the system does not tell."""
        answer, _ = await self._link.ask({"op": "memory"})
        return int(answer["peak_kb"])

    async def exited(self) -> Exit:
        """Wait for the program to end by itself."""
        return await asyncio.shield(self._ended)

    def console(self, limit: int = 65536) -> bytes:
        """The last octets that it wrote to stdout and stderr."""
        return tail(self._spec.folder, limit)

    async def run(
        self, argv: Sequence[str], *, fds: tuple[int, int, int], env: Mapping[str, str], tty: bool = False
    ) -> int:
        """Run one more program inside with these descriptors as 0, 1, 2; returns its exit code."""
        request = {"op": "run", "argv": list(argv), "env": dict(env), "tty": tty}
        answer, _ = await self._link.ask(request, fds)
        return int(answer["code"])

    def let_go(self) -> None:
        """Close this side only; a detached sandbox lives on."""
        self._left = True
        self._link.close()


class LocalSandboxes:
    """Every sandbox of a chamber on this machine."""

    def __init__(self, folder: Path, mode: Mode | None, interpreter: str = "") -> None:
        self._folder = folder.absolute()
        self._wanted = mode
        self._interpreter = interpreter
        self._others: dict[str, LocalSandboxes] = {}
        self._spares: deque[Link] = deque()
        self._kind: SandboxSpec | None = None
        self._unable = False
        self._filling: asyncio.Task[None] | None = None
        self._spawner: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._hello: dict[str, Any] = {}
        self._starting = asyncio.Lock()
        self._running: dict[str, LocalSandbox] = {}

    @property
    def mode(self) -> Mode:
        return self._hello["mode"]

    @property
    def limits_by(self) -> LimitsBy:
        return self._hello["limits_by"]

    @property
    def refused(self) -> Mapping[str, str]:
        """Why better modes are not in force: mode -> reason."""
        return self._hello["refused"]

    @property
    def not_blocked(self) -> Sequence[str]:
        return not_blocked(self.mode, self.limits_by, landlock=self._hello["landlock"], nft=self._hello["nft"])

    async def start(self) -> None:
        """Start the spawner; returns when it has found its mode.

        Raises:
            SandboxError: the wanted mode does not work here.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours, theirs = messages.pair()
        argv = [self._interpreter or sys.executable, "-I", "-c", _BOOT]
        argv += [str(theirs.fileno()), str(self._folder), self._wanted or "", self._paths()]
        self._spawner = subprocess.Popen(  # noqa: ASYNC220 - our own interpreter; returns after the exec
            argv,
            env={},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._link = Link(ours)
        try:
            async with asyncio.timeout(_LAUNCH_S):
                self._hello, _ = await self._link.first()
        except ConnectionError:
            raise SandboxError(f"the spawner did not start: {self._last_words()}") from None

    def _paths(self) -> str:
        """Where the spawner finds our code; another Python also gets our packages, those that are no compiled ones."""
        packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        return os.pathsep.join([_PACKAGE, *(packages if self._interpreter else ())])

    async def _of(self, interpreter: str) -> LocalSandboxes:
        """The sandboxes that are forked from another Python: a spawner of its own, started when first needed."""
        async with self._starting:
            if interpreter not in self._others:
                name = f"python-{hashlib.sha256(interpreter.encode()).hexdigest()[:8]}"
                made = LocalSandboxes(self._folder / name, self.mode, interpreter)
                await made.start()
                self._others[interpreter] = made
        return self._others[interpreter]

    def _last_words(self) -> str:
        log = (self._folder / "spawner.log").read_text(errors="replace").strip().splitlines()
        return log[-1] if log else "no reason given"

    async def _spawner_runs(self) -> None:
        """Start it again if it was killed: it begins by exec with an empty environment, so it inherits no secret."""
        async with self._starting:
            if self._link is None or self._link.closed:
                if self._spawner:
                    await asyncio.to_thread(self._spawner.wait)
                await self.start()

    async def warm(self, kind: SandboxSpec | None = None) -> None:
        """Load the warm Python now rather than with the first warm sandbox (about half a second, elsewhere).

        With `kind`, what all warm sandboxes will have in common, also have some ready.
        """
        await self._spawner_runs()
        assert self._link is not None
        await self._link.tell({"op": "warm"})
        if kind is not None:
            self._have_spares(_kind(kind))

    async def launch(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox; returns once its program runs and its listeners listen.

        Raises:
            SandboxError: it could not be made.
            ValueError: the spec contradicts itself.
        """
        if spec.detached and spec.console == "pipe":
            raise ValueError("a detached sandbox keeps its console in a file")
        if spec.interpreter != self._interpreter:
            return await (await self._of(spec.interpreter)).launch(spec)
        if (link := self._spare(spec)) is not None:
            with contextlib.suppress(OSError):  # then it is made from nothing, which says what is wrong
                return await self._become(spec, link)
        await self._spawner_runs()
        assert self._link is not None
        ours, theirs = messages.pair()
        with _unnamed_file(json.dumps(to_json(spec)).encode()) as written:
            try:
                await self._link.tell({"op": "launch", "warm": spec.warm}, (theirs.fileno(), written.fileno()))
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
        try:
            return await self._answered(spec, Link(ours))
        except ConnectionError:
            raise SandboxError(f"{spec.id}: its shim ended without a word") from None

    async def _answered(self, spec: SandboxSpec, link: Link) -> Sandbox:
        """The sandbox, once its shim says that it runs."""
        try:
            async with asyncio.timeout(_LAUNCH_S):
                hello, descriptors = await link.first()
        except BaseException:
            link.close()
            raise
        return self._started(spec, link, hello, descriptors)

    async def _become(self, spec: SandboxSpec, link: Link) -> Sandbox:
        """Say to a spare what it is to be."""
        descriptors: list[int] = []
        try:
            async with asyncio.timeout(_LAUNCH_S):
                hello, descriptors = await link.first()
                if "error" in hello:
                    self._unable = True  # who cannot make one will not make the next
                    raise SandboxError(hello["errno"], hello["error"])
                with _unnamed_file(json.dumps(to_json(spec)).encode()) as written:
                    await link.ask({"op": "become"}, (written.fileno(),))
        except BaseException:
            link.close()
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return self._started(spec, link, hello, descriptors)

    def _spare(self, spec: SandboxSpec) -> Link | None:
        """What waits to become a sandbox of this kind, if something does; another one is made behind it."""
        own = spec.private_ip or spec.volume or spec.disks or spec.detached or spec.console != "pipe"
        if not spec.warm or own or any(str(m.source) == m.target or not m.source.is_dir() for m in spec.mounts):
            return None
        self._have_spares(_kind(spec))
        while self._spares:
            if not (link := self._spares.popleft()).closed:
                return link
        return None

    def _have_spares(self, kind: SandboxSpec) -> None:
        """Have spares of this kind in a moment, and none of another."""
        if self.mode != "ns-root" or self._unable:
            return
        if kind != self._kind:
            self._kind = kind
            while self._spares:
                self._spares.popleft().close()
        if self._filling is None or self._filling.done():
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        """Have spares again, a moment later: who was just launched has the processors first."""
        await asyncio.sleep(_FILL_AFTER_S)
        with contextlib.suppress(ConnectionError):
            while len(self._spares) < SPARES and self._kind and self._link is not None and not self._link.closed:
                ours, theirs = messages.pair()
                with _unnamed_file(json.dumps(to_json(self._kind)).encode()) as written:
                    await self._link.tell({"op": "spare"}, (theirs.fileno(), written.fileno()))
                theirs.close()
                self._spares.append(Link(ours))

    def _started(self, spec: SandboxSpec, link: Link, hello: dict[str, Any], descriptors: list[int]) -> LocalSandbox:
        if "error" in hello:
            link.close()
            raise SandboxError(hello["errno"], f"{spec.id}: {hello['error']}")
        made = self._running[str(spec.folder)] = LocalSandbox(spec, link, hello, descriptors)
        link.on_end(lambda: self._running.pop(str(spec.folder), None))
        return made

    async def attach(self, folder: Path) -> Sandbox | None:
        """Find a detached sandbox again after a restart; None when it is gone (`ended` then says how)."""
        try:
            state = json.loads((folder / STATE).read_bytes())
            spec = from_json(json.loads((folder / SPEC).read_bytes()))
            link = Link(_knock(folder))
        except (FileNotFoundError, ConnectionError, ValueError):
            return None
        try:
            async with asyncio.timeout(_END_S):
                await link.tell({"token": state["token"]})
                hello, descriptors = await link.first()
        except (ConnectionError, TimeoutError):
            link.close()
            return None
        return self._started(spec, link, hello, descriptors)

    def ended(self, folder: Path) -> Exit | None:
        """How the sandbox of this folder ended, if it did."""
        try:
            state = json.loads((folder / STATE).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if state["state"] == "exited":
            return Exit(state["code"], state["out_of_memory"], state["detail"])
        try:
            _knock(folder).close()
        except OSError:
            return Exit(-signal.SIGKILL, detail="its shim was killed, or the machine restarted")
        return None

    async def stop(self) -> None:
        """End the spawner and every sandbox that is not detached."""
        if self._filling is not None:
            self._filling.cancel()
        await asyncio.gather(*(_ended(spare) for spare in self._spares))
        await asyncio.gather(*(other.stop() for other in self._others.values()), return_exceptions=True)
        running = list(self._running.values())
        for sandbox in running:
            if sandbox.spec.detached:
                sandbox.let_go()
        await asyncio.gather(
            *(sandbox.kill() for sandbox in running if not sandbox.spec.detached), return_exceptions=True
        )
        if self._link:
            self._link.close()
        if self._spawner:
            await asyncio.to_thread(self._spawner.wait)


async def _ended(spare: Link) -> None:
    """Let a spare go, and wait until nothing of it is left."""
    gone = asyncio.Event()
    spare.on_end(gone.set)
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_END_S):
            await spare.tell({"op": "end"})
            await gone.wait()
    spare.close()


def _kind(spec: SandboxSpec) -> SandboxSpec:
    """What a sandbox has in common with others before anybody knows whose it is: nothing of a function is in it."""
    limits = Limits(pids=0, open_files=spec.limits.open_files)
    return replace(spec, id="spare", folder=Path("/"), env={}, mounts=(), workdir="/", limits=limits)


def _knock(folder: Path) -> socket.socket:
    """A connection to the shim of this folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        made.connect(short_path(descriptor, CONTROL))
    except OSError:
        made.close()
        raise
    finally:
        os.close(descriptor)
    return made


def _unnamed_file(data: bytes) -> BinaryIO:
    """A file with this content and no name; in memory where the system can."""
    if sys.platform == "linux":
        made: BinaryIO = open(os.memfd_create("spec"), "r+b")  # noqa: SIM115 - handed to the caller
    else:
        made = tempfile.TemporaryFile()  # noqa: SIM115 - handed to the caller
    made.write(data)
    made.seek(0)
    return made


async def _connected(made: socket.socket) -> None:
    """Wait until a socket that is on its way has arrived; raises what the kernel says."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()
    loop.add_writer(made.fileno(), lambda: arrived.done() or arrived.set_result(None))
    try:
        await arrived
    finally:
        loop.remove_writer(made.fileno())
    number = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def open_sandboxes(folder: Path, mode: Mode | None = None) -> Sandboxes:
    """The sandboxes of a chamber, kept below `folder`; `mode` forces one instead of the best that works."""
    return LocalSandboxes(folder, mode)

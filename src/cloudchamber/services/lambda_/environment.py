# SPDX-License-Identifier: Apache-2.0
"""One execution environment: a sandbox with the runtime, the function's code, and the role's credentials."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.sandbox import trees
from cloudchamber.sandbox.spec import Exit
from cloudchamber.services.lambda_ import debugging, launching, log_levels, outcome, runtimes
from cloudchamber.services.lambda_.archive import foreign_parts
from cloudchamber.services.lambda_.errors import AccessDeniedException
from cloudchamber.services.lambda_.launching import Given, NoEntrypoint
from cloudchamber.services.lambda_.names import session_name
from cloudchamber.services.lambda_.outcome import TIMED_OUT, Outcome
from cloudchamber.services.lambda_.platform_log import PlatformLog
from cloudchamber.services.lambda_.run_logs import Console, RunLogs, Stream
from cloudchamber.services.lambda_.runtime_api import RESPONSE_MAX, Answer, Invocation, RuntimeApi

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.sandbox.sandboxes import Sandbox
    from cloudchamber.services.lambda_.archive import Files
    from cloudchamber.services.lambda_.runtime_api import Streamed
    from cloudchamber.services.lambda_.runtimes import Runtime
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.track.track import Trace

    Sink = Callable[[str, bytes], Awaitable[None]]
    """Takes the pieces of a streamed answer, each with the content type of the whole."""

INIT_S = 10.0
"""How long initialisation may take by itself; a longer timeout of the function allows more."""
_TAIL = 4096
_EXPIRY_MARGIN = timedelta(minutes=15)
_FREEZE_AFTER_S = 0.1
_PRINT_MAX = 32 * 1024 * 1024
"""How much a function may print in one run, counted as CloudWatch Logs does; what is more is dropped, and said."""
_LINE_COSTS = 26
_ASK_S = 1.0
_ENDS_S = 1.0
"""A runtime whose connection ended in the middle of an answer has ended, or is not believed any more."""
_STREAM_MAX = 200 * 1024 * 1024
"""Source: Lambda quotas, response streaming."""
_IMPORT_ERROR = re.compile(r"Unable to import module")


@dataclass(frozen=True, slots=True)
class Work:
    """One event for a function. `sink` takes the pieces of an answer that is streamed; without one it is gathered."""

    request_id: str
    payload: bytes
    trace: Trace
    context: str = ""
    sink: Sink | None = None


class _Front(Protocol):
    async def serve(self, sock: socket.socket, *, peer: str) -> asyncio.Server: ...
    def serve_secure(self, sock: socket.socket, *, peer: str, name: str) -> _Closes: ...


class _Closes(Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RoleSession:
    """Credentials of the execution role, and the principal that they are."""

    access_key_id: str
    secret_key: str
    session_token: str
    expires_at: datetime
    principal: Principal


async def assume(doors: Doors, function: Function, trace: Trace | None) -> RoleSession:
    """Assume the execution role as Lambda.

    Raises:
        AccessDeniedException: the role is gone, or its trust policy does not name Lambda.
    """
    who = service_principal("lambda.amazonaws.com", function.account, function.arn)
    try:
        answer = await doors.ask(
            "sts",
            "AssumeRole",
            {"RoleArn": function.role, "RoleSessionName": session_name(function.name)},
            # Why: policies can ask from which function a call with these credentials comes
            principal=replace(who, extra={"lambda:SourceFunctionArn": (function.arn,)}),
            trace=trace,
            region=function.region,
        )
    except ServiceError as error:
        raise AccessDeniedException("The role defined for the function cannot be assumed by Lambda.") from error
    given = answer["Credentials"]
    key, token = given["AccessKeyId"], given["SessionToken"]
    principal = doors.identities.credential(key, token, doors.clock.now()).principal
    return RoleSession(key, given["SecretAccessKey"], token, given["Expiration"], principal)


class Environment:
    """One environment, from its launch to its end. It runs one invocation at a time."""

    def __init__(
        self, doors: Doors, function: Function, files: Files, logs: RunLogs, folder: Path, *, provisioned: bool = False
    ) -> None:
        self.id = ids.hex_token(16)
        self.function = function
        self.generation = function.generation
        self.provisioned = provisioned
        self.memory_mb = function.memory_mb
        self.runs = 0
        self.idle_since = 0.0
        self.ended = False
        self._doors = doors
        self._files = files
        self._logs = logs
        self._folder = folder / self.id
        self._api = RuntimeApi()
        self._tail = bytearray()
        self._may_print = _PRINT_MAX
        self._dropped = (0, 0)
        self._peak_mb = 0
        self._trace: Trace | None = None
        self._init_ms = 0.0
        self._frozen = False
        self._freezer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._console: Console | None = None
        self._server: asyncio.Server | None = None
        self._answers: _Closes | None = None
        self._sandbox: Sandbox | None = None
        self._exited: asyncio.Task[Exit] | None = None
        self._session: RoleSession
        self._stream: Stream
        self._runtime: Runtime
        logging = function.configuration["LoggingConfig"]
        self._says = PlatformLog.of(function.name, function.version, function.memory_mb, logging)
        self._least: str = logging.get("ApplicationLogLevel", "INFO")

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def initialization(self) -> str:
        """How AWS calls the way in which it came to be."""
        return "provisioned-concurrency" if self.provisioned else "on-demand"

    async def start(self, request_id: str, trace: Trace | None) -> Outcome | None:
        """Launch and initialise; None when ready, else how the initialisation failed (the environment has ended).

        `request_id` is the invocation that it is started for, which hears of the failure; empty if for none.

        Raises:
            ServiceError: the role cannot be assumed.
            OSError, ChamberError: the sandbox could not be made.
        """
        began = self._doors.clock.monotonic()
        named = self.function.configuration["Runtime"]
        self._runtime = runtimes.known(named) or await asyncio.to_thread(runtimes.find, named)
        self._session = await assume(self._doors, self.function, trace)
        now = self._doors.clock.now()
        self._stream = Stream(
            self.function.configuration["LoggingConfig"]["LogGroup"],
            f"{now:%Y/%m/%d}/[{self.function.version}]{self.id}",
            self.function.region,
            self._session.principal,
        )
        self._trace = trace
        runtime = f"{self._runtime.kind}:{self._runtime.version}"
        self._printed(self._says.init_start(now, self.initialization, runtime, self._runtime.note))
        try:
            failure = await self._launched()
        except NoEntrypoint as error:
            kind = "Runtime.InvalidEntrypoint"
            prefix = f"RequestId: {request_id} Error: " if request_id else "Error: "
            failure = Outcome(outcome.failed(kind, prefix + str(error)), "Unhandled", kind, usable=False)
            self._printed([f"{prefix}{error}", kind])
        self._init_ms = (self._doors.clock.monotonic() - began) * 1000
        self._doors_told(failure)
        if failure is None:
            self.idle_since = self._doors.clock.monotonic()
            return None
        return await self._failed(failure, request_id, trace)

    def _doors_told(self, failure: Outcome | None) -> None:
        if self._console is not None:
            self._console.drain()
        kind = failure.error_type if failure is not None else ""
        self._printed(self._says.init_end(self._doors.clock.now(), self.initialization, self._init_ms, kind))

    async def _failed(self, failure: Outcome, request_id: str, trace: Trace | None) -> Outcome:
        failure = replace(failure, usable=False, version=self.function.version)
        if request_id and trace is not None:
            self._printed(self._says.start(self._doors.clock.now(), request_id))
            self._finish(request_id, failure, trace)
        await self.end()
        return replace(failure, log=bytes(self._tail[-_TAIL:]), logs_denied=self._stream.refused)

    async def _launched(self) -> Outcome | None:
        """Start the sandbox and wait until its runtime asks for an event; else how that failed."""
        session = self._session
        credentials = {
            "AWS_ACCESS_KEY_ID": session.access_key_id,
            "AWS_SECRET_ACCESS_KEY": session.secret_key,
            "AWS_SESSION_TOKEN": session.session_token,
        }
        given = Given(self.id, self._folder, self.initialization, self._stream, credentials)
        spec = launching.spec(self._doors, self.function, self._runtime, self._files, given)
        self._sandbox = await self._doors.sandboxes.launch(spec)
        sockets = self._sandbox.listeners
        self._exited = asyncio.create_task(self._sandbox.exited())
        try:
            self._console = Console(self._sandbox.output, self._said, self._drop)
            await self._api.serve(sockets["api"])
            front: _Front = self._doors.parts["front"]
            # Why: not the host's own address, so that the console knows that this is no browser of the host.
            self._server = await front.serve(sockets["endpoint"], peer="127.0.0.2")
            if launching.answered_inside(self._doors):
                name = launching.ANSWERS_HOST
                self._answers = front.serve_secure(sockets["answers"], peer="127.0.0.2", name=name)
        except (OSError, ValueError):  # a program that ends at once takes its sockets with it
            await asyncio.wait({self._exited}, timeout=1.0)
            if not self._exited.done():
                raise
            return self._ended_outcome(self._exited.result(), "")
        return await self._initialised(max(INIT_S, float(self.function.timeout_s)))

    async def _initialised(self, limit_s: float) -> Outcome | None:
        assert self._exited is not None
        ready = asyncio.create_task(self._api.ready.wait())
        done, _ = await asyncio.wait(
            {ready, self._api.failed, self._exited}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        if ready in done:
            return None
        if self._api.failed in done:
            answer = self._api.failed.result()
            return Outcome(await self._explained(answer.body), "Unhandled", answer.error_type or "Runtime.Unknown")
        if self._exited in done:
            return self._ended_outcome(self._exited.result(), "")
        message = f"Error: Task timed out after {limit_s:.2f} seconds"
        return Outcome(outcome.failed(TIMED_OUT, message), "Unhandled", TIMED_OUT)

    async def _explained(self, body: bytes) -> bytes:
        """The runtime's own words; for an import error, also what is wrong with the package, if we see it."""
        try:
            document = json.loads(body)
            message = str(document.get("errorMessage", ""))
        except (ValueError, AttributeError):
            return body
        if _IMPORT_ERROR.search(message) and (
            why := await asyncio.to_thread(foreign_parts, self._files.code, self._runtime.version)
        ):
            document["errorMessage"] = f"{message} ({why})"
            self._printed([f"[ERROR] {why}"])
        return json.dumps(document).encode()

    async def end(self) -> None:
        """End it at once; safe to call twice."""
        if self.ended:
            return
        self.ended = True
        if self._freezer is not None:
            self._freezer.cancel()
        if self._sandbox is not None:
            with contextlib.suppress(OSError):
                await self._sandbox.kill()
        if self._exited is not None:
            await asyncio.gather(self._exited, return_exceptions=True)
        self._api.close()
        if self._server is not None:
            self._server.close()
        if self._answers is not None:
            self._answers.close()
        if self._console is not None:
            self._console.close()
        with contextlib.suppress(OSError):
            await asyncio.to_thread(trees.remove, self._folder)

    def usable(self, now: datetime, generation: int) -> bool:
        """Whether it may take another event: alive, of the current code and settings, credentials not ending soon."""
        alive = not self.ended and self._exited is not None and not self._exited.done()
        margin = min(_EXPIRY_MARGIN, timedelta(seconds=self.function.timeout_s + 60))
        return alive and generation == self.generation and now + margin < self._session.expires_at

    async def connect(self, port: int) -> socket.socket:
        """A connection to what listens inside.

        Raises:
            OSError: nobody does.
        """
        if self._sandbox is None:
            raise ConnectionRefusedError("the environment has not been started")
        return await self._sandbox.connect(port)

    @property
    def runtime_note(self) -> str:
        """Where its interpreter is not the one that the function names; empty if it is."""
        return self._runtime.note

    @property
    def frozen(self) -> bool:
        return self._frozen

    # -- running ---------------------------------------------------------------------------------------------------

    async def run(self, function: Function, work: Work) -> Outcome:
        """Run the function once, as it was asked for. Never raises for what the function does."""
        assert self._exited is not None
        assert self._console is not None
        await self._thawed()
        self._console.drain()
        self._trace = work.trace
        self._tail.clear()
        self._may_print, self._console.muted = _PRINT_MAX, False
        clock = self._doors.clock
        cold, self.runs = self.runs == 0 and not self.provisioned, self.runs + 1
        timeout_s = self.function.timeout_s
        self._printed(self._says.start(clock.now(), work.request_id))
        begun = clock.monotonic()
        answer: asyncio.Future[Answer] | None = None
        streamed: Outcome | None = None
        if self._api.ready.is_set():
            deadline_ms = int(clock.now().timestamp() * 1000) + timeout_s * 1000
            header = work.trace.header()
            answer = self._api.submit(
                Invocation(work.request_id, work.payload, deadline_ms, function.asked_arn, header, work.context)
            )
            await asyncio.wait({answer, self._exited}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not answer.cancelled() and (stream := answer.result().stream) is not None:
                streamed = await self._streamed(stream, work.sink, begun + timeout_s)
        duration_ms = (clock.monotonic() - begun) * 1000
        self._console.drain()
        made = streamed or await self._made(answer, work.request_id, timeout_s)
        made = replace(made, version=self.function.version, memory_mb=await self._used_mb(made))
        done = replace(made, duration_ms=duration_ms, init_ms=self._init_ms if cold else 0.0)
        self._finish(work.request_id, done, work.trace)
        if not done.usable:
            await self.end()
        return replace(done, log=bytes(self._tail[-_TAIL:]), logs_denied=self._stream.refused)

    async def _streamed(self, stream: Streamed, sink: Sink | None, until: float) -> Outcome | None:
        """Hand the pieces on as they come; None when the time is over, which is said like any other timeout."""
        held = bytearray()
        octets, most = 0, RESPONSE_MAX if sink is None else _STREAM_MAX
        try:
            async with asyncio.timeout(max(0.0, until - self._doors.clock.monotonic())):
                async for piece in stream:
                    octets += len(piece)
                    if octets > most:
                        kind = "Function.ResponseSizeTooLarge"
                        said = outcome.failed(
                            kind, f"Response payload size exceeded maximum allowed payload size ({_STREAM_MAX} bytes)."
                        )
                        return Outcome(said, "Unhandled", kind, usable=False)
                    if sink is None:
                        held += piece
                    else:
                        await sink(stream.content_type, piece)
        except TimeoutError:
            return None
        if stream.error_type == "Runtime.TruncatedResponse" and self._exited is not None:
            await asyncio.wait({self._exited}, timeout=_ENDS_S)
            if self._exited.done():
                return self._ended_outcome(self._exited.result(), "")
            said = outcome.failed(stream.error_type, "Response stream ended before it was complete.")
            return Outcome(said, "Unhandled", stream.error_type, usable=False)
        if stream.error_type:
            return Outcome(stream.error_body, "Unhandled", stream.error_type)
        return Outcome(bytes(held), content_type=stream.content_type)

    async def _made(self, answer: asyncio.Future[Answer] | None, request_id: str, timeout_s: int) -> Outcome:
        """What the answer, its absence, or the end of the process means."""
        assert self._exited is not None
        if answer is not None and answer.done() and not answer.cancelled() and answer.result().stream is None:
            given = answer.result()
            memory_mb = -(-given.memory_kb // 1024)
            if given.kind == "response":
                return Outcome(
                    given.body, memory_mb=memory_mb, usable=not self._exited.done(), content_type=given.content_type
                )
            error_type = given.error_type or "Unhandled"
            return Outcome(given.body, "Unhandled", error_type, memory_mb=memory_mb, usable=not self._exited.done())
        if self._exited.done() or answer is None:
            exit_ = await self._exited if self._exited.done() else Exit(1)
            return self._ended_outcome(exit_, request_id)
        said = f"Task timed out after {timeout_s:.2f} seconds"
        self._printed(self._says.timed_out(self._doors.clock.now(), request_id, said))
        body = outcome.failed(TIMED_OUT, f"RequestId: {request_id} Error: {said}")
        return Outcome(body, "Unhandled", TIMED_OUT, usable=False)

    async def _used_mb(self, made: Outcome) -> int:
        """The most memory it has used: as its runtime says, else as its processes show while they live."""
        used_mb = made.memory_mb
        if not used_mb and self._sandbox is not None and self._exited is not None and not self._exited.done():
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ASK_S):
                    used_mb = -(-await self._sandbox.peak_kb() // 1024)
        self._peak_mb = min(max(self._peak_mb, used_mb), self.memory_mb)
        return self._peak_mb

    def _ended_outcome(self, exit_: Exit, request_id: str) -> Outcome:
        if self._console is not None:
            self._console.drain()
        kind = "Runtime.OutOfMemory" if exit_.out_of_memory else "Runtime.ExitError"
        words = outcome.exit_words(-9 if exit_.out_of_memory else exit_.code)
        prefix = f"RequestId: {request_id} Error: " if request_id else "Error: "
        self._printed([f"{prefix}{words}", *([kind] if request_id else [])])
        used_mb = self.memory_mb if exit_.out_of_memory else 0
        return Outcome(outcome.failed(kind, prefix + words), "Unhandled", kind, memory_mb=used_mb, usable=False)

    def _finish(self, request_id: str, done: Outcome, trace: Trace) -> None:
        lines, octets = self._dropped
        if lines:
            self._dropped = (0, 0)
            self._printed(self._says.dropped(self._doors.clock.now(), lines, octets, _PRINT_MAX))
        self._printed(self._says.end(self._doors.clock.now(), request_id, done, trace.track_id))
        self.idle_since = self._doors.clock.monotonic()
        if done.usable:
            loop = asyncio.get_running_loop()
            self._freezer = loop.call_later(_FREEZE_AFTER_S, self._freeze)

    async def settled(self) -> bool:
        """Wait until the runtime asks for the next event; False if it ends instead (or takes over a second)."""
        if self.ended or self._exited is None:
            return False
        if self._api.ready.is_set():
            return True
        ready = asyncio.create_task(self._api.ready.wait())
        await asyncio.wait({ready, self._exited}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        return self._api.ready.is_set() and not self._exited.done()

    # -- between runs ----------------------------------------------------------------------------------------------

    def _freeze(self) -> None:
        self._freezer = None
        task = asyncio.get_running_loop().create_task(self._frozen_soon())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _frozen_soon(self) -> None:
        if debugging.VARIABLE in self.function.configuration.get("Environment", {}).get("Variables", {}):
            return
        if self.ended or self._sandbox is None or self._frozen or not self._api.ready.is_set():
            return
        self._frozen = True
        with contextlib.suppress(OSError):
            await self._sandbox.freeze()

    async def _thawed(self) -> None:
        if self._freezer is not None:
            self._freezer.cancel()
            self._freezer = None
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._frozen and self._sandbox is not None:
            self._frozen = False
            with contextlib.suppress(OSError):
                await self._sandbox.thaw()

    # -- what it prints --------------------------------------------------------------------------------------------

    def _said(self, lines: list[str]) -> None:
        """What the function prints: so much in a run, and no more."""
        for index, line in enumerate(lines):
            self._may_print -= len(line) + _LINE_COSTS
            if self._may_print < 0 and self._console is not None:
                self._console.muted = True
                self._drop(len(lines) - index, sum(map(len, lines[index:])))
                lines = lines[:index]
                break
        self._printed(log_levels.passing(lines, self._least) if self._says.as_json else lines)

    def _drop(self, lines: int, octets: int) -> None:
        count, length = self._dropped
        self._dropped = (count + lines, length + octets)

    def _printed(self, lines: list[str]) -> None:
        if not lines:
            return
        self._tail += ("\n".join(lines) + "\n").encode("utf-8", "replace")
        if len(self._tail) > 2 * _TAIL:
            del self._tail[:-_TAIL]
        moment_ms = int(self._doors.clock.now().timestamp() * 1000)
        self._logs.put(self._stream, lines, moment_ms, self._trace)

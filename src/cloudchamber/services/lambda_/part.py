# SPDX-License-Identifier: Apache-2.0
"""Lambda's live side: environments, accepted events, logs, and functions on their way to being usable."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.sandbox import trees
from cloudchamber.services.lambda_ import launching, lineage, runtimes, tables
from cloudchamber.services.lambda_.archive import Archives, names_of
from cloudchamber.services.lambda_.asynchronous import EventQueue
from cloudchamber.services.lambda_.debugging import join
from cloudchamber.services.lambda_.downloads import Downloads
from cloudchamber.services.lambda_.errors import RecursiveInvocationException, ServiceException
from cloudchamber.services.lambda_.names import Reference, function_arn
from cloudchamber.services.lambda_.pool import Pools, Tuning
from cloudchamber.services.lambda_.run_logs import RunLogs
from cloudchamber.services.lambda_.url_door import UrlDoor
from cloudchamber.track.track import Segment, segment_id

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.environment import Work
    from cloudchamber.services.lambda_.outcome import Outcome
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Reader, Tx
    from cloudchamber.track.track import Trace

_log = logging.getLogger(__name__)
_REAP_S = 5.0
_CLEAN_S = 600.0


class LambdaPart:
    """Runs functions."""

    def __init__(self, doors: Doors, tuning: Tuning | None = None) -> None:
        self._doors = doors
        tuning = tuning or Tuning()
        folder = doors.folder / "lambda"
        self._environments = folder / "environments"
        self.archives = Archives(folder / "code")
        self._logs = RunLogs(doors)
        self._pools = Pools(doors, self.archives, self._logs, self._environments, tuning)
        self.events = EventQueue(doors, self.run, self.settled, tuning)
        self.downloads = Downloads(doors, self.archives)
        self.urls = UrlDoor(doors, self)
        self._activating: dict[str, asyncio.Task[None]] = {}
        self._reaper: asyncio.Task[None] | None = None
        self._warmed = False
        self._runs: set[asyncio.Task[Outcome]] = set()
        self._provisioning: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Finish what a crash interrupted, then take accepted events."""
        await asyncio.to_thread(trees.remove, self._environments)
        self._environments.mkdir(parents=True, mode=0o700)
        functions = await self._doors.database.query(tables.every)
        if functions:
            await self._warm()
        for function in functions:
            await asyncio.to_thread(_find_runtime, function)
            if not function.ready and function.state != "Failed":
                self.activate(function.arn)
        self._logs.start()
        self.events.start()
        self.urls.open()
        self.provision()
        self._reaper = asyncio.create_task(self._tidy_for_ever(), name="lambda-tidy")

    async def stop(self) -> None:
        """End every environment; accepted events stay for the next start."""
        self._stopping = True
        for task in (self._reaper, self._provisioning):
            if task is not None:
                task.cancel()
        await self.events.stop()
        await asyncio.gather(*self._activating.values(), return_exceptions=True)
        await self._pools.stop()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self._logs.stop()

    @property
    def answers_at(self) -> str:
        """Where functions reach the front for answers of custom resources: ``https://host``, without a path; empty
        where sandboxes have no names and ports of their own."""
        return f"https://{launching.ANSWERS_HOST}" if launching.answered_inside(self._doors) else ""

    def status(self) -> list[Mapping[str, Any]]:
        """Functions with environments, and events that wait."""
        rows = self._pools.status()
        if waiting := self.events.waiting():
            rows.append({"kind": "events", "id": "lambda", "state": "waiting", "detail": f"{waiting} not handled yet"})
        return rows

    # -- functions on their way ------------------------------------------------------------------------------------

    def activate(self, arn: str) -> None:
        """Make a new or changed function usable, then say so: `Active`, `Successful`."""
        before = self._activating.get(arn)
        task = asyncio.get_running_loop().create_task(self._activate(arn, before))
        self._activating[arn] = task

        def over(done: asyncio.Task[None]) -> None:
            if self._activating.get(arn) is done:
                del self._activating[arn]

        task.add_done_callback(over)

    async def settled(self, arn: str) -> None:
        """Wait for a change that is on its way."""
        if task := self._activating.get(arn):
            await asyncio.wait({task})

    async def _activate(self, arn: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        function = self._doors.database.read(lambda db: tables.find(db, arn))
        if function is None:
            return
        reason = ""
        try:
            await asyncio.to_thread(self.archives.unpack, function.code_sha)
            await self.archives.files(function)
        except (ServiceError, OSError) as error:
            _log.exception("the code of %s could not be unpacked", arn)
            reason = str(error) or type(error).__name__

        def publish(tx: Tx) -> None:
            current = tables.find(tx, arn)
            if current is None or current.generation != function.generation:
                return
            state = "Failed" if reason and current.state == "Pending" else "Active"
            # Why: whoever holds the revision of before does not know that this has happened (as recorded on AWS).
            document = {**current.configuration, "RevisionId": ids.request_id()}
            ended = "Failed" if reason else "Successful"
            tables.change(tx, arn, configuration=document, state=state, update_status=ended, reason=reason)
            if current.state == "Pending":
                tables.revise_versions(tx, arn)

        await self._doors.database.write(publish)
        await self._warm()
        self._pools.refresh(function.key, function.generation)
        self.events.nudge()

    async def _warm(self) -> None:
        """Have the runtime's libraries loaded before the first event, in the spawner; once."""
        if not self._warmed:
            self._warmed = True
            await self._doors.sandboxes.warm(launching.kind(self._doors))

    async def forget(self, arn: str, version: str = "") -> None:
        """A function, or one version of it, was deleted."""
        await self._pools.forget(arn, version)

    # -- a debugger ----------------------------------------------------------------------------------------------------

    async def attach(self, name: str, port: int, connection: socket.socket) -> asyncio.Task[None]:
        """Join a person's connection with a port inside an environment of a function.

        Raises:
            LookupError: none lives.
            OSError: nobody listens there.
        """
        arn = function_arn(self._doors.account, self._doors.region, name)
        environment = self._pools.latest(arn)
        if environment is None:
            raise LookupError(f"the function {name} has no environment: invoke it once")
        inside = await environment.connect(port)
        return asyncio.get_running_loop().create_task(join(connection, inside))

    # -- provisioned concurrency -------------------------------------------------------------------------------------

    def provision(self) -> None:
        """Have the environments that are asked for, in a moment; call it when something changed."""
        if not self._stopping and (self._provisioning is None or self._provisioning.done()):
            self._provisioning = asyncio.get_running_loop().create_task(self._provision())

    async def _provision(self) -> None:
        await asyncio.sleep(0)
        try:
            self._pools.provision(self._doors.database.read(_wanted))
        except Exception:  # noqa: BLE001 - the edge of a task: looked at again with the next reaping
            _log.exception("provisioned concurrency could not be looked at")

    def provisioned(self, key: tuple[str, str]) -> tuple[int, int, str]:
        """How many provisioned environments a version has, how many start, and why the last one failed."""
        return self._pools.provisioned(key)

    # -- runs --------------------------------------------------------------------------------------------------------

    async def run_through(self, function: Function, work: Work) -> Outcome:
        """`run`, to its end also when the caller goes away, as on AWS."""
        task = asyncio.get_running_loop().create_task(self.run(function, work))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return await asyncio.shield(task)

    async def run(self, function: Function, work: Work, notes: Mapping[str, Any] | None = None) -> Outcome:
        """Run a function once, as a step of its own on the track.

        Raises:
            RecursiveInvocationException: it ran too often on this chain of calls, and is not allowed to.
            TooManyRequestsException: a concurrency limit is reached.
            ServiceException, AccessDeniedException: no environment could be made.
        """
        trace = work.trace
        clock = self._doors.clock
        segment = Segment(
            trace.track_id,
            segment_id(),
            trace.parent_id,
            "lambda",
            f"Run {function.name}",
            clock.now().timestamp(),
            principal=function.role,
            resource=function.asked_arn,
            notes={"invocation": work.request_id, "version": function.version, **(notes or {})},
        )
        try:
            self._check_recursion(function, trace)
            handed = segment.trace(lineage.extend(trace.lineage, function.arn))
            done = await self._pools.run(function, replace(work, trace=handed), segment.notes)
            _describe(segment, done)
        except ServiceError as error:
            segment.status, segment.error = error.status, error.code
            segment.notes["message"] = error.message[:500]
            raise
        except Exception as error:
            _log.exception("no environment for %s", function.arn)
            segment.status, segment.error = 500, "ServiceException"
            segment.notes["message"] = str(error)[:500]
            raise ServiceException(f"An error occurred and the request cannot be processed: {error}") from error
        finally:
            segment.ended = clock.now().timestamp()
            self._doors.recorder.record(segment)
        return done

    def _check_recursion(self, function: Function, trace: Trace) -> None:
        runs = lineage.runs(trace.lineage, function.arn)
        if runs >= lineage.RUNS_MAX and function.recursion == "Terminate":
            raise RecursiveInvocationException(
                f"Lambda stopped the function {function.name} because it was invoked {runs} times in the same chain of "
                "requests. PutFunctionRecursionConfig with RecursiveLoop Allow turns this off."
            )

    async def _tidy_for_ever(self) -> None:
        clean_at = 0.0
        while True:
            self._pools.reap()
            self.provision()
            if self._doors.clock.monotonic() >= clean_at:
                clean_at = self._doors.clock.monotonic() + _CLEAN_S
                try:
                    await self._clean()
                except Exception:  # noqa: BLE001 - idle environments must end all the same; tried again next time
                    _log.exception("old packages could not be removed")
            await asyncio.sleep(_REAP_S)

    async def _clean(self) -> None:
        """Remove packages that nobody has any more."""
        kept = await self._doors.database.query(_kept)
        for function in self._pools.in_use():
            kept |= names_of(function.code_sha, function.configuration)
        before_s = self._doors.clock.now().timestamp() - _CLEAN_S
        await asyncio.to_thread(self.archives.forget_all_but, kept, before_s)


def _find_runtime(function: Function) -> None:
    """Have its interpreter known, if the machine still has one."""
    with contextlib.suppress(ServiceError):
        runtimes.find(str(function.configuration["Runtime"]))


def _kept(db: Reader) -> set[str]:
    """Everything in the archive that a function, a version or a layer needs."""
    found = tables.code_in_use(db)
    for function in tables.every(db):
        found |= names_of(function.code_sha, function.configuration)
        for version in tables.versions(db, function.arn):
            found |= names_of(version.code_sha, version.configuration)
    return found


def _wanted(db: Reader) -> dict[tuple[str, str], tuple[Function, int]]:
    """How many environments of which versions are to be kept."""
    found: dict[tuple[str, str], tuple[Function, int]] = {}
    for arn, qualifier, number in tables.provisioned(db):
        try:
            function = tables.chosen(db, Reference(arn, qualifier))
        except ServiceError:
            continue  # its version is gone, and what was asked for it with it
        found[function.key] = (function, number + found.get(function.key, (function, 0))[1])
    return found


def _describe(segment: Segment, done: Outcome) -> None:
    segment.status = 200
    segment.error = done.error_type if done.function_error else ""
    segment.notes["duration_ms"] = round(done.duration_ms, 2)
    if done.init_ms:
        segment.notes["init_ms"] = round(done.init_ms, 2)
    if done.memory_mb:
        segment.notes["memory_mb"] = done.memory_mb
    if done.logs_denied:
        segment.notes["logs"] = f"not written: {done.logs_denied}"
    if done.function_error:
        try:
            segment.notes["message"] = str(json.loads(done.payload).get("errorMessage", ""))[:500]
        except (ValueError, AttributeError):
            segment.notes["message"] = ""

# SPDX-License-Identifier: Apache-2.0
"""Lambda's live side: environments, accepted events, logs, and functions on their way to being usable."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.services.lambda_ import lineage, tables
from cloudchamber.services.lambda_.archive import Archives
from cloudchamber.services.lambda_.asynchronous import EventQueue
from cloudchamber.services.lambda_.errors import RecursiveInvocationException, ServiceException
from cloudchamber.services.lambda_.pool import Pools, Tuning
from cloudchamber.services.lambda_.run_logs import RunLogs
from cloudchamber.track.track import Segment, segment_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.outcome import Outcome
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx
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
        self._activating: dict[str, asyncio.Task[None]] = {}
        self._reaper: asyncio.Task[None] | None = None
        self._warmed = False
        self._runs: set[asyncio.Task[Outcome]] = set()

    async def start(self) -> None:
        """Finish what a crash interrupted, then take accepted events."""
        await asyncio.to_thread(shutil.rmtree, self._environments, ignore_errors=True)
        self._environments.mkdir(parents=True, mode=0o700)
        functions = await self._doors.database.query(tables.every)
        if functions:
            await self._warm()
        for function in functions:
            if not function.ready and function.state != "Failed":
                self.activate(function.arn)
        self._logs.start()
        self.events.start()
        self._reaper = asyncio.create_task(self._tidy_for_ever(), name="lambda-tidy")

    async def stop(self) -> None:
        """End every environment; accepted events stay for the next start."""
        if self._reaper is not None:
            self._reaper.cancel()
        await self.events.stop()
        await asyncio.gather(*self._activating.values(), return_exceptions=True)
        await self._pools.stop()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self._logs.stop()

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
        except (ServiceError, OSError) as error:
            _log.exception("the code of %s could not be unpacked", arn)
            reason = str(error) or type(error).__name__

        def publish(tx: Tx) -> None:
            current = tables.find(tx, arn)
            if current is None or current.generation != function.generation:
                return
            state = "Failed" if reason and current.state == "Pending" else "Active"
            tables.change(tx, arn, state=state, update_status="Failed" if reason else "Successful", reason=reason)

        await self._doors.database.write(publish)
        await self._warm()
        self._pools.refresh(arn, function.generation)
        self.events.nudge()

    async def _warm(self) -> None:
        """Have the runtime's libraries loaded before the first event, in the spawner; once."""
        if not self._warmed:
            self._warmed = True
            await self._doors.sandboxes.warm()

    async def forget(self, arn: str) -> None:
        """A function was deleted."""
        await self._pools.forget(arn)

    # -- runs --------------------------------------------------------------------------------------------------------

    async def run_through(
        self, function: Function, request_id: str, payload: bytes, trace: Trace, context: str
    ) -> Outcome:
        """`run`, to its end also when the caller goes away, as on AWS."""
        task = asyncio.get_running_loop().create_task(self.run(function, request_id, payload, trace, context))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return await asyncio.shield(task)

    async def run(
        self,
        function: Function,
        request_id: str,
        payload: bytes,
        trace: Trace,
        context: str = "",
        notes: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Run a function once, as a step of its own on the track.

        Raises:
            RecursiveInvocationException: it ran too often on this chain of calls, and is not allowed to.
            TooManyRequestsException: a concurrency limit is reached.
            ServiceException, AccessDeniedException: no environment could be made.
        """
        clock = self._doors.clock
        segment = Segment(
            trace.track_id,
            segment_id(),
            trace.parent_id,
            "lambda",
            f"Run {function.name}",
            clock.now().timestamp(),
            principal=function.role,
            resource=function.arn,
            notes={"invocation": request_id, **(notes or {})},
        )
        try:
            self._check_recursion(function, trace)
            handed = segment.trace(lineage.extend(trace.lineage, function.arn))
            done = await self._pools.run(function, request_id, payload, handed, context, segment.notes)
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
            if self._doors.clock.monotonic() >= clean_at:
                clean_at = self._doors.clock.monotonic() + _CLEAN_S
                try:
                    await self._clean()
                except Exception:  # noqa: BLE001 - idle environments must end all the same; tried again next time
                    _log.exception("old packages could not be removed")
            await asyncio.sleep(_REAP_S)

    async def _clean(self) -> None:
        """Remove packages that nobody has any more."""
        wanted = {f.code_sha for f in await self._doors.database.query(tables.every)} | self._pools.code_in_use()
        before_s = self._doors.clock.now().timestamp() - _CLEAN_S
        await asyncio.to_thread(self.archives.forget_all_but, wanted, before_s)


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

# SPDX-License-Identifier: Apache-2.0
"""Warm and busy environments of every function, and how many there may be."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.services.lambda_.environment import Environment
from cloudchamber.services.lambda_.errors import TooManyRequestsException
from cloudchamber.services.lambda_.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.archive import Archives
    from cloudchamber.services.lambda_.run_logs import RunLogs
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.track.track import Trace

CONCURRENCY = 1000
"""Concurrent executions of an account in a region. Source: Lambda quotas."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a chamber may set. AWS waits one and two minutes between retries; ours are short, for people who wait."""

    retry_delays_s: tuple[float, ...] = (1.0, 2.0)
    idle_s: float = 300.0
    memory_share: float = 0.75
    launches_at_once: int = 2 * (os.cpu_count() or 1)
    events_at_once: int = 4 * (os.cpu_count() or 1)


@dataclass(slots=True)
class _Pool:
    """The environments of one function; `idle` is used from its end, so that the rest can grow old."""

    reserved: int | None = None
    idle: list[Environment] = field(default_factory=list[Environment])
    busy: set[Environment] = field(default_factory=set[Environment])
    starting: int = 0

    @property
    def running(self) -> int:
        return len(self.busy) + self.starting


class Pools:
    """All environments of a chamber."""

    def __init__(self, doors: Doors, archives: Archives, logs: RunLogs, folder: Path, tuning: Tuning) -> None:
        self._doors = doors
        self._archives = archives
        self._logs = logs
        self._folder = folder
        self._tuning = tuning
        self._pools: dict[str, _Pool] = {}
        self._launches = asyncio.Semaphore(tuning.launches_at_once)
        self._memory_mb = 0
        octets = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._memory_max_mb = max(1024, int(octets / (1 << 20) * tuning.memory_share))
        self._ending: set[asyncio.Task[None]] = set()

    async def run(
        self, function: Function, request_id: str, payload: bytes, trace: Trace, context: str, notes: dict[str, Any]
    ) -> Outcome:
        """Run a function in an environment of its own: a warm one, or a new one.

        Raises:
            TooManyRequestsException: a limit is reached.
            ServiceError, ChamberError, OSError: no environment could be made.
        """
        pool = self._pools.setdefault(function.arn, _Pool())
        found = await self._acquire(pool, function, request_id, trace)
        if isinstance(found, Outcome):
            notes["cold"] = True
            return found
        notes["cold"] = found.runs == 0
        notes["environment"] = found.id
        try:
            done = await found.run(request_id, payload, trace, context)
        except BaseException:
            self._remove(pool, found)
            raise
        pool.busy.discard(found)
        if done.usable and not found.ended and self._pools.get(function.arn) is pool:
            pool.idle.append(found)
        else:
            self._remove(pool, found)
        return done

    async def _acquire(self, pool: _Pool, function: Function, request_id: str, trace: Trace) -> Environment | Outcome:
        pool.reserved = function.reserved
        self._admit(pool, function)
        while pool.idle:
            found = pool.idle.pop()
            pool.busy.add(found)
            if found.usable(self._doors.clock.now(), function.generation) and await found.settled():
                return found
            pool.busy.discard(found)
            self._remove(pool, found)
        return await self._start(pool, function, request_id, trace)

    async def _start(self, pool: _Pool, function: Function, request_id: str, trace: Trace) -> Environment | Outcome:
        self._make_room(function.memory_mb)
        made = Environment(self._doors, function, self._archives.path(function.code_sha), self._logs, self._folder)
        pool.starting += 1
        self._memory_mb += made.memory_mb
        try:
            async with self._launches:
                failure = await made.start(request_id, trace)
        except BaseException:
            self._memory_mb -= made.memory_mb
            self._end_soon(made)
            raise
        finally:
            pool.starting -= 1
        if failure is not None:
            self._memory_mb -= made.memory_mb
            return failure
        pool.busy.add(made)
        return made

    def _admit(self, pool: _Pool, function: Function) -> None:
        if pool.reserved is not None:
            if pool.running >= pool.reserved:
                raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            return
        unreserved = sum(p.running for p in self._pools.values() if p.reserved is None)
        reserved = sum(p.reserved for p in self._pools.values() if p.reserved is not None)
        if unreserved >= CONCURRENCY - reserved:
            raise _throttled("ConcurrentInvocationLimitExceeded")

    def _make_room(self, memory_mb: int) -> None:
        """End idle environments, the longest idle first, until the machine's memory has room for one more."""
        while self._memory_mb and self._memory_mb + memory_mb > self._memory_max_mb:
            idle = [(e.idle_since, arn, e) for arn, p in self._pools.items() for e in p.idle]
            if not idle:
                raise _throttled("ConcurrentInvocationLimitExceeded")
            _, arn, oldest = min(idle, key=lambda row: row[0])
            pool = self._pools[arn]
            pool.idle.remove(oldest)
            self._remove(pool, oldest)

    def _remove(self, pool: _Pool, environment: Environment) -> None:
        pool.busy.discard(environment)
        self._memory_mb -= environment.memory_mb
        self._end_soon(environment)

    def _end_soon(self, environment: Environment) -> None:
        task = asyncio.get_running_loop().create_task(environment.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def refresh(self, arn: str, generation: int) -> None:
        """End idle environments of another generation; busy ones end when their run is over and they are next."""
        pool = self._pools.get(arn)
        if pool is None:
            return
        old = [e for e in pool.idle if e.generation != generation]
        pool.idle = [e for e in pool.idle if e.generation == generation]
        for environment in old:
            self._remove(pool, environment)

    async def forget(self, arn: str) -> None:
        """End every environment of a function, also those that run."""
        pool = self._pools.pop(arn, None)
        if pool is None:
            return
        live = [*pool.idle, *pool.busy]
        self._memory_mb -= sum(e.memory_mb for e in pool.idle)  # who runs a busy one takes its memory off
        pool.idle.clear()
        await asyncio.gather(*(e.end() for e in live), return_exceptions=True)

    def reap(self) -> None:
        """End what has been idle for long, what died, and what has credentials that end soon."""
        moment, now = self._doors.clock.monotonic(), self._doors.clock.now()
        for pool in self._pools.values():
            for environment in list(pool.idle):
                fresh = moment - environment.idle_since < self._tuning.idle_s
                if not fresh or not environment.usable(now, environment.generation):
                    pool.idle.remove(environment)
                    self._remove(pool, environment)

    def code_in_use(self) -> set[str]:
        """SHA-256 of the packages that live environments have mounted."""
        return {e.function.code_sha for p in self._pools.values() for e in (*p.idle, *p.busy)}

    async def stop(self) -> None:
        """End everything."""
        await asyncio.gather(*(self.forget(arn) for arn in list(self._pools)))
        await asyncio.gather(*self._ending, return_exceptions=True)

    def status(self) -> list[Mapping[str, Any]]:
        """One row for each function that has environments."""
        rows: list[Mapping[str, Any]] = []
        for arn, pool in self._pools.items():
            if not pool.idle and not pool.running:
                continue
            frozen = sum(e.frozen for e in pool.idle)
            detail = f"{len(pool.busy)} busy, {len(pool.idle)} warm ({frozen} frozen), {pool.starting} starting"
            state = "busy" if pool.running else "warm"
            rows.append({"kind": "function", "id": arn.rpartition(":")[2], "state": state, "detail": detail})
        return rows


def _throttled(reason: str) -> TooManyRequestsException:
    return TooManyRequestsException("Rate Exceeded.", Reason=reason)

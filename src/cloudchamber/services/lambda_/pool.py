# SPDX-License-Identifier: Apache-2.0
"""Warm and busy environments of every function, and how many there may be."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.services.lambda_.environment import Environment
from cloudchamber.services.lambda_.errors import TooManyRequestsException
from cloudchamber.services.lambda_.names import LATEST
from cloudchamber.services.lambda_.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.archive import Archives
    from cloudchamber.services.lambda_.environment import Work
    from cloudchamber.services.lambda_.run_logs import RunLogs
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.track.track import Trace

_RESERVE_MB = 256
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
    """The environments of one function version; `idle` is used from its end, so that the rest can grow old."""

    keep: int = 0
    """How many environments are kept warm, whoever asks."""
    failure: str = ""
    """Why the last of those could not be made."""
    idle: list[Environment] = field(default_factory=list[Environment])
    busy: set[Environment] = field(default_factory=set[Environment])
    starting: int = 0
    warming: int = 0
    """Environments that start without an event."""

    def take(self) -> Environment:
        """One of the idle environments: a provisioned one first, else the one that was used last."""
        index = next((n for n, e in enumerate(self.idle) if e.provisioned), -1) if self.keep else -1
        return self.idle.pop(index)

    @property
    def running(self) -> int:
        return len(self.busy) + self.starting

    @property
    def provisioned(self) -> int:
        """Environments of provisioned concurrency that are there."""
        return sum(e.provisioned for e in (*self.idle, *self.busy))


class Pools:
    """All environments of a chamber."""

    def __init__(self, doors: Doors, archives: Archives, logs: RunLogs, folder: Path, tuning: Tuning) -> None:
        self._doors = doors
        self._archives = archives
        self._logs = logs
        self._folder = folder
        self._tuning = tuning
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._reserved: dict[str, int] = {}
        self._launches = asyncio.Semaphore(tuning.launches_at_once)
        self._memory_mb = 0
        octets = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self._memory_max_mb = max(1024, int(octets / (1 << 20) * tuning.memory_share))
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, function: Function, work: Work, notes: dict[str, Any]) -> Outcome:
        """Run a function in an environment of its own: a warm one, or a new one.

        Raises:
            TooManyRequestsException: a limit is reached.
            ServiceError, ChamberError, OSError: no environment could be made.
        """
        pool = self._pools.setdefault(function.key, _Pool())
        found = await self._acquire(pool, function, work)
        if isinstance(found, Outcome):
            notes["cold"] = True
            return found
        notes["cold"] = found.runs == 0 and not found.provisioned
        notes["environment"] = found.id
        try:
            done = await found.run(function, work)
        except BaseException:
            self._remove(pool, found)
            raise
        pool.busy.discard(found)
        if done.usable and not found.ended and self._pools.get(function.key) is pool:
            pool.idle.append(found)
        else:
            self._remove(pool, found)
        return done

    async def _acquire(self, pool: _Pool, function: Function, work: Work) -> Environment | Outcome:
        if function.reserved is None:
            self._reserved.pop(function.arn, None)
        else:
            self._reserved[function.arn] = function.reserved
        self._admit(pool, function)
        while pool.idle:
            found = pool.take()
            pool.busy.add(found)
            if found.usable(self._doors.clock.now(), function.generation) and await found.settled():
                return found
            pool.busy.discard(found)
            self._remove(pool, found)
        return await self._start(pool, function, work.request_id, work.trace)

    async def _start(
        self, pool: _Pool, function: Function, request_id: str, trace: Trace | None, *, provisioned: bool = False
    ) -> Environment | Outcome:
        self._make_room(function.memory_mb)
        files = await self._archives.files(function)
        made = Environment(self._doors, function, files, self._logs, self._folder, provisioned=provisioned)
        if not provisioned:
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
            if not provisioned:
                pool.starting -= 1
        if failure is not None:
            self._memory_mb -= made.memory_mb
            return failure
        pool.busy.add(made)
        return made

    # -- provisioned concurrency -------------------------------------------------------------------------------------

    def provision(self, wanted: Mapping[tuple[str, str], tuple[Function, int]]) -> None:
        """Keep so many environments of these versions warm, and no longer those of others."""
        for key, pool in self._pools.items():
            pool.keep = wanted[key][1] if key in wanted else 0
        for key, (function, number) in wanted.items():
            pool = self._pools.setdefault(key, _Pool())
            pool.keep = number
            for _ in range(number - pool.provisioned - pool.warming):
                pool.warming += 1
                self._in_background(self._warm(pool, function))
        for pool in self._pools.values():
            for environment in [e for e in pool.idle if e.provisioned][: max(0, pool.provisioned - pool.keep)]:
                pool.idle.remove(environment)
                self._remove(pool, environment)

    async def _warm(self, pool: _Pool, function: Function) -> None:
        try:
            made = await self._start(pool, function, "", None, provisioned=True)
        except Exception as error:  # noqa: BLE001 - the edge of a task: GetProvisionedConcurrencyConfig says it
            pool.failure = str(error)[:500]
            return
        finally:
            pool.warming -= 1
        if isinstance(made, Outcome):
            pool.failure = "FUNCTION_ERROR_INIT_FAILURE"  # its log says more
            return
        pool.failure = ""
        pool.busy.discard(made)
        if self._pools.get(function.key) is pool:
            pool.idle.append(made)
        else:
            self._remove(pool, made)

    def provisioned(self, key: tuple[str, str]) -> tuple[int, int, str]:
        """How many environments of a version are there, how many start, and why the last one failed."""
        pool = self._pools.get(key) or _Pool()
        return pool.provisioned, pool.warming, pool.failure

    def _admit(self, pool: _Pool, function: Function) -> None:
        if any(e.provisioned for e in pool.idle):
            return  # that is what it is kept for
        running = self._running()
        if function.reserved is not None:
            # Provisioned concurrency is a part of the reserved one, whoever uses it. Source: Lambda Developer Guide,
            # "Understanding and visualizing concurrency".
            pools = [each for (arn, _), each in self._pools.items() if arn == function.arn]
            kept = sum(each.provisioned for each in pools)
            used = running.get(function.arn, 0) - sum(e.provisioned for each in pools for e in each.busy)
            if used >= function.reserved - kept:
                raise _throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            return
        unreserved = sum(count for arn, count in running.items() if arn not in self._reserved)
        if unreserved >= CONCURRENCY - sum(self._reserved.values()):
            raise _throttled("ConcurrentInvocationLimitExceeded")

    def _running(self) -> dict[str, int]:
        """Runs that go on, by function: its versions share its concurrency."""
        found: dict[str, int] = {}
        for (arn, _), pool in self._pools.items():
            if pool.running:
                found[arn] = found.get(arn, 0) + pool.running
        return found

    def _make_room(self, memory_mb: int) -> None:
        """End idle environments, the longest idle first, until the machine's memory has room for one more.

        Their /tmp is memory too, and not counted: when the machine itself has little left, one ends for each new one.
        """
        short = _available_mb() < _RESERVE_MB
        while short or (self._memory_mb and self._memory_mb + memory_mb > self._memory_max_mb):
            short = False
            idle = [(e.provisioned, e.idle_since, key, e) for key, p in self._pools.items() for e in p.idle]
            if not idle:
                raise _throttled("ConcurrentInvocationLimitExceeded")
            _, _, key, oldest = min(idle, key=lambda row: row[:2])
            pool = self._pools[key]
            pool.idle.remove(oldest)
            self._remove(pool, oldest)

    def _remove(self, pool: _Pool, environment: Environment) -> None:
        pool.busy.discard(environment)
        self._memory_mb -= environment.memory_mb
        self._end_soon(environment)

    def _end_soon(self, environment: Environment) -> None:
        self._in_background(environment.end())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def refresh(self, key: tuple[str, str], generation: int) -> None:
        """End idle environments of another generation; busy ones end when their run is over and they are next."""
        pool = self._pools.get(key)
        if pool is None:
            return
        old = [e for e in pool.idle if e.generation != generation]
        pool.idle = [e for e in pool.idle if e.generation == generation]
        for environment in old:
            self._remove(pool, environment)

    async def forget(self, arn: str, version: str = "") -> None:
        """End every environment of a function or of one version, also those that run."""
        for key in [k for k in self._pools if k[0] == arn and version in ("", k[1])]:
            pool = self._pools.pop(key)
            live = [*pool.idle, *pool.busy]
            self._memory_mb -= sum(e.memory_mb for e in pool.idle)  # who runs a busy one takes its memory off
            pool.idle.clear()
            await asyncio.gather(*(e.end() for e in live), return_exceptions=True)
        if not version:
            self._reserved.pop(arn, None)

    def reap(self) -> None:
        """End what has been idle for long, what died, and what has credentials that end soon."""
        moment, now = self._doors.clock.monotonic(), self._doors.clock.now()
        for pool in self._pools.values():
            for environment in list(pool.idle):
                fresh = environment.provisioned or moment - environment.idle_since < self._tuning.idle_s
                if not fresh or not environment.usable(now, environment.generation):
                    pool.idle.remove(environment)
                    self._remove(pool, environment)

    def latest(self, arn: str) -> Environment | None:
        """An environment of a function's ``$LATEST`` that lives."""
        pool = self._pools.get((arn, LATEST))
        return next((e for e in (*pool.busy, *pool.idle) if not e.ended), None) if pool is not None else None

    def in_use(self) -> list[Function]:
        """The function versions whose packages live environments have mounted."""
        return [e.function for p in self._pools.values() for e in (*p.idle, *p.busy)]

    async def stop(self) -> None:
        """End everything."""
        await asyncio.gather(*(self.forget(arn) for arn in {key[0] for key in self._pools}))
        await asyncio.gather(*self._ending, return_exceptions=True)

    def status(self) -> list[Mapping[str, Any]]:
        """One row for each function that has environments."""
        rows: list[Mapping[str, Any]] = []
        for (arn, version), pool in self._pools.items():
            if not pool.idle and not pool.running:
                continue
            frozen = sum(e.frozen for e in pool.idle)
            detail = f"{len(pool.busy)} busy, {len(pool.idle)} warm ({frozen} frozen), {pool.starting} starting"
            if pool.keep:
                detail += f", {pool.provisioned} of {pool.keep} provisioned"
            detail += "".join({f"; {e.runtime_note}" for e in (*pool.idle, *pool.busy) if e.runtime_note})
            state = "busy" if pool.running else "warm"
            name = arn.rpartition(":")[2] + (f":{version}" if version != LATEST else "")
            rows.append({"kind": "function", "id": name, "state": state, "detail": detail})
        return rows


def _available_mb() -> int:
    """Memory that programs may still take, in MB; where the system does not tell, enough. Source: proc_meminfo(5)."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) >> 10
    return _RESERVE_MB


def _throttled(reason: str) -> TooManyRequestsException:
    return TooManyRequestsException("Rate Exceeded.", Reason=reason)

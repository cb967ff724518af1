# SPDX-License-Identifier: Apache-2.0
"""The live side of RDS: brings what runs to what the rows say, and notices when it does not."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.services.rds import names, states, subnets, tables
from cloudchamber.services.rds.build import build
from cloudchamber.services.rds.control import Control, SqlError
from cloudchamber.services.rds.engine import Engine, EngineError
from cloudchamber.services.rds.front import Caller, Endpoint, Front
from cloudchamber.services.rds.guard import Guard
from cloudchamber.services.rds.postgres import LocalPostgres

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Doors

_log = logging.getLogger(__name__)
_TEMPLATE_AFTER_S = 3.0
_ATTEMPTS = 6
_MAINTENANCE_EVERY_S = 60.0
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Open:
    """What serves one available instance."""

    def __init__(self, front: Front, guard: Guard, endpoint: Endpoint) -> None:
        self.front = front
        self.guard = guard
        self.endpoint = endpoint
        self.unwatch: Callable[[], None] = lambda: None


class Served:
    """A listener of an EC2 instance that leads to an endpoint; `close` ends it."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close


class Databases:
    """DB instances of this chamber. EC2 uses `endpoints`, `serve` and `uses_group`."""

    def __init__(self, doors: Doors, engine: Engine | None = None) -> None:
        self._doors = doors
        self.engine: Engine = engine or LocalPostgres(doors.folder / "rds")
        self._open: dict[str, _Open] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Find running servers again and finish what was under way; get ready for the first instance soon."""
        rows = self._doors.database.read(tables.every)
        for row in rows:
            if row.status not in ("stopped", "failed"):
                self.wake(row.resource_id)
        self._aside(self._get_ready(0.0 if rows else _TEMPLATE_AFTER_S))
        self._aside(self._maintain())

    async def stop(self) -> None:
        """Close clients' connections; servers run on, and are found again."""
        self._stopping = True
        tasks = [*self._busy.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for resource_id in list(self._open):
            await self._close(resource_id)

    async def halt(self) -> None:
        """Stop every server as well: for taking the whole chamber down."""
        await self.stop()
        for row in self._doors.database.read(tables.every):
            await self.engine.stop(row.resource_id)

    def status(self) -> list[Mapping[str, Any]]:
        """One row for each DB instance."""
        found: list[Mapping[str, Any]] = []
        for row in self._doors.database.read(tables.every):
            opened = self._open.get(row.resource_id)
            detail = f"PostgreSQL {self.engine.version} at {row.address}:{row.port}"
            if opened is not None:
                detail += f", {opened.front.connections} connections"
            pid = self.engine.running(row.resource_id)
            found.append({"kind": "database", "id": row.name, "state": row.status, "detail": detail, "pid": pid})
        return found

    def wake(self, resource_id: str) -> None:
        """Look at a row again: its status says what to do."""
        if self._stopping:
            return
        if resource_id in self._busy:
            self._again.add(resource_id)
            return
        task = asyncio.create_task(self._settle(resource_id), name=f"rds {resource_id}")
        self._busy[resource_id] = task
        task.add_done_callback(lambda _: self._settled(resource_id))

    def endpoints(self) -> list[Endpoint]:
        """Endpoints that are open now."""
        return [opened.endpoint for opened in self._open.values()]

    def serve(self, listener: socket.socket, endpoint: Endpoint, *, peer_ip: str, instance_id: str) -> Served:
        """Accept an EC2 instance's connections to `endpoint`; security groups are asked for each.

        Raises:
            OSError: the endpoint is not open any more.
        """
        for opened in self._open.values():
            if opened.endpoint == endpoint:
                return Served(opened.front.serve(listener, Caller(peer_ip, instance_id)))
        raise ConnectionRefusedError(f"{endpoint.name} is not available")

    def uses_subnet(self, subnet_id: str) -> bool:
        """Whether a DB instance may be in a subnet."""

        def look(db: tables.Reader) -> bool:
            placed = {(one.account, one.region, one.subnet_group) for one in tables.every(db)}
            found = [subnets.find(db, *one) for one in placed]
            return any(subnet_id in one.subnets for one in found if one is not None)

        return self._doors.database.read(look)

    def uses_group(self, group_id: str) -> bool:
        """Whether a DB instance has this security group."""
        return any(group_id in row.groups for row in self._doors.database.read(tables.every))

    async def real(self, resource_id: str) -> Control:
        """A session of ours on a running server."""
        return await self.engine.control(resource_id)

    async def event(self, row: tables.Instance, category: str, message: str) -> None:
        """Write an event."""
        at = self._doors.clock.now().timestamp()
        await self._doors.database.write(lambda tx: tables.happened(tx, row, at, category, message))

    # -- from rows to reality

    def _aside(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settled(self, resource_id: str) -> None:
        self._busy.pop(resource_id, None)
        if resource_id in self._again:
            self._again.discard(resource_id)
            self.wake(resource_id)

    def _row(self, resource_id: str) -> tables.Instance | None:
        return self._doors.database.read(lambda db: tables.by_id(db, resource_id))

    async def _settle(self, resource_id: str) -> None:
        """Do what a row's status asks for, with patience for what fails."""
        pause_s = 0.2
        for attempt in range(1, _ATTEMPTS + 1):
            row = self._row(resource_id)
            if row is None:
                return
            try:
                await self._step(row)
            except (OSError, EOFError, SqlError, EngineError, ChamberError) as error:
                _log.error("%s (%s): %s", row.name, row.status, error)
                await self.event(row, "failure", f"{row.status}: {error} (attempt {attempt})")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 3, 20.0)
            except Exception as error:  # noqa: BLE001 - the edge of a task: the row must say it
                _log.exception("%s (%s)", row.name, row.status)
                await self.event(row, "failure", f"{row.status}: internal error: {type(error).__name__}")
                break
            else:
                return
        await self._happened(resource_id, "gave-up", "failure", "The DB instance could not be brought up.")

    async def _step(self, row: tables.Instance) -> None:
        if row.status in states.RISING or row.status == "available":
            await self._raise(row)
        elif row.status == "stopping":
            await self._close(row.resource_id)
            await self.engine.stop(row.resource_id)
            await self._happened(row.resource_id, "ended", "notification", "DB instance stopped")
        elif row.status == "deleting":
            await self._delete(row)

    async def _raise(self, row: tables.Instance) -> None:
        """Bring a server up and open its endpoint."""
        resource_id = row.resource_id
        if row.status == "rebooting" and self.engine.running(resource_id):
            await self._close(resource_id)
            await self.engine.stop(resource_id)
        if row.status == "modifying":
            row = await self._modify(row)
        if not row.built:
            await self.engine.create(resource_id)
        settings = {"max_connections": str(names.connections_max(row.instance_class))}
        await self.engine.start(resource_id, settings)
        if not row.built:
            await build(self.engine, row)
            row = await self._changed(row, built=True)
        await self._listen(row)
        if row.status == "available":
            return
        messages = {
            "creating": (
                "creation",
                f"DB instance created (PostgreSQL {self.engine.version}, asked for {row.engine_version})",
            ),
            "modifying": ("configuration change", "Finished applying modification"),
            "starting": ("notification", "DB instance started"),
        }
        category, message = messages.get(row.status, ("availability", "DB instance restarted"))
        await self._happened(resource_id, "works", category, message)

    async def _modify(self, row: tables.Instance) -> tables.Instance:
        """Apply what waits; a new class restarts the server."""
        pending = dict(row.pending)
        if {"instance_class", "port"} & pending.keys():
            await self._close(row.resource_id)
            await self.engine.stop(row.resource_id)
        return await self._changed(row, pending={}, **pending)

    async def _listen(self, row: tables.Instance) -> None:
        """Open the endpoint and see that it answers."""
        if row.resource_id in self._open:
            return
        doors = self._doors
        endpoint = Endpoint(row.resource_id, row.name, row.address, row.port)
        certificate = await asyncio.to_thread(doors.authority.issue, (row.address,))
        guard = Guard(doors, self.engine, row.resource_id)
        front = Front(
            endpoint, certificate, self.engine.address(row.resource_id), guard, doors.recorder, doors.clock
        )  # fmt: skip
        opened = _Open(front, guard, endpoint)
        try:
            front.listen()
            if not await front.answers():
                raise EngineError(f"{row.address}:{row.port} does not answer")
        except BaseException:
            front.close()
            raise
        self._open[row.resource_id] = opened
        opened.unwatch = self.engine.watch(row.resource_id, lambda: self._broke(row.resource_id, opened))
        self._tell_ec2("endpoint_added", endpoint)

    async def _close(self, resource_id: str) -> None:
        opened = self._open.pop(resource_id, None)
        if opened is None:
            return
        opened.unwatch()
        opened.front.close()
        await opened.guard.close()
        self._tell_ec2("endpoint_removed", opened.endpoint)

    def _tell_ec2(self, what: str, endpoint: Endpoint) -> None:
        tell = getattr(self._doors.parts.get("ec2"), what, None)
        if tell is not None and not self._stopping:
            tell(endpoint)

    def _broke(self, resource_id: str, opened: _Open) -> None:
        """The server's process is gone and nobody asked for it."""
        if self._open.get(resource_id) is opened and not self._stopping:
            self._aside(self._recover(resource_id))

    async def _recover(self, resource_id: str) -> None:
        await self._close(resource_id)
        tail = self.engine.log_tail(resource_id, 300)
        _log.error("the server of %s ended by itself: %s", resource_id, tail)
        await self._happened(resource_id, "broke", "recovery", "PostgreSQL ended by itself; recovery has started")
        self.wake(resource_id)

    async def _delete(self, row: tables.Instance) -> None:
        await self._close(row.resource_id)
        await self.engine.destroy(row.resource_id)
        if row.secret_owned:
            request = {"SecretId": row.secret_arn, "ForceDeleteWithoutRecovery": True}
            principal = service_principal("rds.amazonaws.com", row.account, row.arn)
            try:
                await self._doors.ask("secretsmanager", "DeleteSecret", request, principal=principal, region=row.region)
            except ServiceError as error:
                if error.code != "ResourceNotFoundException":
                    await self.event(row, "failure", f"the master user secret could not be deleted: {error.code}")
        at = self._doors.clock.now().timestamp()

        def gone(tx: tables.Tx) -> None:
            tables.happened(tx, row, at, "deletion", "DB instance deleted")
            tables.remove(tx, row)

        await self._doors.database.write(gone)

    async def _changed(self, row: tables.Instance, **changes: Any) -> tables.Instance:
        changed = await self._doors.database.write(lambda tx: tables.change(tx, row.resource_id, **changes))
        if changed is None:
            raise EngineError(f"{row.name} is gone")
        return changed

    async def _happened(self, resource_id: str, event: states.Event, category: str, message: str) -> None:
        """Move a row by the table, with its event, in one write; nothing if that step does not exist any more."""
        at = self._doors.clock.now().timestamp()

        def write(tx: tables.Tx) -> None:
            row = tables.by_id(tx, resource_id)
            state = states.after(row.status, event) if row is not None else None
            if row is not None and state is not None:
                tables.change(tx, resource_id, status=state)
                tables.happened(tx, row, at, category, message)

        await self._doors.database.write(write)

    # -- in the background

    async def _get_ready(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        try:
            await self.engine.prepare()
        except (OSError, EngineError, ChamberError) as error:
            _log.error("DB instances cannot be made: %s", error)

    async def _maintain(self) -> None:
        """Apply what waits for its maintenance window."""
        while True:
            await asyncio.sleep(_MAINTENANCE_EVERY_S)
            now = self._doors.clock.now()
            try:
                for row in self._doors.database.read(tables.every):
                    if row.pending and row.status == "available" and in_window(row.maintenance_window, now):
                        await self._changed(row, status="modifying")
                        self.wake(row.resource_id)
            except Exception:  # noqa: BLE001 - the edge of a task: an instance that is deleted meanwhile, a full disk
                _log.exception("maintenance was left for the next look")


def in_window(window: str, now: datetime) -> bool:
    """Whether `now` is inside ``ddd:hh24:mi-ddd:hh24:mi`` (UTC)."""
    begin, _, end = window.partition("-")
    week = timedelta(days=7)
    monday = (now - timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)

    def moment(text: str) -> timedelta:
        day, hour, minute = text.split(":")
        return timedelta(days=_DAYS.index(day.lower()), hours=int(hour), minutes=int(minute))

    since = (now.astimezone(UTC) - monday - moment(begin)) % week
    return since < (moment(end) - moment(begin)) % week

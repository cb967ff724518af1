# SPDX-License-Identifier: Apache-2.0
"""What an operation on a stack writes down, and the work on one resource.

Every step is written before it is done, with what is needed to undo it, so that an operation survives the end of
the chamber.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.agent import About, StackAgent
from cloudchamber.services.cloudformation.dynamic import fill
from cloudchamber.services.cloudformation.tables import Resource, Stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.resource import Made, ResourceType
    from cloudchamber.services.cloudformation.agent import Caller
    from cloudchamber.store.database import Tx

PARALLEL_MAX = 16
REASON_MAX = 2000
_log = logging.getLogger(__name__)


class Failed(Exception):  # noqa: N818 - an outcome that the operation answers with a rollback
    """A phase of the operation did not reach its goal; the text is the stack's reason."""


class Journal:
    """The rows of one stack while an operation works on it."""

    def __init__(self, doors: Doors, types: Mapping[str, ResourceType], stack: Stack, caller: Caller) -> None:
        self.stack = stack
        self.rows = doors.database.read(lambda db: tables.resources(db, stack.stack_id))
        self._doors = doors
        self._types = types
        self._caller = caller
        self._slots = asyncio.Semaphore(PARALLEL_MAX)
        self._position = max((row.position for row in self.rows.values()), default=0)

    # What is written

    def _now(self) -> str:
        return iso(self._doors.clock.now())

    async def say(
        self, status: str, reason: str = "", more: Callable[[Tx], object] | None = None, **changes: Any
    ) -> None:
        """Give the stack a status, with its event, and whatever belongs to the same moment."""
        stack = self.stack = replace(self.stack, status=status, reason=reason[:REASON_MAX], **changes)
        at = self._now()

        def change(tx: Tx) -> None:
            if more is not None:
                more(tx)
            tables.put_stack(tx, stack)
            tables.add_stack_event(tx, stack, at)

        await self._doors.database.write(change)

    async def _put(self, row: Resource, *, told: bool = True) -> Resource:
        """Write a resource, with its event."""
        row = self.rows[row.logical_id] = replace(row, at=self._now(), reason=row.reason[:REASON_MAX])
        token = self.stack.token

        def change(tx: Tx) -> None:
            tables.put_resource(tx, row)
            if told:
                tables.add_event(tx, row, token)

        await self._doors.database.write(change)
        return row

    async def _tell(self, row: Resource) -> None:
        """An event of a resource that has no row any more."""
        row, token = replace(row, at=self._now(), reason=row.reason[:REASON_MAX]), self.stack.token
        await self._doors.database.write(lambda tx: tables.add_event(tx, row, token))

    def _agent(self, logical_id: str, unique: str) -> StackAgent:
        async def claim(name: str, physical_id: str, reason: str) -> None:
            row = self.rows.get(logical_id)
            if row is None:
                return
            if name:
                await self._put(replace(row, body=replace(row.body, claimed=name)), told=False)
            elif physical_id:
                await self._put(replace(row, physical_id=physical_id, reason="Resource creation Initiated"))
            else:
                await self._put(replace(row, reason=reason))

        stack = self.stack
        about = About(stack.account, stack.region, self._doors.clock, stack.name, stack.stack_id, stack.settings.tags)
        answers = self._doors.parts["cloudformation"].answers
        return StackAgent(about, self._caller, logical_id, unique, claim, answers)

    # In order

    async def _in_order(
        self, needs: Mapping[str, frozenset[str]], one: Callable[[str], Awaitable[str]]
    ) -> dict[str, str]:
        """Run `one` for each name after those it needs, side by side; which failed, with what (``create``)."""
        waiting = dict(needs)
        done: set[str] = set()
        failed: dict[str, str] = {}
        running: dict[asyncio.Task[str], str] = {}
        try:
            while (waiting and not failed) or running:
                if not failed:
                    for name in [name for name, needed in waiting.items() if needed <= done]:
                        del waiting[name]
                        running[asyncio.create_task(self._limited(one, name))] = name
                if not running:
                    break
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    name = running.pop(task)
                    problem = task.result()
                    done.add(name)
                    if problem:
                        failed[name] = problem
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return failed

    async def _limited(self, one: Callable[[str], Awaitable[str]], name: str) -> str:
        async with self._slots:
            return await one(name)

    # One resource

    async def _change(
        self, row: Resource, kind: ResourceType, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> str:
        agent = self._agent(row.logical_id, row.body.unique)

        async def update() -> Made:
            if kind.update is None:
                raise ValidationError(f"{row.type} cannot be updated in place")
            old, new = await fill(before, agent.ask), await fill(after, agent.ask)
            return await kind.update(agent, row.physical_id, old, new)

        return await self._finish(row, agent, update, "UPDATE")

    async def _finish(self, row: Resource, agent: StackAgent, work: Callable[[], Awaitable[Made]], verb: str) -> str:
        """Do the work of a row and write how it ended; what went wrong, or nothing."""
        try:
            made = await work()
        except ServiceError as error:
            problem = _handler_message(error)
        except Exception:  # noqa: BLE001 - the edge of a resource type: its mistake must fail one stack only
            _log.exception("%s of %s failed", verb, row.type)
            problem = "Internal Failure"
        else:
            await agent.flush()
            now = self.rows[row.logical_id]
            body = replace(now.body, attributes=dict(made.attributes), ref=made.ref, masked=made.masked)
            await self._put(replace(now, status=f"{verb}_COMPLETE", reason="", physical_id=made.physical_id, body=body))
            return ""
        await agent.flush()
        await self._put(replace(self.rows[row.logical_id], status=f"{verb}_FAILED", reason=problem))
        return problem

    async def _remove(self, row: Resource) -> str:
        """Delete the physical resource; what went wrong, or nothing."""
        kind = self._types.get(row.type)
        if kind is None:
            return f"Unrecognized resource types: [{row.type}]"
        agent = self._agent(row.logical_id, row.body.unique)
        agent.snapshot = row.body.deletion_policy == "Snapshot"
        try:
            # Why not filled: a secret that is gone must not keep a resource from being deleted.
            await kind.delete(agent, row.physical_id, row.body.properties)
        except ServiceError as error:
            return _handler_message(error)
        except Exception:  # noqa: BLE001 - the edge of a resource type: its mistake must fail one stack only
            _log.exception("delete of %s failed", row.type)
            return "Internal Failure"
        return ""


def snapshot(row: Resource) -> dict[str, Any]:
    """A row as it was before an operation touched it."""
    return {"physical_id": row.physical_id, "status": row.status, "body": json.loads(json.dumps(asdict(row.body)))}


def failures(failed: Mapping[str, str]) -> str:
    """A stack's reason, from which resources failed with what."""
    parts: list[str] = []
    for verb in ("create", "update", "delete"):
        names = [name for name, problem in failed.items() if problem == verb]
        if names:
            parts.append(f"The following resource(s) failed to {verb}: [{', '.join(names)}]. ")
    return "".join(parts)


def _handler_message(error: ServiceError) -> str:
    if "AccessDenied" in error.code or "Unauthorized" in error.code:
        kind = "AccessDenied"
    elif "AlreadyExists" in error.code or error.status == 409:
        kind = "AlreadyExists"
    elif error.status == 404 or "NotFound" in error.code or error.code.startswith("NoSuch"):
        kind = "NotFound"
    else:
        kind = "InvalidRequest" if error.status < 500 else "GeneralServiceException"
    return f'Resource handler returned message: "{error.message or error.code}" (HandlerErrorCode: {kind})'

# SPDX-License-Identifier: Apache-2.0
"""The live side of CloudFormation: operations under way, and those that a stopped chamber left behind."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.clock import iso
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.agent import Caller, principal_from_json, principal_to_json
from cloudchamber.services.cloudformation.answers import Answers
from cloudchamber.services.cloudformation.execute import Execution, ended
from cloudchamber.services.cloudformation.journal import Failed
from cloudchamber.services.cloudformation.prepare import resource_types
from cloudchamber.track.track import Trace

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.services.cloudformation.execute import Aim
    from cloudchamber.services.cloudformation.tables import Stack
    from cloudchamber.store.database import Tx

_STOPPED = "The chamber stopped while the stack was being {}. "
SETTLE_S = 1.0
_log = logging.getLogger(__name__)


def operation_json(principal: Principal, trace: Trace | None, **more: Any) -> str:
    """What a restarted chamber needs to go on as the same caller; it holds no secret."""
    return json.dumps({"principal": principal_to_json(principal), "trace": trace.header() if trace else "", **more})


def previous_json(stack: Stack) -> str:
    """What a rollback gives back to the stack."""
    return json.dumps(
        {
            "settings": asdict(stack.settings),
            "template": stack.template,
            "processed": stack.processed,
            "parameters": tables.values_to_json(stack.parameters),
            "outputs": list(stack.outputs),
            "change_set_id": stack.change_set_id,
        }
    )


def previous_of(stack: Stack) -> dict[str, Any]:
    """The fields of the stack's row that a rollback restores."""
    if not stack.previous:
        return {}
    old = json.loads(stack.previous)
    return {
        "settings": tables.settings_from(old["settings"]),
        "template": old["template"],
        "processed": old["processed"],
        "parameters": tables.values_from_json(old["parameters"]),
        "outputs": tuple(old["outputs"]),
        "change_set_id": old["change_set_id"],
    }


class Engine:
    """Runs one operation at a time for each stack."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self.answers = Answers(doors)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._recovery: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what the last chamber left: operations are rolled back, deletions go on."""
        self.answers.open()
        left = self._doors.database.read(tables.interrupted)
        if left:
            self._recovery = asyncio.create_task(self._recover(left), name="cloudformation-recovery")

    async def stop(self) -> None:
        """Leave what is under way to the next start."""
        tasks = [*self._running.values()] + ([self._recovery] if self._recovery else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def status(self) -> list[Mapping[str, Any]]:
        """The stacks with an operation under way."""
        rows: list[Mapping[str, Any]] = []
        for stack_id in self._running:
            stack = self._doors.database.read(lambda db, wanted=stack_id: tables.stack_by_id(db, wanted))
            if stack is not None:
                rows.append({"kind": "stack", "id": stack.name, "state": stack.status, "detail": stack.reason})
        return rows

    async def _recover(self, left: Sequence[Stack]) -> None:
        # Why: parts start side by side; instances and databases are taken up by theirs first.
        await asyncio.sleep(SETTLE_S)
        for stack in left:
            self._begin(stack, self._resume(stack))

    def _begin(self, stack: Stack, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guard(stack.stack_id, work), name=f"stack {stack.name}")
        self._running[stack.stack_id] = task

        def ended_now(done: asyncio.Task[None]) -> None:
            if self._running.get(stack.stack_id) is done:
                del self._running[stack.stack_id]

        task.add_done_callback(ended_now)

    async def interrupt(self, stack_id: str) -> None:
        """End the operation on a stack where it stands, so that another one can take over."""
        task = self._running.get(stack_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Why: a write that the task had queued is committed all the same; what is read next must have it.
            await self._doors.database.write(lambda tx: None)

    async def _guard(self, stack_id: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the edge of an operation: the stack must say that it failed
            _log.exception("the operation on %s failed", stack_id)
            stack = self._doors.database.read(lambda db: tables.stack_by_id(db, stack_id))
            if stack is not None:
                run = self._execution(stack)
                await run.say(_failed_status(stack.status), "Internal Failure", **ended())

    def _execution(self, stack: Stack) -> Execution:
        known: dict[str, Any] = json.loads(stack.operation)
        principal = principal_from_json(known["principal"])
        trace = Trace.parse(known.get("trace", "")) or Trace.begin(int(self._doors.clock.now().timestamp()))
        caller = Caller(self._doors, principal, stack.settings.role_arn, stack.stack_id, trace)
        return Execution(self._doors, resource_types(self._doors), stack, caller)

    # Create

    def create(self, stack: Stack, aim: Aim) -> None:
        """Begin to create a stack whose row says CREATE_IN_PROGRESS."""
        self._begin(stack, self._create(self._execution(stack), aim))

    async def _create(self, run: Execution, aim: Aim) -> None:
        minutes = run.stack.settings.timeout_min
        try:
            async with asyncio.timeout(minutes * 60 or None):
                await run.apply(aim, tags_changed=False, updating=False)
            await run.settle(aim, "CREATE_COMPLETE")
            return
        except Failed as failed:
            reason = str(failed)
        except TimeoutError:
            reason = "Stack creation time exceeded the specified timeout. "
        await self._not_created(run, reason)

    async def _not_created(self, run: Execution, reason: str) -> None:
        settings = run.stack.settings
        if settings.disable_rollback or settings.on_failure == "DO_NOTHING":
            await run.accept()
            await run.say("CREATE_FAILED", reason, **ended())
        elif settings.on_failure == "DELETE":
            await run.say("DELETE_IN_PROGRESS", reason + "Delete requested by user.")
            await self._remove(run, ())
        else:
            await run.say("ROLLBACK_IN_PROGRESS", reason + "Rollback requested by user.")
            await self._roll_back_create(run)

    async def _roll_back_create(self, run: Execution) -> None:
        try:
            await run.remove(rollback=True)
        except Failed as failed:
            await run.say("ROLLBACK_FAILED", str(failed), **ended())
        else:
            await run.say("ROLLBACK_COMPLETE", **ended())

    # Update

    def update(self, stack: Stack, aim: Aim, *, tags_changed: bool) -> None:
        """Begin to update a stack whose row says UPDATE_IN_PROGRESS."""
        self._begin(stack, self._update(self._execution(stack), aim, tags_changed=tags_changed))

    async def _update(self, run: Execution, aim: Aim, *, tags_changed: bool) -> None:
        try:
            await run.apply(aim, tags_changed=tags_changed, updating=True)
            await run.settle(aim, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        except Failed as failed:
            await self._not_updated(run, str(failed))
        else:
            await self._clean(run, "UPDATE_COMPLETE")

    async def _clean(self, run: Execution, last: str) -> None:
        await run.clean()
        await run.say(last, **ended())

    async def _not_updated(self, run: Execution, reason: str) -> None:
        if run.stack.settings.disable_rollback:
            await run.accept()
            await run.say("UPDATE_FAILED", reason, **ended())
            return
        await run.say("UPDATE_ROLLBACK_IN_PROGRESS", reason, **previous_of(run.stack))
        await self._unwind(run)

    async def _unwind(self, run: Execution) -> None:
        try:
            await run.unwind()
        except Failed as failed:
            await run.say("UPDATE_ROLLBACK_FAILED", str(failed), **ended())
            return
        await run.say("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        await self._clean(run, "UPDATE_ROLLBACK_COMPLETE")

    def cancel_update(self, stack: Stack) -> None:
        """Begin to roll back a stack whose interrupted update left it UPDATE_IN_PROGRESS."""
        stack = replace(stack, settings=replace(stack.settings, disable_rollback=False))
        self._begin(stack, self._not_updated(self._execution(stack), "User Initiated"))

    def go_on_unwinding(self, stack: Stack) -> None:
        """Try again to roll back a stack whose row says UPDATE_ROLLBACK_IN_PROGRESS."""
        self._begin(stack, self._unwind(self._execution(stack)))

    # Delete

    def delete(self, stack: Stack, retain: Sequence[str]) -> None:
        """Begin to delete a stack whose row says DELETE_IN_PROGRESS."""
        self._begin(stack, self._remove(self._execution(stack), retain))

    async def _remove(self, run: Execution, retain: Sequence[str]) -> None:
        try:
            await run.remove(retain)
            await run.clean()
        except Failed as failed:
            await run.say("DELETE_FAILED", str(failed), **ended())
            return
        stack = run.stack

        def forget(tx: Tx) -> None:
            tables.set_exports(tx, stack, {})
            tables.set_imports(tx, stack, frozenset())
            tables.drop_change_sets(tx, stack.stack_id)

        await run.say("DELETE_COMPLETE", more=forget, deleted=iso(self._doors.clock.now()), **ended())

    # After a restart

    async def _resume(self, stack: Stack) -> None:
        run = self._execution(stack)
        retain = json.loads(stack.operation).get("retain", ())
        if stack.status == "CREATE_IN_PROGRESS":
            await self._not_created(run, _STOPPED.format("created"))
        elif stack.status == "ROLLBACK_IN_PROGRESS":
            await self._roll_back_create(run)
        elif stack.status == "UPDATE_IN_PROGRESS":
            await self._not_updated(run, _STOPPED.format("updated"))
        elif stack.status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":
            await self._clean(run, "UPDATE_COMPLETE")
        elif stack.status == "UPDATE_ROLLBACK_IN_PROGRESS":
            await self._unwind(run)
        elif stack.status == "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS":
            await self._clean(run, "UPDATE_ROLLBACK_COMPLETE")
        elif stack.status == "DELETE_IN_PROGRESS":
            await self._remove(run, retain)


def _failed_status(status: str) -> str:
    verb = status.removesuffix("_IN_PROGRESS").removesuffix("_COMPLETE_CLEANUP")
    return f"{verb}_FAILED" if not verb.endswith("_FAILED") else verb

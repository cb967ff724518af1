# SPDX-License-Identifier: Apache-2.0
"""One operation on one stack, from its first event to its last.

Every step is written before it is done, with what is needed to undo it, so that an operation survives the end of
the chamber: at the next start `resume` rolls back (or goes on to delete) from the rows alone, as the same caller.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.agent import About, StackAgent
from cloudchamber.services.cloudformation.dynamic import fill
from cloudchamber.services.cloudformation.intrinsics import condition, resolve
from cloudchamber.services.cloudformation.plan import compare, lookup
from cloudchamber.services.cloudformation.shapes import check_properties
from cloudchamber.services.cloudformation.tables import Body, Leftover, Resource, Stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.resource import Made, ResourceType
    from cloudchamber.services.cloudformation.agent import Caller
    from cloudchamber.services.cloudformation.plan import Goal
    from cloudchamber.services.cloudformation.template import Declared, Template
    from cloudchamber.store.database import Tx

PARALLEL_MAX = 16
REASON_MAX = 2000
STOPPED = "Resource creation cancelled: the chamber stopped before it was finished"
_REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."
_RETAINED = frozenset({"Retain"})
_NOT_THERE = ("(HandlerErrorCode: NotFound)", "(HandlerErrorCode: InvalidRequest)")
_log = logging.getLogger(__name__)


class Failed(Exception):  # noqa: N818 - an outcome that the operation answers with a rollback
    """A phase of the operation did not reach its goal; the text is the stack's reason."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A template with what resolves it."""

    template: Template
    goal: Goal
    imports: set[str]
    """Exports of other stacks that were used so far while resolving."""


class Execution:
    """The work on one stack."""

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
        return StackAgent(about, self._caller, logical_id, unique, claim)

    # Forward

    async def apply(self, aim: Aim, *, tags_changed: bool, updating: bool) -> None:
        """Create and update until the stack is what `aim` says.

        Raises:
            Failed: some resource did not get there; what was begun has ended, nothing else was begun.
        """
        goal = aim.goal

        async def one(name: str) -> str:
            try:
                return await self._reach(goal, name, tags_changed=tags_changed, updating=updating)
            except (KeyError, ValidationError) as error:
                return await self._unresolved(goal.resources[name], str(error), updating=updating)

        failed = await self._in_order(goal.edges, one)
        if failed:
            raise Failed(_failures(failed))

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

    def _ref(self, name: str) -> Any:
        row = self.rows[name]
        return row.body.ref or row.physical_id

    def _attribute(self, name: str, attribute: str) -> Any:
        row = self.rows[name]
        try:
            return lookup(row.body.attributes, attribute)
        except KeyError:
            raise ValidationError(f"Attribute '{attribute}' of resource {name} does not exist") from None

    async def _reach(self, goal: Goal, name: str, *, tags_changed: bool, updating: bool) -> str:
        declared = goal.resources[name]
        kind = self._types[declared.type]
        properties = resolve(declared.properties, replace(goal.scope, ref=self._ref, attribute=self._attribute))
        shown = resolve(declared.properties, replace(goal.shown, ref=self._ref, attribute=self._attribute))
        check_properties(name, kind, properties)
        row = self.rows.get(name)
        body = _body(declared, goal.edges[name], properties, shown)
        if row is None or not row.exists or row.status == "CREATE_FAILED":
            return await self._create(declared, kind, body, updating=updating)
        differences = compare(kind, row.body.properties, properties)
        tags = tags_changed and "Tags" in kind.properties
        if not differences and not tags and row.status != "UPDATE_FAILED":
            kept = replace(
                row.body,
                declared=body.declared,
                needs=body.needs,
                deletion_policy=body.deletion_policy,
                update_replace_policy=body.update_replace_policy,
                metadata=body.metadata,
            )
            if kept != row.body:
                previous = row.previous if row.previous is not None else _snapshot(row)
                await self._put(replace(row, body=kept, previous=previous), told=False)
            return ""
        if kind.update is None or any(item.update == "replace" for item in differences):
            return await self._replace(row, kind, body)
        return await self._update(row, kind, body)

    async def _unresolved(self, declared: Declared, problem: str, *, updating: bool) -> str:
        row = self.rows.get(declared.logical_id)
        status = "UPDATE_FAILED" if row is not None and row.exists and row.physical_id else "CREATE_FAILED"
        if row is None or status == "CREATE_FAILED":
            row = self._fresh(declared, Body(), updating=updating)
        elif row.previous is None:
            row = replace(row, previous=_snapshot(row))
        await self._put(replace(row, status=status, reason=problem))
        return "update" if status == "UPDATE_FAILED" else "create"

    def _fresh(self, declared: Declared, body: Body, *, updating: bool) -> Resource:
        self._position += 1
        return Resource(
            self.stack.stack_id,
            declared.logical_id,
            self._position,
            declared.type,
            "CREATE_IN_PROGRESS",
            self._now(),
            replace(body, unique=ids.letters(12).upper()),
            previous={} if updating else None,
        )

    async def _create(self, declared: Declared, kind: ResourceType, body: Body, *, updating: bool) -> str:
        row = await self._put(self._fresh(declared, body, updating=updating))
        return "create" if await self._make(row, kind, "CREATE") else ""

    async def _replace(self, row: Resource, kind: ResourceType, body: Body) -> str:
        previous = _snapshot(row) if row.previous is None else row.previous
        fresh = replace(body, unique=ids.letters(12).upper())
        changed = replace(
            row, status="UPDATE_IN_PROGRESS", reason=_REPLACING, physical_id="", body=fresh, previous=previous
        )
        return "update" if await self._make(await self._put(changed), kind, "UPDATE") else ""

    async def _make(self, row: Resource, kind: ResourceType, verb: str) -> str:
        """Create the physical resource of a row; what went wrong."""
        agent = self._agent(row.logical_id, row.body.unique)

        async def create() -> Made:
            return await kind.create(agent, await fill(row.body.properties, agent.ask))

        return await self._finish(row, agent, create, verb)

    async def _update(self, row: Resource, kind: ResourceType, body: Body) -> str:
        previous = _snapshot(row) if row.previous is None else row.previous
        old = row.body
        fresh = replace(body, unique=old.unique, claimed=old.claimed, ref=old.ref, attributes=old.attributes)
        row = await self._put(replace(row, status="UPDATE_IN_PROGRESS", reason="", body=fresh, previous=previous))
        return "update" if await self._change(row, kind, old.properties, fresh.properties) else ""

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
            body = replace(now.body, attributes=dict(made.attributes), ref=made.ref)
            await self._put(replace(now, status=f"{verb}_COMPLETE", reason="", physical_id=made.physical_id, body=body))
            return ""
        await agent.flush()
        await self._put(replace(self.rows[row.logical_id], status=f"{verb}_FAILED", reason=problem))
        return problem

    # The end of a success

    def outputs(self, aim: Aim) -> tuple[tuple[Mapping[str, str], ...], dict[str, str]]:
        """Outputs as DescribeStacks answers them, and exports."""
        # Why not masked: NoEcho does not hide what a template puts into its Outputs.
        scope = replace(aim.goal.scope, ref=self._ref, attribute=self._attribute)
        found: list[Mapping[str, str]] = []
        exported: dict[str, str] = {}
        for output in aim.template.outputs.values():
            if output.condition and not condition(output.condition, scope):
                continue
            value = resolve(output.value, scope)
            if isinstance(value, (dict, list)):
                raise Failed(
                    f"Template format error: Output {output.name} is malformed. The Value field of every "
                    "Outputs member must evaluate to a String."
                )
            text = ("true" if value else "false") if isinstance(value, bool) else str(value)
            row = {"OutputKey": output.name, "OutputValue": text}
            if output.description:
                row["Description"] = output.description
            if output.export is not None:
                row["ExportName"] = str(resolve(output.export, scope))
                exported[row["ExportName"]] = text
            found.append(row)
        return tuple(found), exported

    def check_exports(self, exported: Mapping[str, str]) -> None:
        """Refuse exports that another stack has, and changes to those that others use.

        Raises:
            Failed: the export and the stacks, by name.
        """
        stack = self.stack

        def look(db: Any) -> None:
            for name in exported:
                owner = tables.export(db, stack.account, stack.region, name)
                if owner and owner[0] != stack.stack_id:
                    raise Failed(f"Export with name {name} is already exported by stack {owner[0].split('/')[1]}")
            for row in tables.exports(db, stack.account, stack.region):
                if row["stack_id"] != stack.stack_id or exported.get(row["name"]) == row["value"]:
                    continue
                users = tables.importers(db, stack.account, stack.region, row["name"])
                if users:
                    verb = "updated" if row["name"] in exported else "deleted"
                    raise Failed(f"Export {row['name']} cannot be {verb} as it is in use by {' and '.join(users)}")

        self._doors.database.read(look)

    async def settle(self, aim: Aim, status: str) -> None:
        """Write the outputs, exports and imports of a success; what is not in the goal becomes a leftover.

        Raises:
            Failed: an output or an export cannot be.
        """
        try:
            outputs, exported = self.outputs(aim)
        except (KeyError, ValidationError) as error:
            raise Failed(str(error)) from error
        self.check_exports(exported)
        goal, rows = aim.goal, dict(self.rows)

        def change(tx: Tx) -> None:
            for name, row in rows.items():
                if name not in goal.resources:
                    if row.physical_id and row.exists:
                        tables.add_leftover(tx, row.stack_id, name, row.type, row.physical_id, row.body)
                    tables.drop_resource(tx, row.stack_id, name)
                elif row.previous is not None:
                    old = row.previous
                    if old and old["physical_id"] != row.physical_id:
                        body = replace(tables.body_from(old["body"]), deletion_policy=row.body.update_replace_policy)
                        tables.add_leftover(tx, row.stack_id, name, row.type, old["physical_id"], body)
                    tables.put_resource(tx, replace(row, previous=None))
            tables.set_exports(tx, self.stack, exported)
            tables.set_imports(tx, self.stack, frozenset(aim.imports))

        last = status.endswith("_COMPLETE")
        await self.say(status, more=change, outputs=outputs, **(_ENDED if last else {}))
        self.rows = {n: replace(r, previous=None) for n, r in self.rows.items() if n in goal.resources}

    async def clean(self) -> None:
        """Delete the leftovers. One that cannot be deleted is told of and left, as CloudFormation does."""
        stack_id = self.stack.stack_id
        found = self._doors.database.read(lambda db: tables.leftovers(db, stack_id))
        by_key = {f"{item.logical_id}/{item.id}": item for item in found}
        needs = _reversed({key: (item.logical_id, item.body.needs) for key, item in by_key.items()})

        async def one(key: str) -> str:
            await self._clean_one(by_key[key])
            return ""

        await self._in_order(needs, one)

    async def _clean_one(self, item: Leftover) -> None:
        row = Resource(
            self.stack.stack_id, item.logical_id, 0, item.type, "DELETE_IN_PROGRESS", "", item.body, item.physical_id
        )
        if item.body.deletion_policy in ("Retain", "RetainExceptOnCreate"):
            await self._tell(replace(row, status="DELETE_SKIPPED"))
        else:
            await self._tell(row)
            problem = await self._remove(row)
            await self._tell(replace(row, status="DELETE_FAILED" if problem else "DELETE_COMPLETE", reason=problem))
        await self._doors.database.write(lambda tx: tables.drop_leftover(tx, item.id))

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

    # Back

    async def unwind(self) -> None:
        """Undo an update from the rows: what it changed is changed back, what it made becomes a leftover.

        Raises:
            Failed: something could not be changed back.
        """
        await self._mark_interrupted()
        touched = {name: row for name, row in self.rows.items() if row.previous is not None}
        back = {
            name: row
            for name, row in touched.items()
            if row.previous and row.previous["physical_id"] == row.physical_id and not self._same(row)
        }
        needs = {
            name: frozenset(n for n in row.previous["body"]["needs"] if n in back)
            for name, row in back.items()
            if row.previous
        }

        async def one(name: str) -> str:
            return await self._change_back(back[name])

        failed = await self._in_order(needs, one)
        if failed:
            raise Failed(_failures(failed))
        await self._restore(touched)

    def _same(self, row: Resource) -> bool:
        """Whether the update changed nothing of the resource itself."""
        old = row.previous or {}
        return old.get("body", {}).get("properties") == row.body.properties and old.get("status") == row.status

    async def _change_back(self, row: Resource) -> str:
        previous = row.previous or {}
        kind = self._types[row.type]
        old = tables.body_from(previous["body"])
        row = await self._put(replace(row, status="UPDATE_IN_PROGRESS", reason=""))
        problem = await self._change(row, kind, row.body.properties, old.properties)
        if problem:
            return "update"
        return ""

    async def _restore(self, touched: Mapping[str, Resource]) -> None:
        """Give every touched row its old state; new physical resources become leftovers."""
        replaced: list[Resource] = []

        def change(tx: Tx) -> None:
            replaced.clear()
            for name, row in touched.items():
                now = self.rows[name]
                if not row.previous:
                    if now.physical_id:
                        tables.add_leftover(tx, now.stack_id, name, now.type, now.physical_id, _rollback_body(now.body))
                    tables.drop_resource(tx, now.stack_id, name)
                    continue
                if row.previous["physical_id"] != now.physical_id:
                    if now.physical_id:
                        tables.add_leftover(tx, now.stack_id, name, now.type, now.physical_id, _rollback_body(now.body))
                    replaced.append(now)
                status = now.status if now.status.endswith("_COMPLETE") else "UPDATE_COMPLETE"
                body = tables.body_from(row.previous["body"])
                restored = replace(
                    now,
                    status=status,
                    reason="",
                    physical_id=row.previous["physical_id"],
                    body=body,
                    previous=None,
                    at=self._now(),
                )
                tables.put_resource(tx, restored)
                if now in replaced:
                    tables.add_event(tx, restored, self.stack.token)

        await self._doors.database.write(change)
        self.rows = self._doors.database.read(lambda db: tables.resources(db, self.stack.stack_id))

    async def _mark_interrupted(self) -> None:
        """Rows that were in progress when the work stopped: failed, with whatever id is known of them."""
        for row in list(self.rows.values()):
            if row.status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"):
                known = row.physical_id or row.body.claimed
                verb = row.status.partition("_")[0]
                await self._put(replace(row, status=f"{verb}_FAILED", reason=STOPPED, physical_id=known))

    async def accept(self) -> None:
        """End a failed operation without a rollback: what is there stays, to be updated or deleted."""
        await self._mark_interrupted()
        for row in list(self.rows.values()):
            if row.status == "UPDATE_FAILED" and row.previous and row.previous["physical_id"] == row.physical_id:
                # Why: the next update must see the properties that are really applied.
                await self._put(replace(row, body=tables.body_from(row.previous["body"]), previous=None), told=False)
            elif row.status == "UPDATE_FAILED" and row.previous:
                old = row.previous
                restored = replace(
                    row, physical_id=old["physical_id"], body=tables.body_from(old["body"]), previous=None
                )
                await self._put(restored, told=False)
            elif row.previous is not None:
                await self._put(replace(row, previous=None), told=False)

    async def remove(self, retain: Iterable[str] = (), *, rollback: bool = False) -> None:
        """Delete every resource, those that need others first.

        Raises:
            Failed: some could not be deleted, by name.
        """
        await self._mark_interrupted()
        retained = set(retain)
        present = {name: row for name, row in self.rows.items() if row.exists}
        needs = _reversed({name: (name, row.body.needs) for name, row in present.items()})
        failed: list[str] = []

        async def one(name: str) -> str:
            problem = await self._remove_one(present[name], keep=name in retained, rollback=rollback)
            if problem:
                failed.append(name)
            return ""

        async def unless_needed(name: str) -> str:
            # Why: what a remaining resource still uses is not tried; CloudFormation leaves it too.
            if any(other in failed for other in needs[name]):
                failed.append(name)
                return ""
            return await one(name)

        await self._in_order(needs, unless_needed)
        if failed:
            raise Failed(f"The following resource(s) failed to delete: [{', '.join(sorted(failed))}]. ")

    async def _remove_one(self, row: Resource, *, keep: bool, rollback: bool) -> str:
        policy = row.body.deletion_policy
        if policy == "RetainExceptOnCreate" or (policy == "Retain" and self.stack.settings.retain_except_on_create):
            policy = "Delete" if rollback else "Retain"
        if keep or (policy in _RETAINED and row.physical_id and row.status != "CREATE_FAILED"):
            await self._put(replace(row, status="DELETE_SKIPPED", reason="", previous=None))
            return ""
        if not row.physical_id:
            reason = row.reason if row.reason == STOPPED else ""
            await self._put(replace(row, status="DELETE_COMPLETE", reason=reason, previous=None))
            return ""
        guessed = row.reason == STOPPED and row.physical_id == row.body.claimed
        row = await self._put(replace(row, status="DELETE_IN_PROGRESS", reason=""))
        problem = await self._remove(row)
        if problem and guessed and problem.endswith(_NOT_THERE):
            # Why: a name that was only reserved is not every type's id; what has that id is not there.
            await self._put(replace(row, status="DELETE_COMPLETE", reason=STOPPED, physical_id="", previous=None))
            return ""
        status = "DELETE_FAILED" if problem else "DELETE_COMPLETE"
        await self._put(replace(row, status=status, reason=problem, previous=None))
        return problem


_ENDED: dict[str, Any] = {"operation": "", "previous": ""}


def ended() -> dict[str, Any]:
    """What a stack's row loses when its operation ends."""
    return dict(_ENDED)


def _body(declared: Declared, needs: frozenset[str], properties: Mapping[str, Any], shown: Mapping[str, Any]) -> Body:
    return Body(
        declared.properties,
        properties,
        shown,
        needs=tuple(sorted(needs)),
        deletion_policy=declared.deletion_policy,
        update_replace_policy=declared.update_replace_policy,
        metadata=declared.metadata,
    )


def _snapshot(row: Resource) -> dict[str, Any]:
    return {"physical_id": row.physical_id, "status": row.status, "body": json.loads(json.dumps(asdict(row.body)))}


def _rollback_body(body: Body) -> Body:
    """A body whose physical resource goes when the operation that made it is rolled back."""
    return replace(body, deletion_policy="Delete") if body.deletion_policy == "RetainExceptOnCreate" else body


def _reversed(needs: Mapping[str, tuple[str, tuple[str, ...]]]) -> dict[str, frozenset[str]]:
    """For each key the keys that need it: those go first. Values are logical id and needed logical ids."""
    users: dict[str, set[str]] = {key: set() for key in needs}
    for key, (_, needed) in needs.items():
        for other, (logical_id, _) in needs.items():
            if other != key and logical_id in needed:
                users[other].add(key)
    return {key: frozenset(found) for key, found in users.items()}


def _failures(failed: Mapping[str, str]) -> str:
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

# SPDX-License-Identifier: Apache-2.0
"""One operation on one stack, from its first event to its last.

At the next start of a chamber that ended in the middle, `resume` rolls back (or goes on to delete) from the rows
alone, as the same caller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.custom import is_custom
from cloudchamber.services.cloudformation.dynamic import fill
from cloudchamber.services.cloudformation.intrinsics import condition, resolve
from cloudchamber.services.cloudformation.journal import Failed, failures, snapshot
from cloudchamber.services.cloudformation.parameters import MASK
from cloudchamber.services.cloudformation.plan import compare, lookup
from cloudchamber.services.cloudformation.shapes import check_properties
from cloudchamber.services.cloudformation.tables import Body, Resource
from cloudchamber.services.cloudformation.undo import Undo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Made, ResourceType
    from cloudchamber.services.cloudformation.plan import Goal
    from cloudchamber.services.cloudformation.template import Declared, Template
    from cloudchamber.store.database import Tx

_REPLACING = "Requested update requires the creation of a new physical resource; hence creating one."


@dataclass(frozen=True, slots=True)
class Aim:
    """A template with what resolves it."""

    template: Template
    goal: Goal
    imports: set[str]
    """Exports of other stacks that were used so far while resolving."""


class Execution(Undo):
    """The work on one stack: forward here, back in `Undo`."""

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
            raise Failed(failures(failed))

    def _ref(self, name: str) -> Any:
        row = self.rows[name]
        return row.body.ref or row.physical_id

    def _attribute(self, name: str, attribute: str) -> Any:
        row = self.rows[name]
        try:
            return lookup(row.body.attributes, attribute)
        except KeyError:
            if is_custom(row.type):
                said = f"CustomResource attribute error: Vendor response doesn't contain {attribute} key ({name})"
                raise ValidationError(said) from None
            raise ValidationError(f"Attribute '{attribute}' of resource {name} does not exist") from None

    def _shown(self, name: str, attribute: str) -> Any:
        value = self._attribute(name, attribute)
        return MASK if self.rows[name].body.masked else value

    async def _reach(self, goal: Goal, name: str, *, tags_changed: bool, updating: bool) -> str:
        declared = goal.resources[name]
        kind = self._types[declared.type]
        properties = resolve(declared.properties, replace(goal.scope, ref=self._ref, attribute=self._attribute))
        shown = resolve(declared.properties, replace(goal.shown, ref=self._ref, attribute=self._shown))
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
                previous = row.previous if row.previous is not None else snapshot(row)
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
            row = replace(row, previous=snapshot(row))
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
        previous = snapshot(row) if row.previous is None else row.previous
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
        previous = snapshot(row) if row.previous is None else row.previous
        old = row.body
        fresh = replace(body, unique=old.unique, claimed=old.claimed, ref=old.ref, attributes=old.attributes)
        row = await self._put(replace(row, status="UPDATE_IN_PROGRESS", reason="", body=fresh, previous=previous))
        return "update" if await self._change(row, kind, old.properties, fresh.properties) else ""

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

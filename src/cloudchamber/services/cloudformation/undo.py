# SPDX-License-Identifier: Apache-2.0
"""The way back of an operation on a stack: undo an update, delete what it left, delete everything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.custom import is_custom
from cloudchamber.services.cloudformation.journal import Failed, Journal, failures
from cloudchamber.services.cloudformation.tables import Body, Leftover, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.store.database import Tx

STOPPED = "Resource creation cancelled: the chamber stopped before it was finished"
_RETAINED = frozenset({"Retain"})
_NOT_THERE = ("(HandlerErrorCode: NotFound)", "(HandlerErrorCode: InvalidRequest)")


class Undo(Journal):
    """What takes things away, or gives them back as they were."""

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
            raise Failed(failures(failed))
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
        guessed = row.reason == STOPPED and row.physical_id == row.body.claimed and not is_custom(row.type)
        row = await self._put(replace(row, status="DELETE_IN_PROGRESS", reason=""))
        problem = await self._remove(row)
        if problem and guessed and problem.endswith(_NOT_THERE):
            # Why: a name that was only reserved is not every type's id; what has that id is not there.
            await self._put(replace(row, status="DELETE_COMPLETE", reason=STOPPED, physical_id="", previous=None))
            return ""
        status = "DELETE_FAILED" if problem else "DELETE_COMPLETE"
        await self._put(replace(row, status=status, reason=problem, previous=None))
        return problem


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

# SPDX-License-Identifier: Apache-2.0
"""Rows of stacks, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.cloudformation.names import STACK_TYPE
from cloudchamber.services.cloudformation.parameters import Value

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class Settings:
    """How a stack was asked for; what one update changes and its rollback restores."""

    description: str = ""
    capabilities: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    role_arn: str = ""
    notification_arns: tuple[str, ...] = ()
    disable_rollback: bool = False
    on_failure: str = "ROLLBACK"
    timeout_min: int = 0
    retain_except_on_create: bool = False
    termination_protection: bool = False


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack. `processed` is the JSON of the template after its transforms; `parameters` are unmasked.

    `previous` is what a rollback restores; `operation` who runs the operation that is under way.
    """

    stack_id: str
    name: str
    account: str
    region: str
    status: str
    created: str
    settings: Settings = field(default_factory=Settings)
    reason: str = ""
    template: str = ""
    processed: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict[str, Value])
    outputs: tuple[Mapping[str, str], ...] = ()
    previous: str = ""
    operation: str = ""
    token: str = ""
    change_set_id: str = ""
    updated: str = ""
    deleted: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """What is known of a resource, besides where it stands.

    `declared` are the properties as in the template, `properties` resolved (dynamic references stay),
    `shown` with NoEcho parameters masked; `unique` ends generated names; `claimed` is the name or id that it
    will have if it was begun and not finished.
    """

    declared: Mapping[str, Any] = field(default_factory=dict[str, Any])
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ref: str = ""
    unique: str = ""
    claimed: str = ""
    needs: tuple[str, ...] = ()
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    metadata: Any = None
    masked: bool = False
    """Whether its attributes are secret (`NoEcho` of a custom resource's answer)."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a stack.

    `previous` is, while an update runs, what it was before: ``None`` if the update does not touch it,
    an empty mapping if it did not exist.
    """

    stack_id: str
    logical_id: str
    position: int
    type: str
    status: str
    at: str
    body: Body = field(default_factory=Body)
    physical_id: str = ""
    reason: str = ""
    previous: Mapping[str, Any] | None = None

    @property
    def exists(self) -> bool:
        """Whether something of it may exist."""
        return self.status not in ("DELETE_COMPLETE", "DELETE_SKIPPED")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A physical resource that the stack has no more use for: to be deleted when the operation ends."""

    id: int
    logical_id: str
    type: str
    physical_id: str
    body: Body


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """One change set; `body` holds what was asked and what was found, as JSON-able values."""

    change_set_id: str
    stack_id: str
    name: str
    status: str
    execution: str
    created: str
    body: Mapping[str, Any]
    reason: str = ""


def values_to_json(values: Mapping[str, Value]) -> str:
    """Parameter values as text."""
    return json.dumps({name: [value.given, value.resolved] for name, value in values.items()})


def values_from_json(text: str) -> dict[str, Value]:
    """Parameter values from text."""
    return {name: Value(*pair) for name, pair in json.loads(text).items()}


def settings_from(body: Mapping[str, Any]) -> Settings:
    """Settings from JSON-able values."""
    known: dict[str, Any] = dict(body)
    for name in ("capabilities", "notification_arns"):
        known[name] = tuple(known.get(name, ()))
    return Settings(**known)


def body_from(values: Mapping[str, Any]) -> Body:
    """A resource's body from JSON-able values."""
    known: dict[str, Any] = {**values, "needs": tuple(values.get("needs", ()))}
    return Body(**known)


def _stack(row: sqlite3.Row) -> Stack:
    return Stack(
        row["stack_id"],
        row["name"],
        row["account"],
        row["region"],
        row["status"],
        row["created"],
        settings_from(json.loads(row["settings"])),
        row["reason"],
        row["template"],
        row["processed"],
        values_from_json(row["parameters"]),
        tuple(json.loads(row["outputs"])),
        row["previous"],
        row["operation"],
        row["token"],
        row["change_set_id"],
        row["updated"],
        row["deleted"],
    )


def stack_by_id(db: Reader, stack_id: str) -> Stack | None:
    """A stack by its id, deleted ones too."""
    row = db.execute("SELECT * FROM cloudformation_stacks WHERE stack_id = ?", (stack_id,)).fetchone()
    return _stack(row) if row else None


def stack_by_name(db: Reader, account: str, region: str, name: str) -> Stack | None:
    """The stack that has a name now."""
    row = db.execute(
        "SELECT * FROM cloudformation_stacks WHERE account = ? AND region = ? AND name = ? AND deleted = ''",
        (account, region, name),
    ).fetchone()
    return _stack(row) if row else None


def find_stack(db: Reader, account: str, region: str, name: str) -> Stack | None:
    """A stack by name, or by id within the account."""
    if not name.startswith("arn:"):
        return stack_by_name(db, account, region, name)
    stack = stack_by_id(db, name)
    return stack if stack and stack.account == account else None


def stacks(db: Reader, account: str, region: str) -> list[Stack]:
    """Every stack, newest first, deleted ones too."""
    rows = db.execute(
        "SELECT * FROM cloudformation_stacks WHERE account = ? AND region = ? ORDER BY created DESC, rowid DESC",
        (account, region),
    )
    return [_stack(row) for row in rows]


def count(db: Reader, account: str, region: str) -> int:
    """How many stacks there are, without deleted ones."""
    row = db.execute(
        "SELECT count(*) FROM cloudformation_stacks WHERE account = ? AND region = ? AND deleted = ''",
        (account, region),
    ).fetchone()
    return int(row[0])


def interrupted(db: Reader) -> list[Stack]:
    """Stacks whose operation was under way when the chamber ended."""
    rows = db.execute("SELECT * FROM cloudformation_stacks WHERE operation != '' AND deleted = ''")
    return [_stack(row) for row in rows]


def put_stack(tx: Tx, stack: Stack) -> None:
    """Insert or replace a stack."""
    values = asdict(stack)
    values["settings"] = json.dumps(values["settings"])
    values["parameters"] = values_to_json(stack.parameters)
    values["outputs"] = json.dumps(stack.outputs)
    names = list(values)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    tx.execute(
        f"INSERT INTO cloudformation_stacks ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT (stack_id) DO UPDATE SET {updates}",
        list(values.values()),
    )


def _resource(row: sqlite3.Row) -> Resource:
    return Resource(
        row["stack_id"],
        row["logical_id"],
        row["position"],
        row["type"],
        row["status"],
        row["at"],
        body_from(json.loads(row["body"])),
        row["physical_id"],
        row["reason"],
        json.loads(row["previous"]) if row["previous"] else None,
    )


def resources(db: Reader, stack_id: str) -> dict[str, Resource]:
    """The resources of a stack, in the order in which they were begun."""
    rows = db.execute("SELECT * FROM cloudformation_resources WHERE stack_id = ? ORDER BY position", (stack_id,))
    return {row["logical_id"]: _resource(row) for row in rows}


def put_resource(tx: Tx, resource: Resource) -> None:
    """Insert or replace a resource."""
    tx.execute(
        "INSERT OR REPLACE INTO cloudformation_resources "
        "(stack_id, logical_id, position, type, status, reason, physical_id, body, previous, at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            resource.stack_id,
            resource.logical_id,
            resource.position,
            resource.type,
            resource.status,
            resource.reason,
            resource.physical_id,
            json.dumps(asdict(resource.body)),
            "" if resource.previous is None else json.dumps(resource.previous),
            resource.at,
        ),
    )


def drop_resource(tx: Tx, stack_id: str, logical_id: str) -> None:
    """Forget a resource that an update removed."""
    tx.execute("DELETE FROM cloudformation_resources WHERE stack_id = ? AND logical_id = ?", (stack_id, logical_id))


def add_leftover(tx: Tx, stack_id: str, logical_id: str, kind: str, physical_id: str, body: Body) -> None:
    """Remember a physical resource to delete."""
    tx.execute(
        "INSERT INTO cloudformation_leftovers (stack_id, logical_id, type, physical_id, body) VALUES (?, ?, ?, ?, ?)",
        (stack_id, logical_id, kind, physical_id, json.dumps(asdict(body))),
    )


def leftovers(db: Reader, stack_id: str) -> list[Leftover]:
    """Physical resources to delete, latest first."""
    rows = db.execute("SELECT * FROM cloudformation_leftovers WHERE stack_id = ? ORDER BY id DESC", (stack_id,))
    return [
        Leftover(row["id"], row["logical_id"], row["type"], row["physical_id"], body_from(json.loads(row["body"])))
        for row in rows
    ]


def drop_leftover(tx: Tx, leftover_id: int) -> None:
    """Forget a physical resource that is gone."""
    tx.execute("DELETE FROM cloudformation_leftovers WHERE id = ?", (leftover_id,))


def add_stack_event(tx: Tx, stack: Stack, at: str) -> None:
    """Tell what happened to the stack: its present status and reason."""
    _add_event(
        tx, stack.stack_id, (stack.name, stack.stack_id, STACK_TYPE, stack.status, stack.reason, "", stack.token), at
    )


def add_event(tx: Tx, resource: Resource, token: str) -> None:
    """Tell what happened to a resource: its present status and reason."""
    properties = json.dumps(resource.body.shown) if resource.body.shown else ""
    _add_event(
        tx,
        resource.stack_id,
        (
            resource.logical_id,
            resource.physical_id,
            resource.type,
            resource.status,
            resource.reason,
            properties,
            token,
        ),
        resource.at,
    )


def _add_event(tx: Tx, stack_id: str, told: tuple[str, ...], at: str) -> None:
    logical_id, status = told[0], told[3]
    event_id = f"{logical_id}-{status}-{ids.hex_token(6)}" if told[2] != STACK_TYPE else ids.request_id()
    tx.execute(
        "INSERT INTO cloudformation_events (stack_id, event_id, logical_id, physical_id, type, status, reason, "
        "properties, token, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (stack_id, event_id, *told, at),
    )


def events(db: Reader, stack_id: str, before: int, limit: int) -> list[sqlite3.Row]:
    """Events of a stack, newest first, older than `before`."""
    return db.execute(
        "SELECT * FROM cloudformation_events WHERE stack_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        (stack_id, before, limit),
    ).fetchall()


def _change_set(row: sqlite3.Row) -> ChangeSet:
    return ChangeSet(
        row["change_set_id"],
        row["stack_id"],
        row["name"],
        row["status"],
        row["execution"],
        row["created"],
        json.loads(row["body"]),
        row["reason"],
    )


def change_set(db: Reader, name: str, stack_id: str) -> ChangeSet | None:
    """A change set by its id, or by its name within a stack; with a stack, only one of that stack."""
    # Why: IAM is asked about the stack that a request names, so an id must not lead to another stack's change set.
    column, given = ("change_set_id", bool(stack_id)) if name.startswith("arn:") else ("name", True)
    where, values = (f"{column} = ? AND stack_id = ?", (name, stack_id)) if given else (f"{column} = ?", (name,))
    row = db.execute(f"SELECT * FROM cloudformation_change_sets WHERE {where}", values).fetchone()
    return _change_set(row) if row else None


def change_sets(db: Reader, stack_id: str) -> list[ChangeSet]:
    """The change sets of a stack."""
    rows = db.execute("SELECT * FROM cloudformation_change_sets WHERE stack_id = ? ORDER BY created", (stack_id,))
    return [_change_set(row) for row in rows]


def put_change_set(tx: Tx, found: ChangeSet) -> None:
    """Insert or replace a change set."""
    tx.execute(
        "INSERT OR REPLACE INTO cloudformation_change_sets "
        "(change_set_id, stack_id, name, status, reason, execution, body, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            found.change_set_id,
            found.stack_id,
            found.name,
            found.status,
            found.reason,
            found.execution,
            json.dumps(found.body),
            found.created,
        ),
    )


def drop_change_sets(tx: Tx, stack_id: str, keep: str = "") -> None:
    """Forget a stack's change sets, but for one: those that another execution made obsolete."""
    tx.execute("DELETE FROM cloudformation_change_sets WHERE stack_id = ? AND change_set_id != ?", (stack_id, keep))


def export(db: Reader, account: str, region: str, name: str) -> tuple[str, str] | None:
    """Stack id and value of an export."""
    row = db.execute(
        "SELECT stack_id, value FROM cloudformation_exports WHERE account = ? AND region = ? AND name = ?",
        (account, region, name),
    ).fetchone()
    return (row["stack_id"], row["value"]) if row else None


def exports(db: Reader, account: str, region: str) -> list[sqlite3.Row]:
    """Every export."""
    return db.execute(
        "SELECT * FROM cloudformation_exports WHERE account = ? AND region = ? ORDER BY name", (account, region)
    ).fetchall()


def set_exports(tx: Tx, stack: Stack, values: Mapping[str, str]) -> None:
    """Publish the exports of a stack, in place of those it had."""
    tx.execute("DELETE FROM cloudformation_exports WHERE stack_id = ?", (stack.stack_id,))
    for name, value in values.items():
        tx.execute(
            "INSERT INTO cloudformation_exports VALUES (?, ?, ?, ?, ?)",
            (stack.account, stack.region, name, stack.stack_id, value),
        )


def set_imports(tx: Tx, stack: Stack, names: frozenset[str]) -> None:
    """Remember which exports a stack uses, in place of those it used."""
    tx.execute("DELETE FROM cloudformation_imports WHERE stack_id = ?", (stack.stack_id,))
    for name in sorted(names):
        tx.execute(
            "INSERT INTO cloudformation_imports VALUES (?, ?, ?, ?)",
            (stack.account, stack.region, name, stack.stack_id),
        )


def importers(db: Reader, account: str, region: str, name: str) -> list[str]:
    """Names of the stacks that use an export."""
    rows = db.execute(
        "SELECT s.name FROM cloudformation_imports i JOIN cloudformation_stacks s ON s.stack_id = i.stack_id "
        "WHERE i.account = ? AND i.region = ? AND i.name = ? AND s.deleted = '' ORDER BY s.name",
        (account, region, name),
    )
    return [row["name"] for row in rows]

# SPDX-License-Identifier: Apache-2.0
"""What users, groups, roles and instance profiles have in common: making, deleting, tags, boundaries.

Not operations: the operations of each noun call these inside their one write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.iam import documents, quotas, tables
from cloudchamber.services.iam.errors import DeleteConflict, EntityAlreadyExists
from cloudchamber.services.iam.names import WORDS, Kind, arn, check_name, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader, Tx

_OF_USERS = ("iam_keys", "iam_logins", "iam_old_passwords", "iam_mfa", "iam_credentials")
"""Tables with a user's name."""
_NAME_MAX: Mapping[Kind, int] = {"user": 64, "group": 128, "role": 64, "instance-profile": 128}


def create(tx: Tx, call: Call, kind: Kind, request: Mapping[str, Any], **columns: Any) -> Entity:
    """Add an entity with its tags and boundary.

    Raises:
        EntityAlreadyExists: there is one of that name, in whatever case.
        NoSuchEntity: the boundary is no policy.
    """
    words = WORDS[kind]
    member = f"{words.title}Name"
    name: str = request[member]
    check_name(member[0].lower() + member[1:], name, _NAME_MAX[kind])
    if tables.find(tx, call.account, kind, name) is not None:
        called = words.called[0].upper() + words.called[1:]
        middle = " " if kind == "instance-profile" else " with name "
        raise EntityAlreadyExists(f"{called}{middle}{name} already exists.")
    quotas.entities(tx, call.account, kind)
    path = path_of(request)
    boundary: str = request.get("PermissionsBoundary", "")
    if boundary:
        documents.boundary(tx, call.account, boundary)
    made = arn(call.account, kind, path, name)
    tx.execute(
        "INSERT INTO iam_entities (account, kind, name, path, id, arn, created, boundary) VALUES (?,?,?,?,?,?,?,?)",
        (call.account, kind, name, path, ids.unique_id(words.id_prefix), made, call.now.timestamp(), boundary),
    )
    for column, value in columns.items():
        change(tx, call.account, kind, name, column, value)
    tables.put_tags(tx, made, request.get("Tags", ()))
    return tables.get(tx, call.account, kind, name)


def change(tx: Tx, account: str, kind: Kind, name: str, column: str, value: Any) -> None:
    """Set one column of an entity; `column` is a word of this package, never of a request."""
    tx.execute(
        f"UPDATE iam_entities SET {column} = ? WHERE account = ? AND kind = ? AND name = ?",
        (value, account, kind, name),
    )


def delete(tx: Tx, found: Entity, doors: Doors) -> None:
    """Remove an entity to which nothing is attached any more.

    Raises:
        DeleteConflict: policies are.
    """
    if tables.attached(tx, found):
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if tables.inline(tx, found):
        raise DeleteConflict("Cannot delete entity, must delete policies first.")
    tx.execute(
        "DELETE FROM iam_entities WHERE account = ? AND kind = ? AND name = ?", (found.account, found.kind, found.name)
    )
    tx.execute("DELETE FROM iam_tags WHERE arn = ?", (found.arn,))
    _follow(tx, doors, found.arn, found.id)


def _follow(tx: Tx, doors: Doors, old: str, new: str) -> None:
    """Change a principal in every trust policy and every policy of a resource that names it.

    Why: AWS keeps the unique id of a principal. Whoever is given the name of a deleted user or role later is not
    let in in its place, and a renamed user still is. Source: IAM User Guide, "AWS JSON policy elements: Principal".
    """
    of_resources = (pair for service in doors.services.values() for pair in service.policies)
    for table, column in (("iam_entities", "trust"), *of_resources):
        for end in ('"', '\\"'):  # Why: some keep the policy as text inside of JSON
            tx.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?) > 0",
                (f'"{old}{end}', f'"{new}{end}', f'"{old}{end}'),
            )


def move(tx: Tx, found: Entity, name: str, path: str, doors: Doors) -> None:
    """Give a user or group another name or path, everywhere.

    Raises:
        EntityAlreadyExists: the name is taken.
    """
    other = tables.find(tx, found.account, found.kind, name)
    if other is not None and other.id != found.id:
        raise EntityAlreadyExists(f"{found.kind.capitalize()} with name {name} already exists.")
    new = arn(found.account, found.kind, path, name)
    where = (found.account, found.kind, found.name)
    tx.execute(
        "UPDATE iam_entities SET name = ?, path = ?, arn = ? WHERE account = ? AND kind = ? AND name = ?",
        (name, path, new, *where),
    )
    for table in ("iam_inline", "iam_attached"):
        tx.execute(f"UPDATE {table} SET entity = ? WHERE account = ? AND kind = ? AND entity = ?", (name, *where))
    tx.execute("UPDATE iam_tags SET arn = ? WHERE arn = ?", (new, found.arn))
    _follow(tx, doors, found.arn, new)
    if found.kind == "user":
        for table in _OF_USERS:
            tx.execute(f"UPDATE {table} SET user = ? WHERE account = ? AND user = ?", (name, found.account, found.name))
        column = "member"
    else:
        column = "collection"
    tx.execute(
        f"UPDATE iam_members SET {column} = ? WHERE account = ? AND kind = 'group' AND {column} = ?",
        (name, found.account, found.name),
    )


def shape(call: Call, kind: Kind, name: str) -> dict[str, Any]:
    """An entity as the API writes it.

    Raises:
        NoSuchEntity: there is none.
    """

    def look(db: Reader) -> dict[str, Any]:
        return tables.shape(db, tables.get(db, call.account, kind, name))

    return call.doors.database.read(look)

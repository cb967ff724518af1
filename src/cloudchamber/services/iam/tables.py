# SPDX-License-Identifier: Apache-2.0
"""Rows of IAM, and the SQL that reads them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.iam import aws_managed
from cloudchamber.services.iam.errors import InvalidInput, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import AWS_MANAGED, WORDS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.store.database import Reader

TAGS_MAX = 50
_TAG = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]"


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, group, role or instance profile."""

    account: str
    kind: Kind
    name: str
    path: str
    id: str
    arn: str
    created: float
    description: str
    trust: str
    session_s: int
    boundary: str


@dataclass(frozen=True, slots=True)
class Managed:
    """A managed policy, the account's own or one of AWS's; `document` is its default version's."""

    account: str
    name: str
    path: str
    id: str
    arn: str
    description: str
    created: float
    updated: float
    default_version: int
    latest_version: int
    document: str


def moment(epoch_s: float) -> datetime:
    """A row's time."""
    return datetime.fromtimestamp(epoch_s, UTC).replace(microsecond=0)


def find(db: Reader, account: str, kind: Kind, name: str) -> Entity | None:
    """An entity by its name, which is the same in small and capital letters."""
    row = db.execute(
        "SELECT * FROM iam_entities WHERE account = ? AND kind = ? AND name = ?", (account, kind, name)
    ).fetchone()
    return Entity(*row) if row is not None else None


def get(db: Reader, account: str, kind: Kind, name: str) -> Entity:
    """An entity by its name.

    Raises:
        NoSuchEntity: there is none.
    """
    found = find(db, account, kind, name)
    if found is None:
        raise missing(kind, name)
    return found


def missing(kind: Kind, name: str) -> NoSuchEntity:
    """The error for an entity that is not there."""
    if kind == "instance-profile":
        return NoSuchEntity(f"Instance Profile {name} cannot be found.")
    return NoSuchEntity(f"The {kind} with name {name} cannot be found.")


def by_arn(db: Reader, arn: str) -> Entity | None:
    """An entity by its ARN."""
    row = db.execute("SELECT * FROM iam_entities WHERE arn = ?", (arn,)).fetchone()
    return Entity(*row) if row is not None else None


def listed(db: Reader, account: str, kind: Kind, prefix: str) -> list[Entity]:
    """Entities of a kind below a path prefix, by name, whatever the case of its letters."""
    rows = db.execute(
        "SELECT * FROM iam_entities WHERE account = ? AND kind = ? AND substr(path, 1, ?) = ? ORDER BY name",
        (account, kind, len(prefix), prefix),
    )
    return [Entity(*row) for row in rows]


def managed(db: Reader, arn: str) -> Managed | None:
    """A managed policy by its ARN, AWS's own included."""
    if arn.startswith(AWS_MANAGED):
        known = aws_managed.find(arn)
        if known is None:
            return None
        return Managed(
            "aws", known.name, known.path, known.id, arn, known.description, known.created, known.updated,
            known.version, known.version, known.document,
        )  # fmt: skip
    row = db.execute(
        "SELECT p.*, v.document FROM iam_policies p JOIN iam_versions v "
        "ON v.arn = p.arn AND v.version = p.default_version "
        "WHERE p.arn = ?",
        (arn,),
    ).fetchone()
    return Managed(*row) if row is not None else None


def inline(db: Reader, entity: Entity) -> list[tuple[str, str]]:
    """Name and document of an entity's inline policies, by name."""
    rows = db.execute(
        "SELECT name, document FROM iam_inline WHERE account = ? AND kind = ? AND entity = ? "
        "ORDER BY name COLLATE BINARY",
        (entity.account, entity.kind, entity.name),
    )
    return [(row[0], row[1]) for row in rows]


def attached(db: Reader, entity: Entity) -> list[str]:
    """ARNs of the policies attached to an entity."""
    rows = db.execute(
        "SELECT arn FROM iam_attached WHERE account = ? AND kind = ? AND entity = ? ORDER BY arn",
        (entity.account, entity.kind, entity.name),
    )
    return [row[0] for row in rows]


def members(db: Reader, collection: Entity) -> list[str]:
    """Names of a group's users or of an instance profile's role."""
    rows = db.execute(
        "SELECT member FROM iam_members WHERE account = ? AND kind = ? AND collection = ? ORDER BY member",
        (collection.account, collection.kind, collection.name),
    )
    return [row[0] for row in rows]


def collections(db: Reader, kind: Kind, member: Entity) -> list[Entity]:
    """The groups of a user, or the instance profiles of a role."""
    rows = db.execute(
        "SELECT e.* FROM iam_members m JOIN iam_entities e "
        "ON e.account = m.account AND e.kind = m.kind AND e.name = m.collection "
        "WHERE m.account = ? AND m.kind = ? AND m.member = ? ORDER BY e.name",
        (member.account, kind, member.name),
    )
    return [Entity(*row) for row in rows]


def tags(db: Reader, arn: str) -> dict[str, str]:
    """Tags of a resource."""
    rows = db.execute("SELECT key, value FROM iam_tags WHERE arn = ? ORDER BY key", (arn,))
    return {row[0]: row[1] for row in rows}


def put_tags(tx: Reader, arn: str, given: Sequence[Mapping[str, str]]) -> None:
    """Add tags, replacing those of the same key.

    Raises:
        ValidationError: a letter is none of a tag's.
        InvalidInput: a key comes twice, or is reserved.
        LimitExceeded: more than 50.
    """
    for number, tag in enumerate(given, 1):
        for member, value in (("key", tag["Key"]), ("value", tag["Value"])):
            if not all(map(_tag_letter, value)):
                repeat = "+" if member == "key" else "*"
                raise ValidationError(
                    f"1 validation error detected: Value at 'tags.{number}.member.{member}' failed to "
                    f"satisfy constraint: Member must satisfy regular expression pattern: {_TAG}{repeat}"
                )
    keys = [tag["Key"].lower() for tag in given]
    if len(set(keys)) != len(keys):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise InvalidInput("aws: prefixed tag key names are not allowed for external use.")
    for tag in given:
        tx.execute(
            "INSERT INTO iam_tags VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET key = excluded.key, value = excluded.value",
            (arn, tag["Key"], tag["Value"]),
        )
    if len(tags(tx, arn)) > TAGS_MAX:
        raise LimitExceeded("The number of tags has reached the maximum limit.")


def _tag_letter(letter: str) -> bool:
    """Whether a character matches `_TAG`, which `re` cannot read."""
    return letter in "_.:/=+-@" or unicodedata.category(letter)[0] in "LZN"


def tag_list(found: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API writes them."""
    return [{"Key": key, "Value": value} for key, value in found.items()]


def shape(db: Reader, entity: Entity, *, whole: bool = True) -> dict[str, Any]:
    """An entity as the API writes it. `whole`: with tags, boundary and description, as Get does and List does not."""
    title = WORDS[entity.kind].title
    told: dict[str, Any] = {
        "Path": entity.path,
        f"{title}Name": entity.name,
        f"{title}Id": entity.id,
        "Arn": entity.arn,
        "CreateDate": moment(entity.created),
    }
    if entity.kind == "role":
        told["AssumeRolePolicyDocument"] = quote(entity.trust, safe="")
        told["MaxSessionDuration"] = entity.session_s
        if entity.description:
            told["Description"] = entity.description
    elif entity.kind == "instance-profile":
        roles = [find(db, entity.account, "role", name) for name in members(db, entity)]
        told["Roles"] = [shape(db, role, whole=False) for role in roles if role is not None]
    if whole:
        if entity.boundary:
            told["PermissionsBoundary"] = {
                "PermissionsBoundaryType": "Policy",
                "PermissionsBoundaryArn": entity.boundary,
            }
        own = tags(db, entity.arn)
        if own:
            told["Tags"] = tag_list(own)
    return told

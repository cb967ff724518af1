# SPDX-License-Identifier: Apache-2.0
"""Managed policies and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import aws_managed, documents, needs, quotas, tables
from cloudchamber.services.iam.errors import (
    DeleteConflict,
    EntityAlreadyExists,
    InvalidInput,
    LimitExceeded,
    NoSuchEntity,
)
from cloudchamber.services.iam.names import AWS_MANAGED, WORDS, Kind, arn, page, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.tables import Entity, Managed
    from cloudchamber.store.database import Reader, Tx

VERSIONS_MAX = 5


@operation("CreatePolicy", needs=needs.create_policy)
async def create_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a managed policy with its first version. Source: IAM API Reference, CreatePolicy."""

    def change(tx: Tx) -> dict[str, Any]:
        name, path, now = request["PolicyName"], path_of(request), call.now.timestamp()
        documents.managed(request["PolicyDocument"])
        if tx.execute("SELECT 1 FROM iam_policies WHERE account = ? AND name = ?", (call.account, name)).fetchone():
            raise EntityAlreadyExists(f"A policy called {name} already exists. Duplicate names are not allowed.")
        quotas.policies(tx, call.account)
        made = arn(call.account, "policy", path, name)
        row = (call.account, name, path, ids.unique_id("ANPA"), made, request.get("Description", ""), now, now, 1, 1)
        tx.execute("INSERT INTO iam_policies VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        tx.execute("INSERT INTO iam_versions VALUES (?, 1, ?, ?)", (made, request["PolicyDocument"], now))
        tables.put_tags(tx, made, request.get("Tags", ()))
        told = shape(tx, find(tx, made), call.account, whole=False)
        return told | {"Tags": tables.tag_list(tables.tags(tx, made))} if request.get("Tags") else told

    return {"Policy": await call.doors.database.write(change)}


@operation("GetPolicy", needs=needs.managed("GetPolicy"))
async def get_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A managed policy, AWS's own included. Source: IAM API Reference, GetPolicy."""
    return {"Policy": call.doors.database.read(lambda db: shape(db, find(db, request["PolicyArn"]), call.account))}


@operation("ListPolicies", needs=needs.account("ListPolicies"))
async def list_policies(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Managed policies by scope and path. Source: IAM API Reference, ListPolicies."""

    def look(db: Reader) -> dict[str, Any]:
        scope, prefix = request.get("Scope", "All"), request.get("PathPrefix", "/")
        arns = aws_managed.arns(prefix) if scope != "Local" else []
        if scope != "AWS":
            rows = db.execute(
                "SELECT arn FROM iam_policies WHERE account = ? AND substr(path, 1, ?) = ?",
                (call.account, len(prefix), prefix),
            )
            arns += [row[0] for row in rows]
        usage = request.get("PolicyUsageFilter", "")
        if request.get("OnlyAttached") or usage == "PermissionsBoundary":
            arns = list(_used(db, call.account, usage).intersection(arns))
        some, more = page(request, sorted(arns), lambda one: one)
        found = (tables.managed(db, one) for one in some)
        told = [shape(db, one, call.account, whole=False) for one in found if one is not None]
        return {"Policies": told} | more

    return call.doors.database.read(look)


@operation("DeletePolicy", needs=needs.managed("DeletePolicy"))
async def delete_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a policy that is attached nowhere and has one version left. Source: IAM API Reference, DeletePolicy."""

    def change(tx: Tx) -> None:
        found = own(tx, request["PolicyArn"])
        if _uses(tx, call.account, found.arn) or _bounded(tx, call.account, found.arn):
            raise DeleteConflict("Cannot delete a policy attached to entities.")
        if len(versions(tx, found)) > 1:
            raise DeleteConflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        tx.execute("DELETE FROM iam_versions WHERE arn = ?", (found.arn,))
        tx.execute("DELETE FROM iam_policies WHERE arn = ?", (found.arn,))
        tx.execute("DELETE FROM iam_tags WHERE arn = ?", (found.arn,))

    await call.doors.database.write(change)
    return {}


@operation("CreatePolicyVersion", needs=needs.managed("CreatePolicyVersion"))
async def create_policy_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add a version, and make it the default if asked. Source: IAM API Reference, CreatePolicyVersion."""

    def change(tx: Tx) -> dict[str, Any]:
        found = own(tx, request["PolicyArn"])
        documents.managed(request["PolicyDocument"])
        if len(versions(tx, found)) >= VERSIONS_MAX:
            raise LimitExceeded(
                f"A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        now, number = call.now.timestamp(), found.latest_version + 1
        tx.execute("INSERT INTO iam_versions VALUES (?, ?, ?, ?)", (found.arn, number, request["PolicyDocument"], now))
        default = number if request.get("SetAsDefault") else found.default_version
        tx.execute(
            "UPDATE iam_policies SET latest_version = ?, default_version = ?, updated = ? WHERE arn = ?",
            (number, default, now, found.arn),
        )
        return {"VersionId": f"v{number}", "IsDefaultVersion": default == number, "CreateDate": tables.moment(now)}

    return {"PolicyVersion": await call.doors.database.write(change)}


@operation("GetPolicyVersion", needs=needs.managed("GetPolicyVersion"))
async def get_policy_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One version with its document, percent-encoded. Source: IAM API Reference, GetPolicyVersion."""

    def look(db: Reader) -> dict[str, Any]:
        found = find(db, request["PolicyArn"])
        for told, text in versions(db, found):
            if told["VersionId"] == request["VersionId"]:
                return told | {"Document": quote(text, safe="")}
        raise _no_version(found.arn, request["VersionId"])

    return {"PolicyVersion": call.doors.database.read(look)}


@operation("ListPolicyVersions", needs=needs.managed("ListPolicyVersions"))
async def list_policy_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """All versions, newest first, without their documents. Source: IAM API Reference, ListPolicyVersions."""

    def look(db: Reader) -> dict[str, Any]:
        told = [version for version, _ in versions(db, find(db, request["PolicyArn"]))]
        some, more = page(request, list(enumerate(told)), lambda one: f"{one[0]:08d}")
        return {"Versions": [version for _, version in some]} | more

    return call.doors.database.read(look)


@operation("SetDefaultPolicyVersion", needs=needs.managed("SetDefaultPolicyVersion"))
async def set_default_policy_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put a version in force, from the next call on. Source: IAM API Reference, SetDefaultPolicyVersion."""

    def change(tx: Tx) -> None:
        found = own(tx, request["PolicyArn"])
        number = _number(tx, found, request["VersionId"])
        tx.execute("UPDATE iam_policies SET default_version = ? WHERE arn = ?", (number, found.arn))

    await call.doors.database.write(change)
    return {}


@operation("DeletePolicyVersion", needs=needs.managed("DeletePolicyVersion"))
async def delete_policy_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a version that is not the default. Source: IAM API Reference, DeletePolicyVersion."""

    def change(tx: Tx) -> None:
        found = own(tx, request["PolicyArn"])
        number = _number(tx, found, request["VersionId"])
        if number == found.default_version:
            raise DeleteConflict("Cannot delete the default version of a policy.")
        tx.execute("DELETE FROM iam_versions WHERE arn = ? AND version = ?", (found.arn, number))

    await call.doors.database.write(change)
    return {}


@operation("ListEntitiesForPolicy", needs=needs.managed("ListEntitiesForPolicy"))
async def list_entities_for_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Who has a policy attached, or as its boundary. Source: IAM API Reference, ListEntitiesForPolicy."""

    def look(db: Reader) -> dict[str, Any]:
        found = find(db, request["PolicyArn"])
        usage = request.get("PolicyUsageFilter", "")
        pairs = [] if usage == "PermissionsBoundary" else _uses(db, call.account, found.arn)
        if usage != "PermissionsPolicy":
            pairs = sorted({*pairs, *_bounded(db, call.account, found.arn)})
        kinds: tuple[Kind, ...] = ("group", "user", "role")
        listed: list[Entity] = []
        for kind in kinds:
            title = WORDS[kind].title
            if request.get("EntityFilter", title) not in (title, "LocalManagedPolicy", "AWSManagedPolicy"):
                continue
            owners = [tables.get(db, call.account, kind, name) for its, name in pairs if its == kind]
            listed += [one for one in owners if one.path.startswith(request.get("PathPrefix", "/"))]
        some, told = page(request, sorted(listed, key=lambda one: one.arn), lambda one: one.arn)
        for kind in kinds:
            title = WORDS[kind].title
            told[f"Policy{title}s"] = [
                {f"{title}Name": one.name, f"{title}Id": one.id} for one in some if one.kind == kind
            ]
        return told

    return call.doors.database.read(look)


def _used(db: Reader, account: str, usage: str) -> set[str]:
    """ARNs of the policies that are in use, attached or as boundaries; without `usage`, both."""
    arns: set[str] = set()
    if usage != "PermissionsBoundary":
        arns |= {row[0] for row in db.execute("SELECT DISTINCT arn FROM iam_attached WHERE account = ?", (account,))}
    if usage != "PermissionsPolicy":
        sql = "SELECT DISTINCT boundary FROM iam_entities WHERE account = ? AND boundary != ''"
        arns |= {row[0] for row in db.execute(sql, (account,))}
    return arns


def find(db: Reader, policy_arn: str) -> Managed:
    """A managed policy by its ARN.

    Raises:
        InvalidInput: it is no ARN. NoSuchEntity: there is no such policy.
    """
    if not policy_arn.startswith("arn:"):
        raise InvalidInput(f"ARN {policy_arn} is not valid.")
    found = tables.managed(db, policy_arn)
    if found is None:
        raise NoSuchEntity(f"Policy {policy_arn} was not found.")
    return found


def own(db: Reader, policy_arn: str) -> Managed:
    """A policy that may be changed: AWS's own may not, by anybody.

    Raises:
        InvalidInput: it is AWS's own, or no ARN. NoSuchEntity: there is no such policy.
    """
    if policy_arn.startswith(AWS_MANAGED):
        raise InvalidInput(f"Cannot perform the operation on the AWS managed policy {policy_arn}.")
    return find(db, policy_arn)


def versions(db: Reader, found: Managed) -> list[tuple[dict[str, Any], str]]:
    """A policy's versions with their documents, newest first; of AWS's own the current one."""
    if found.account == "aws":
        rows = [(found.default_version, found.document, found.updated)]
    else:
        rows = db.execute(
            "SELECT version, document, created FROM iam_versions WHERE arn = ? ORDER BY version DESC", (found.arn,)
        ).fetchall()
    return [
        (
            {
                "VersionId": f"v{row[0]}",
                "IsDefaultVersion": row[0] == found.default_version,
                "CreateDate": tables.moment(row[2]),
            },
            row[1],
        )
        for row in rows
    ]


def _number(db: Reader, found: Managed, version: str) -> int:
    for told, _ in versions(db, found):
        if told["VersionId"] == version:
            return int(version[1:])
    raise _no_version(found.arn, version)


def _no_version(policy_arn: str, version: str) -> NoSuchEntity:
    return NoSuchEntity(f"Policy {policy_arn} version {version} does not exist or is not attachable.")


def _uses(db: Reader, account: str, policy_arn: str) -> list[tuple[str, str]]:
    rows = db.execute(
        "SELECT kind, entity FROM iam_attached WHERE arn = ? AND account = ? ORDER BY entity", (policy_arn, account)
    )
    return [(row[0], row[1]) for row in rows]


def _bounded(db: Reader, account: str, policy_arn: str) -> list[tuple[str, str]]:
    rows = db.execute(
        "SELECT kind, name FROM iam_entities WHERE boundary = ? AND account = ? ORDER BY name", (policy_arn, account)
    )
    return [(row[0], row[1]) for row in rows]


def shape(db: Reader, found: Managed, account: str, *, whole: bool = True) -> dict[str, Any]:
    """A policy as the API writes it. `whole`: with description and tags, as Get does and List does not."""
    told: dict[str, Any] = {
        "PolicyName": found.name,
        "PolicyId": found.id,
        "Arn": found.arn,
        "Path": found.path,
        "DefaultVersionId": f"v{found.default_version}",
        "AttachmentCount": len(_uses(db, account, found.arn)),
        "PermissionsBoundaryUsageCount": len(_bounded(db, account, found.arn)),
        "IsAttachable": True,
        "CreateDate": tables.moment(found.created),
        "UpdateDate": tables.moment(found.updated),
    }
    if whole:
        if found.description:
            told["Description"] = found.description
        told["Tags"] = tables.tag_list(tables.tags(db, found.arn))
    return told

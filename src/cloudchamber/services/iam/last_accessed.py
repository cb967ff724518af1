# SPDX-License-Identifier: Apache-2.0
"""Service last accessed: what an entity's policies grant, and when it was last asked for. The tracks are the record.

Every attempt counts, denied ones too. Source: IAM User Guide, "Refine permissions in AWS using last accessed
information".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.policy.document import document
from cloudchamber.services.iam import grants, needs, tables
from cloudchamber.services.iam.errors import InvalidInput, NoSuchEntity
from cloudchamber.services.iam.names import page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.policy.document import Document
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader, Tx

_KEPT_S = 7 * 86400
_PAGE_POLICIES = 100
_REPORTS_MAX = 1000
"""Reports that are kept; older ones go."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An entity's latest attempt at one action."""

    entity: str
    action: str
    last: float
    region: str


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a report is about: the policies, and the users and roles that have them."""

    documents: tuple[Document, ...]
    entities: tuple[str, ...]


@operation("GenerateServiceLastAccessedDetails", needs=needs.on("GenerateServiceLastAccessedDetails", "Arn"))
async def generate_service_last_accessed_details(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a report about a user, group, role or policy; it is complete at once and kept for a week.

    Raises:
        NoSuchEntity: there is no such thing.

    Source: IAM API Reference, GenerateServiceLastAccessedDetails.
    """
    arn: str = request["Arn"]
    level: str = request.get("Granularity", "SERVICE_LEVEL")
    scope = call.doors.database.read(lambda db: _scope(db, call.account, arn))
    attempts = [attempt for entity in scope.entities for attempt in _attempts(call, entity)]
    services = [_service(scope, attempts, space, level) for space in grants.services(scope.documents)]
    body = json.dumps({"level": level, "entities": scope.entities, "services": services})
    job, owner, now = ids.request_id(), _owner(call), call.now.timestamp()

    def change(tx: Tx) -> None:
        tx.execute("DELETE FROM iam_access_reports WHERE created < ?", (now - _KEPT_S,))
        tx.execute("INSERT INTO iam_access_reports VALUES (?, ?, ?, ?, ?)", (job, call.account, owner, now, body))
        tx.execute(
            "DELETE FROM iam_access_reports WHERE id IN "
            "(SELECT id FROM iam_access_reports ORDER BY created DESC LIMIT -1 OFFSET ?)",
            (_REPORTS_MAX,),
        )

    await call.doors.database.write(change)
    return {"JobId": job}


@operation("GetServiceLastAccessedDetails", needs=needs.account("GetServiceLastAccessedDetails"))
async def get_service_last_accessed_details(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A report, service by service.

    Raises:
        NoSuchEntity: there is no such report, or another made it.

    Source: IAM API Reference, GetServiceLastAccessedDetails.
    """
    told, body = _report(call, request["JobId"])
    some, more = page(request, body["services"], lambda one: one["namespace"])
    return told | {"JobType": body["level"], "ServicesLastAccessed": [_told(one, body["level"]) for one in some]} | more


@operation(
    "GetServiceLastAccessedDetailsWithEntities", needs=needs.account("GetServiceLastAccessedDetailsWithEntities")
)
async def get_service_last_accessed_details_with_entities(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The users and roles that could have used a service by what a report is about, the latest first.

    Raises:
        NoSuchEntity: there is no such report, another made it, or it does not have that service.

    Source: IAM API Reference, GetServiceLastAccessedDetailsWithEntities.
    """
    told, body = _report(call, request["JobId"])
    space: str = request["ServiceNamespace"]
    found = next((one for one in body["services"] if one["namespace"] == space), None)
    if found is None:
        raise NoSuchEntity(f"The service namespace {space} is not in the report.")
    last: dict[str, float] = found["entities"]
    arns = sorted(body["entities"], key=lambda arn: (-last.get(arn, 0.0), arn))
    some, more = page(request, list(enumerate(arns)), lambda one: f"{one[0]:08d}")

    def look(db: Reader) -> list[dict[str, Any]]:
        known = ((tables.by_arn(db, arn), last.get(arn)) for _, arn in some)
        return [_entity(one, at) for one, at in known if one is not None]

    return told | {"EntityDetailsList": call.doors.database.read(look)} | more


@operation("ListPoliciesGrantingServiceAccess", needs=needs.on("ListPoliciesGrantingServiceAccess", "Arn"))
async def list_policies_granting_service_access(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """For each service, the policies of a user, group or role that grant anything of it.

    Raises:
        NoSuchEntity: there is no such user, group or role.
        InvalidInput: there is no such service.

    Source: IAM API Reference, ListPoliciesGrantingServiceAccess.
    """
    spaces = [_namespace(name) for name in request["ServiceNamespaces"]]

    def look(db: Reader) -> list[dict[str, Any]]:
        entity = _entity_of(db, call.account, request["Arn"])
        policies = list(_policies(db, entity))
        return [
            {
                "ServiceNamespace": space.namespace,
                "Policies": [told for told, one in policies if grants.grants(one, space)],
            }
            for space in spaces
        ]

    numbered = list(enumerate(call.doors.database.read(look)))
    marker = {"Marker": request["Marker"]} if "Marker" in request else {}
    some, more = page(marker | {"MaxItems": _PAGE_POLICIES}, numbered, lambda one: f"{one[0]:08d}")
    return {"PoliciesGrantingServiceAccess": [one for _, one in some]} | more


def _namespace(name: str) -> grants.Namespace:
    found = grants.namespaces().get(name)
    if found is None:
        raise InvalidInput(f"The service namespace {name} is not valid.")
    return found


def _owner(call: Call) -> str:
    return call.principal.entity_arn or call.principal.arn


def _entity_of(db: Reader, account: str, arn: str) -> Entity:
    entity = tables.by_arn(db, arn)
    if entity is None or entity.kind == "instance-profile" or entity.account != account:
        raise NoSuchEntity(f"Arn {arn} does not exist.")
    return entity


def _scope(db: Reader, account: str, arn: str) -> _Scope:
    """The policies behind an ARN, and who has them."""
    if ":policy/" in arn:
        found = tables.managed(db, arn)
        if found is None or found.account not in ("aws", account):
            raise NoSuchEntity(f"Arn {arn} does not exist.")
        return _Scope((document(found.document),), tuple(sorted(_having(db, account, arn))))
    entity = _entity_of(db, account, arn)
    texts = tuple(one for _, one in _policies(db, entity))
    return _Scope(texts, tuple(sorted(_users(db, entity))) if entity.kind == "group" else (arn,))


def _having(db: Reader, account: str, arn: str) -> set[str]:
    """ARNs of the users and roles of an account that have a managed policy, by a group too."""
    found: set[str] = set()
    rows = db.execute("SELECT kind, entity FROM iam_attached WHERE arn = ? AND account = ?", (arn, account))
    for kind, name in rows.fetchall():
        entity = tables.get(db, account, kind, name)
        found |= _users(db, entity) if kind == "group" else {entity.arn}
    return found


def _users(db: Reader, group: Entity) -> set[str]:
    return {tables.get(db, group.account, "user", name).arn for name in tables.members(db, group)}


def _policies(db: Reader, entity: Entity) -> Iterable[tuple[dict[str, Any], Document]]:
    """The permissions policies of an entity and of its groups, each as the API tells of it."""
    owners = [entity, *(tables.collections(db, "group", entity) if entity.kind == "user" else ())]
    for owner in owners:
        for name, text in tables.inline(db, owner):
            told = {"PolicyName": name, "PolicyType": "INLINE", "EntityType": owner.kind.upper()}
            yield told | {"EntityName": owner.name}, document(text)
        for arn in tables.attached(db, owner):
            found = tables.managed(db, arn)
            if found is not None:
                told = {"PolicyName": found.name, "PolicyType": "MANAGED", "PolicyArn": arn}
                yield told, document(found.document)


def _attempts(call: Call, entity: str) -> Iterable[_Attempt]:
    for one in call.doors.recorder.last_used(call.account, entity):
        yield _Attempt(entity, one.action, one.last, one.region or call.doors.region)


def _service(scope: _Scope, attempts: Sequence[_Attempt], space: grants.Namespace, level: str) -> dict[str, Any]:
    """One service of a report, as it is kept."""
    prefix = f"{space.namespace}:"
    own = sorted((one for one in attempts if one.action.startswith(prefix)), key=lambda one: one.last)
    kept: dict[str, Any] = {
        "namespace": space.namespace,
        "name": space.name,
        "latest": [own[-1].entity, own[-1].last, own[-1].region] if own else None,
        "entities": {one.entity: one.last for one in own},
    }
    if level == "ACTION_LEVEL" and space.actions:
        latest = {one.action.removeprefix(prefix): one for one in own}
        kept["actions"] = [
            [name, *([found.entity, found.last, found.region] if (found := latest.get(name)) else [])]
            for name in grants.actions(scope.documents, space)
        ]
    return kept


def _told(kept: Mapping[str, Any], level: str) -> dict[str, Any]:
    """One service of a report, as the API tells it."""
    told: dict[str, Any] = {
        "ServiceName": kept["name"],
        "ServiceNamespace": kept["namespace"],
        "TotalAuthenticatedEntities": len(kept["entities"]),
    }
    if kept["latest"]:
        entity, last, region = kept["latest"]
        told |= {
            "LastAuthenticated": tables.moment(last),
            "LastAuthenticatedEntity": entity,
            "LastAuthenticatedRegion": region,
        }
    if level == "ACTION_LEVEL" and "actions" in kept:
        told["TrackedActionsLastAccessed"] = [_action(*one) for one in kept["actions"]]
    return told


def _action(name: str, entity: str = "", last: float = 0.0, region: str = "") -> dict[str, Any]:
    if not entity:
        return {"ActionName": name}
    accessed = {"LastAccessedEntity": entity, "LastAccessedTime": tables.moment(last), "LastAccessedRegion": region}
    return {"ActionName": name} | accessed


def _entity(found: Entity, last: float | None) -> dict[str, Any]:
    info = {
        "Arn": found.arn, "Name": found.name, "Type": found.kind.upper(), "Id": found.id, "Path": found.path,
    }  # fmt: skip
    return {"EntityInfo": info} | ({"LastAuthenticated": tables.moment(last)} if last else {})


def _report(call: Call, job: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What every answer about a report has, and the report."""
    row = call.doors.database.read(
        lambda db: db.execute(
            "SELECT created, body FROM iam_access_reports WHERE id = ? AND account = ? AND owner = ?",
            (job, call.account, _owner(call)),
        ).fetchone()
    )
    if row is None:
        raise NoSuchEntity(f"Job {job} cannot be found.")
    at = tables.moment(row["created"])
    return {"JobStatus": "COMPLETED", "JobCreationDate": at, "JobCompletionDate": at}, json.loads(row["body"])

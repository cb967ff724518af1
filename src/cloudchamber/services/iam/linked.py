# SPDX-License-Identifier: Apache-2.0
"""Service-linked roles: made for a service, changed by nobody else.

Which services have one, and with which policies: ``data/service_linked_roles.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import aws_managed, entities, needs, tables
from cloudchamber.services.iam.errors import InvalidInput, NoSuchEntity, UnmodifiableEntity
from cloudchamber.services.iam.names import AWS_MANAGED, arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.names import Kind
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader, Tx

PATH = "/aws-service-role/"
_ROLE_NAME_MAX = 64
_FILE = Path(__file__).parent / "data" / "service_linked_roles.json"
_REMEMBERED_S = 7 * 86400


@dataclass(frozen=True, slots=True)
class Template:
    """What IAM makes for one service. `policies` lack the ARN's beginning."""

    role: str
    policies: tuple[str, ...]
    suffix: bool = False
    """Whether there can be several, each with a suffix of its own."""


@cache
def templates() -> Mapping[str, Template]:
    """By the service's principal: ``autoscaling.amazonaws.com``."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))["roles"]
    return {host: Template(row["role"], tuple(row["policies"]), bool(row.get("suffix"))) for host, row in rows.items()}


def changeable(db: Reader, account: str, kind: Kind, name: str) -> Entity:
    """An entity that its account may change.

    Raises:
        NoSuchEntity: there is none.
        UnmodifiableEntity: it is a service-linked role.
    """
    found = tables.get(db, account, kind, name)
    if found.kind == "role" and found.path.startswith(PATH):
        raise UnmodifiableEntity(
            f"Cannot perform the operation on the protected role '{found.name}' - this role is only modifiable by AWS"
        )
    return found


def _name(request: Mapping[str, Any]) -> str:
    """What the role is called; a service that has none gets a name of the same form, to be refused by."""
    template = templates().get(request["AWSServiceName"])
    role = template.role if template is not None else "AWSServiceRoleFor"
    return f"{role}_{request['CustomSuffix']}" if "CustomSuffix" in request else role


def _create_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    host: str = request["AWSServiceName"]
    where = arn(call.account, "role", f"{PATH}{host}/", _name(request))
    yield Need("iam:CreateServiceLinkedRole", where, {"iam:AWSServiceName": host})


@operation("CreateServiceLinkedRole", needs=_create_needs)
async def create_service_linked_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make the role of a service, with its policies.

    Raises:
        InvalidInput: the service has none, or takes no suffix, or the role is there already.

    Source: IAM API Reference, CreateServiceLinkedRole.
    """
    host: str = request["AWSServiceName"]
    template = templates().get(host)
    if template is None:
        raise InvalidInput(f"Cannot find Service Linked Role template for {host}")
    if "CustomSuffix" in request and not template.suffix:
        raise InvalidInput(f"Custom suffix is not allowed for {host}")
    name = _name(request)
    if len(name) > _ROLE_NAME_MAX:
        raise InvalidInput(f"Service role name {name} is longer than {_ROLE_NAME_MAX} characters.")
    statement = {"Effect": "Allow", "Principal": {"Service": host}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def change(tx: Tx) -> dict[str, Any]:
        if tables.find(tx, call.account, "role", name) is not None:
            raise InvalidInput(
                f"Service role name {name} has been taken in this account, please try a different suffix."
            )
        made = {"RoleName": name, "Path": f"{PATH}{host}/"}
        role = entities.create(tx, call, "role", made, trust=trust, description=request.get("Description", ""))
        for policy in template.policies:
            # Why: of one that is not among the known documents nobody could say what it allows
            if aws_managed.find(AWS_MANAGED + policy) is not None:
                row = (call.account, "role", name, AWS_MANAGED + policy)
                tx.execute("INSERT INTO iam_attached VALUES (?, ?, ?, ?)", row)
        told = tables.shape(tx, role)
        told.pop("MaxSessionDuration", None)
        told.pop("RoleLastUsed", None)
        return told

    return {"Role": await call.doors.database.write(change)}


@operation("DeleteServiceLinkedRole", needs=needs.entity("DeleteServiceLinkedRole", "role"))
async def delete_service_linked_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete the role of a service. No service here holds on to one, so it is gone at once.

    Raises:
        NoSuchEntity: there is no such role.
        InvalidInput: the role belongs to no service.

    Source: IAM API Reference, DeleteServiceLinkedRole.
    """
    task = ids.request_id()

    def change(tx: Tx) -> str:
        role = tables.get(tx, call.account, "role", request["RoleName"])
        if not role.path.startswith(PATH):
            raise InvalidInput(f"Role {role.name} is not a service-linked role.")
        key = (role.account, role.name)
        tx.execute("DELETE FROM iam_attached WHERE account = ? AND kind = 'role' AND entity = ?", key)
        entities.delete(tx, role, call.doors)
        made = f"task{role.path}{role.name}/{task}"
        now = call.now.timestamp()
        tx.execute("DELETE FROM iam_deletions WHERE done < ?", (now - _REMEMBERED_S,))
        tx.execute("INSERT INTO iam_deletions VALUES (?, ?, ?)", (made, role.account, now))
        return made

    return {"DeletionTaskId": await call.doors.database.write(change)}


@operation("GetServiceLinkedRoleDeletionStatus", needs=needs.deletion_task)
async def get_service_linked_role_deletion_status(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """How a deletion went; it is remembered for a week.

    Raises:
        NoSuchEntity: there is no such task.

    Source: IAM API Reference, GetServiceLinkedRoleDeletionStatus.
    """
    task: str = request["DeletionTaskId"]
    known = call.doors.database.read(
        lambda db: db.execute(
            "SELECT 1 FROM iam_deletions WHERE task = ? AND account = ?", (task, call.account)
        ).fetchone()
    )
    if known is None:
        raise NoSuchEntity(f"Deletion task {task} cannot be found.")
    return {"Status": "SUCCEEDED"}

# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow, pure. Source: Service Authorization Reference, "Amazon RDS"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import ContextValue, Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

_CONDITIONS = {"DBInstanceClass": "rds:DatabaseClass", "Engine": "rds:DatabaseEngine", "DBName": "rds:DatabaseName"}


def _db(call: Call, name: str) -> str:
    if name.startswith("arn:"):
        return name
    return str(Arn("rds", call.region, call.account, f"db:{name.lower() or '*'}"))


def create_db_instance(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """CreateDBInstance, and AddTagsToResource for its tags."""
    resource = _db(call, str(request.get("DBInstanceIdentifier", "")))
    tags = {str(t.get("Key", "")): str(t.get("Value", "")) for t in request.get("Tags") or ()}
    context: dict[str, ContextValue] = {k: str(request[m]) for m, k in _CONDITIONS.items() if m in request}
    if "ManageMasterUserPassword" in request:
        context["rds:ManageMasterUserPassword"] = str(bool(request["ManageMasterUserPassword"])).lower()
    for key, value in tags.items():
        context[f"aws:RequestTag/{key}"] = value
    if tags:
        context["aws:TagKeys"] = tuple(tags)
    yield Need("rds:CreateDBInstance", resource, context)
    if tags:
        yield Need("rds:AddTagsToResource", resource, context)


def on_instance(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the instance that `DBInstanceIdentifier` names; on all if it names none."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"rds:{action}", _db(call, str(request.get("DBInstanceIdentifier", ""))))

    return needs


def on_resource(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the ARN in `ResourceName`."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        context: dict[str, ContextValue] = {}
        tags = {str(t.get("Key", "")): str(t.get("Value", "")) for t in request.get("Tags") or ()}
        for key, value in tags.items():
            context[f"aws:RequestTag/{key}"] = value
        keys = tuple(tags) or tuple(str(key) for key in request.get("TagKeys") or ())
        if keys:
            context["aws:TagKeys"] = keys
        yield Need(f"rds:{action}", str(request.get("ResourceName", "*")), context)

    return needs


def anywhere(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action without a resource."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"rds:{action}", "*")

    return needs

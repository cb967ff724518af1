# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow. Source: Service Authorization Reference, "AWS Systems Manager"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.ssm.tables import arn_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Needs = Callable[[Call, Mapping[str, Any]], Iterable[Need]]


def plain(name: str) -> str:
    """A name without the version or label that a selector adds to it."""
    return name.partition(":")[0]


def tag_context(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    """Condition keys of the tags that a request gives or takes."""
    tags: dict[str, str] = {str(t["Key"]): str(t.get("Value", "")) for t in request.get("Tags") or ()}
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    keys = tuple(tags) or tuple(str(key) for key in request.get("TagKeys") or ())
    return {**context, "aws:TagKeys": keys} if keys else context


def on_name(action: str) -> Needs:
    """An action on the parameter that `Name` names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"ssm:{action}", arn_of(call.region, call.account, plain(str(request["Name"]))))

    return needs


def on_names(action: str) -> Needs:
    """An action on each parameter that `Names` names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        for name in request["Names"]:
            yield Need(f"ssm:{action}", arn_of(call.region, call.account, plain(str(name))))

    return needs


def put_parameter(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """PutParameter, and AddTagsToResource for its tags."""
    arn, tags = arn_of(call.region, call.account, str(request["Name"])), tag_context(request)
    overwrite: ContextValue = "true" if request.get("Overwrite") else "false"
    yield Need("ssm:PutParameter", arn, {**tags, "ssm:Overwrite": overwrite})
    if tags:
        yield Need("ssm:AddTagsToResource", arn, tags)


def by_path(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """GetParametersByPath, on the path as if it were a parameter."""
    recursive: ContextValue = "true" if request.get("Recursive") else "false"
    path = str(request["Path"]).rstrip("/")
    yield Need("ssm:GetParametersByPath", arn_of(call.region, call.account, path), {"ssm:Recursive": recursive})


def on_tags(action: str) -> Needs:
    """An action on the tags of a parameter."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        arn = arn_of(call.region, call.account, str(request["ResourceId"]))
        yield Need(f"ssm:{action}", arn, tag_context(request))

    return needs

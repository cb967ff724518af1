# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow. Source: Service Authorization Reference, "Amazon Elastic Container Registry"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.ecr.tables import arn_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Needs = Callable[[Call, Mapping[str, Any]], Iterable[Need]]


def _tag_context(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    tags: dict[str, str] = {str(t["Key"]): str(t.get("Value", "")) for t in request.get("tags") or ()}
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    keys = tuple(tags) or tuple(str(key) for key in request.get("tagKeys") or ())
    return {**context, "aws:TagKeys": keys} if keys else context


def on_name(action: str) -> Needs:
    """An action on the repository that `repositoryName` names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        arn, tags = arn_of(call.region, call.account, str(request["repositoryName"])), _tag_context(request)
        yield Need(f"ecr:{action}", arn, tags)
        if tags:
            yield Need("ecr:TagResource", arn, tags)

    return needs


def on_names(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """DescribeRepositories, of those that are named or of all."""
    for name in request.get("repositoryNames") or ("*",):
        yield Need("ecr:DescribeRepositories", arn_of(call.region, call.account, str(name)))


def on_arn(action: str) -> Needs:
    """An action on the tags of a repository."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"ecr:{action}", str(request["resourceArn"]), _tag_context(request))

    return needs

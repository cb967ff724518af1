# SPDX-License-Identifier: Apache-2.0
"""Which permissions each operation needs. Pure.

Groups are named in policies as ``...:log-group:NAME:*``, and without the ``:*`` for TagResource, UntagResource and
ListTagsForResource; streams as ``...:log-group:NAME:log-stream:STREAM``. Source: Service Authorization Reference,
Amazon CloudWatch Logs; Amazon CloudWatch Logs User Guide, "CloudWatch Logs resources and operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Need
from cloudchamber.services.logs.names import group_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Needs = Callable[[Call, Mapping[str, Any]], Iterable[Need]]


def _group(call: Call, request: Mapping[str, Any]) -> str:
    given = str(request.get("logGroupName") or request.get("logGroupIdentifier") or "*")
    if given.startswith("arn:"):
        return given.removesuffix(":*")
    return group_arn(call.account, call.region, given)


def _tags(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    """Condition keys of the tags in a request: a mapping to set, a list of keys to remove."""
    tags: Any = request.get("tags") or request.get("tagKeys") or ()
    context: dict[str, ContextValue] = {"aws:TagKeys": tuple(tags)} if tags else {}
    if isinstance(tags, dict):
        context.update({f"aws:RequestTag/{k}": str(v) for k, v in cast("dict[str, Any]", tags).items()})
    return context


def on_group(action: str) -> Needs:
    """The action on the group that the request names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
        # Why: AWS's policies write the group with :* behind it, and that matches; a group itself is asked so too.
        yield Need(f"logs:{action}", f"{_group(call, request)}:*", _tags(request))

    return needs


def on_stream(action: str) -> Needs:
    """The action on the stream that the request names."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
        yield Need(f"logs:{action}", f"{_group(call, request)}:log-stream:{request.get('logStreamName', '*')}")

    return needs


def create_group(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """CreateLogGroup, and TagResource where tags are given."""
    context = _tags(request)
    if context:
        yield Need("logs:TagResource", _group(call, request), context)
    yield Need("logs:CreateLogGroup", f"{_group(call, request)}:*", context)


def describe_groups(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """DescribeLogGroups, over all groups."""
    yield Need("logs:DescribeLogGroups", str(Arn("logs", call.region, call.account, "log-group::log-stream:*")))


def on_arn(action: str) -> Needs:
    """The action on ``resourceArn``."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
        arn = str(request.get("resourceArn", "")).removesuffix(":*")
        yield Need(f"logs:{action}", arn, _tags(request))

    return needs


def live_tail(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    """StartLiveTail on each group."""
    for arn in request.get("logGroupIdentifiers", ()):
        yield Need("logs:StartLiveTail", f"{_group(call, {'logGroupIdentifier': arn})}:*")


def everything(action: str) -> Needs:
    """The action, which has no resource."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
        yield Need(f"logs:{action}", "*")

    return needs

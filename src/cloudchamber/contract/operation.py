# SPDX-License-Identifier: Apache-2.0
"""What an operation is: a name, what it needs of IAM, and what it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

Req = TypeVar("Req")
Res = TypeVar("Res")

ContextValue: TypeAlias = "str | tuple[str, ...]"
"""Value of a condition key: one string (numbers, booleans and dates as IAM writes them) or several."""


@dataclass(slots=True)
class Need:
    """One permission that a request needs: an IAM action on a resource. Nobody changes it.

    `resource` is an ARN, or ``*`` for actions without resource types. `context` holds the service's own
    condition keys (``s3:prefix``, ``iam:PassedToService``); global keys are filled by the front.
    """

    action: str
    resource: str
    context: Mapping[str, ContextValue] = field(default_factory=dict[str, ContextValue])
    looked_up: tuple[str, Callable[[], Mapping[str, ContextValue]]] | None = None
    """Keys that cost a look into the store: how they begin, in lower case, and what finds them. They are found only if
    a policy that is asked reads such a key."""
    own: Callable[[], Facts | None] | None = None
    """Facts of the resource itself, where those of what it lies in say that they are `apart`: an object's, with its
    ACL, beside its bucket's. None from it: the resource does not exist, and what it would lie in decides."""
    instead: Callable[[], Need | None] | None = None
    """A need that does as well where nothing allows this one, and nothing forbids it: who may list a bucket may know
    that an object is not there. Found only then; None from it: there is none. The operation answers only that
    something is missing if this let the call in: `Call.missing_only`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the owner of a resource says about it, for the decision. Read synchronously, from the store."""

    account: str
    """The account that owns the resource."""
    policy: str = ""
    """The resource-based policy as JSON (bucket policy, function policy, trust policy); empty for none."""
    policy_name: str = ""
    """How explanations call that policy: ``bucket policy of my-bucket``."""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    apart: bool = False
    """What lies in this resource has facts of its own: see `Need.own`."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[Req, Res]):
    """One AWS operation of a service."""

    name: str
    needs: Callable[[Call, Req], Iterable[Need]]
    run: Callable[[Call, Req], Awaitable[Res]]


AnyOperation: TypeAlias = "Operation[Any, Any]"


def operation(
    name: str, *, needs: Callable[[Call, Req], Iterable[Need]]
) -> Callable[[Callable[[Call, Req], Awaitable[Res]]], Operation[Req, Res]]:
    """Make an `Operation` of a coroutine function."""

    def wrap(run: Callable[[Call, Req], Awaitable[Res]]) -> Operation[Req, Res]:
        return Operation(name, needs, run)

    return wrap


def nothing(call: Call, request: Any) -> Iterable[Need]:
    """For the few operations that every authenticated caller may use (GetCallerIdentity)."""
    return ()


def each_by_itself(call: Call, request: Any) -> Iterable[Need]:
    """For operations that ask for every item while they run, and answer each refusal by itself (DeleteObjects)."""
    return ()

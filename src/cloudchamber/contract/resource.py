# SPDX-License-Identifier: Apache-2.0
"""What a CloudFormation resource type is.

Source: CloudFormation resource provider schemas (create, read, update, delete; create-only properties; Ref and
GetAtt values).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.base.clock import Clock


@dataclass(frozen=True, slots=True)
class Property:
    """One supported property.

    `update`: what a changed value does - ``in-place`` (no interruption), ``interrupt`` (some interruption) or
    ``replace``. `shape` names the members of a structure, or of the structures in a list; None means any value
    is taken as it is (policy documents, maps). A member that no shape names is refused before anything is created.
    """

    update: Literal["in-place", "interrupt", "replace"] = "in-place"
    required: bool = False
    shape: Mapping[str, Property] | None = None


class Agent(Protocol):
    """What a resource type may use while it works: calls as the stack's caller or role, on the stack's track."""

    async def ask(self, service: str, operation: str, request: Mapping[str, Any]) -> Any:
        """Call an operation; raises its `ServiceError`."""
        ...

    @property
    def account(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def stack_name(self) -> str: ...
    @property
    def stack_id(self) -> str: ...
    @property
    def logical_id(self) -> str: ...
    @property
    def snapshot(self) -> bool:
        """For `delete`: whether ``DeletionPolicy: Snapshot`` asks for a last snapshot."""
        ...

    @property
    def stack_tags(self) -> Mapping[str, str]:
        """Tags of the stack and ``aws:cloudformation:*``, for resources that take tags."""
        ...

    def name(self, length_max: int = 64, *, lower: bool = False) -> str:
        """A physical name in CloudFormation's form: ``stack-LogicalId-1A2B3C4D5E6F``; the same for a retry."""
        ...

    def begun(self, physical_id: str) -> None:
        """Say the physical id as soon as it is known (RunInstances answered, the instance is not running yet).

        Call it before waiting: after a crash of the chamber the engine knows then what to delete. The id must be
        one that `delete` takes. Types whose id is `name()` or known from the properties need not call it.
        """

    def progress(self, reason: str) -> None:
        """Tell the stack's events why this takes a while."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists and works: its physical id (what Ref gives unless `ref` says) and GetAtt values."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ref: str = ""
    masked: bool = False
    """Whether the attributes are secret: shown as ``****``."""


Properties: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type such as ``AWS::S3::Bucket``.

    `create` returns only when the resource works (an instance runs, a database is available). `update` gets the
    physical id, the old and the new properties, and is called only when no changed property says ``replace``.
    `delete` of what is gone already is a success. Each raises `ServiceError`; the engine rolls back.
    A failed `create` leaves nothing behind.
    `attributes` are the names that GetAtt takes (``Endpoint.Address``), known before anything is created.
    """

    name: str
    properties: Mapping[str, Property]
    create: Callable[[Agent, Properties], Awaitable[Made]]
    delete: Callable[[Agent, str, Properties], Awaitable[None]]
    update: Callable[[Agent, str, Properties, Properties], Awaitable[Made]] | None = None
    attributes: tuple[str, ...] = ()
    check: Callable[[Properties], None] | None = None
    """Pure check of resolved properties beyond their names; raises ValidationError."""
    snapshot: bool = False
    """Whether ``DeletionPolicy: Snapshot`` is supported."""
    open: bool = False
    """Whether it takes any property and gives any attribute: custom resources."""

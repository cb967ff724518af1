# SPDX-License-Identifier: Apache-2.0
"""What resource types work with: calls as the stack's caller or role, on the stack's track."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.identity import Principal, service_principal
from cloudchamber.services.cloudformation.names import CALLER, physical_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.base.clock import Clock
    from cloudchamber.contract.call import Doors
    from cloudchamber.services.cloudformation.answers import Answers
    from cloudchamber.track.track import Trace

_ROLE_SESSION_S = 3600
_RENEW_AFTER = timedelta(minutes=45)


def principal_to_json(principal: Principal) -> dict[str, Any]:
    """A principal as JSON-able values; it has no secret."""
    values = asdict(principal)
    values["issued_at"] = principal.issued_at.isoformat() if principal.issued_at else None
    return values


def principal_from_json(values: Mapping[str, Any]) -> Principal:
    """A principal from JSON-able values."""
    known = dict(values)
    known["session_policies"] = tuple(known.get("session_policies", ()))
    known["via"] = tuple(known.get("via", ()))
    known["issued_at"] = datetime.fromisoformat(known["issued_at"]) if known.get("issued_at") else None
    return Principal(**known)


class Caller:
    """As whom a stack calls: as its caller through CloudFormation, or as its service role."""

    def __init__(self, doors: Doors, principal: Principal, role_arn: str, stack_id: str, trace: Trace | None) -> None:
        self._doors = doors
        self._role_arn = role_arn
        self._stack_id = stack_id
        self._trace = trace
        self._region = stack_id.split(":")[3]
        self._principal = principal if CALLER in principal.via else replace(principal, via=(*principal.via, CALLER))
        self._assumed: Principal | None = None
        self._renew_at: datetime | None = None

    async def ask(self, service: str, operation: str, request: Mapping[str, Any]) -> Any:
        """Call an operation; raises its `ServiceError`."""
        principal = await self._role() if self._role_arn else self._principal
        return await self._doors.ask(
            service, operation, request, principal=principal, trace=self._trace, region=self._region
        )

    async def _role(self) -> Principal:
        now = self._doors.clock.now()
        if self._assumed is None or self._renew_at is None or now >= self._renew_at:
            answer = await self._doors.ask(
                "sts",
                "AssumeRole",
                {
                    "RoleArn": self._role_arn,
                    "RoleSessionName": "AWSCloudFormation",
                    "DurationSeconds": _ROLE_SESSION_S,
                },
                principal=service_principal(CALLER, self._stack_id.split(":")[4], self._stack_id),
                trace=self._trace,
                region=self._region,
            )
            given = answer["Credentials"]
            found = self._doors.identities.credential(given["AccessKeyId"], given["SessionToken"], now)
            self._assumed = replace(found.principal, via=(CALLER,))
            self._renew_at = now + _RENEW_AFTER
        return self._assumed


@dataclass(frozen=True, slots=True)
class About:
    """What an agent tells of its stack."""

    account: str
    region: str
    clock: Clock
    stack_name: str
    stack_id: str
    tags: Mapping[str, str]


class StackAgent:
    """One resource's agent (`contract.resource.Agent`)."""

    def __init__(
        self,
        about: About,
        caller: Caller,
        logical_id: str,
        unique: str,
        claim: Callable[[str, str, str], Awaitable[None]],
        answers: Answers,
    ) -> None:
        """`claim` stores a name, a physical id or a reason (one of the three) with the resource, durably."""
        self._about = about
        self._caller = caller
        self._unique = unique
        self._claim = claim
        self._pending: list[tuple[str, str, str]] = []
        self._claimed = ""
        self.logical_id = logical_id
        self.answers = answers
        self.snapshot = False

    @property
    def account(self) -> str:
        return self._about.account

    @property
    def region(self) -> str:
        return self._about.region

    @property
    def clock(self) -> Clock:
        return self._about.clock

    @property
    def stack_name(self) -> str:
        return self._about.stack_name

    @property
    def stack_id(self) -> str:
        return self._about.stack_id

    @property
    def stack_tags(self) -> Mapping[str, str]:
        """Tags of the stack and ``aws:cloudformation:*``."""
        return {
            **self._about.tags,
            "aws:cloudformation:stack-name": self._about.stack_name,
            "aws:cloudformation:logical-id": self.logical_id,
            "aws:cloudformation:stack-id": self._about.stack_id,
        }

    def name(self, length_max: int = 64, *, lower: bool = False) -> str:
        """A physical name in CloudFormation's form; the same for a retry."""
        name = physical_name(self.stack_name, self.logical_id, self._unique, length_max)
        name = name.lower() if lower else name
        if name != self._claimed:
            self._claimed = name
            self._pending.append((name, "", ""))
        return name

    def begun(self, physical_id: str) -> None:
        """Say the physical id as soon as it is known."""
        self._pending.append(("", physical_id, ""))

    def progress(self, reason: str) -> None:
        """Tell the stack's events why this takes a while."""
        self._pending.append(("", "", reason[:1024]))

    async def ask(self, service: str, operation: str, request: Mapping[str, Any]) -> Any:
        """Call an operation; a name that was claimed is durable before the call."""
        await self.flush()
        return await self._caller.ask(service, operation, request)

    async def flush(self) -> None:
        """Store what was said."""
        pending, self._pending = self._pending, []
        for said in pending:
            await self._claim(*said)

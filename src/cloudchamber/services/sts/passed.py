# SPDX-License-Identifier: Apache-2.0
"""What a session is passed when it begins: policies that limit it, tags, a source identity; and their limits.

Source: IAM User Guide, "Pass session tags in AWS STS"; AWS STS API Reference, AssumeRole; IAM and STS quotas.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError
from cloudchamber.services.sts.errors import (
    InvalidParameterValue,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.contract.identity import Identities, Principal
    from cloudchamber.contract.operation import ContextValue

POLICY_MAX = 2048
POLICY_ARNS_MAX = 10
PACKED_OCTETS_MAX = 2048
"""What policies and tags may take together, once they are packed."""
TAGS_MAX = 50
_DUPLICATE = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
_NOT_PASSED = "The specified transitive tag key must be included in the requested tags."
_CONFLICT = (
    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
    "calling session."
)


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of a session: those asked for, and those that the calling session hands on."""

    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    inherited: Mapping[str, str] = field(default_factory=dict[str, str])
    transitive: tuple[str, ...] = ()
    """Keys that go on to the next session of a chain."""

    @property
    def passed(self) -> dict[str, str]:
        """All that the trust policy decides on."""
        return {**self.asked, **self.inherited}

    def context(self) -> dict[str, ContextValue]:
        """Condition keys of a request that passes them."""
        keys: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in self.passed.items()}
        if keys:
            keys["aws:TagKeys"] = tuple(self.passed)
        if self.transitive:
            keys["sts:TransitiveTagKeys"] = self.transitive
        return keys


def tags(asked: Iterable[Mapping[str, str]], transitive: Sequence[str], caller: Principal) -> Tags:
    """The tags of a session that `caller` begins, as they are asked for; `check_tags` says what is wrong with them."""
    found = {tag["Key"]: tag.get("Value", "") for tag in asked}
    handed_on = _handed_on(caller)
    inherited = {key: value for key, value in caller.tags.items() if key.lower() in handed_on}
    return Tags(found, inherited, tuple(dict.fromkeys((*inherited, *transitive))))


def check_tags(asked: Iterable[Mapping[str, str]], transitive: Sequence[str], caller: Principal) -> None:
    """Hold the tags that are asked for against STS's rules.

    Raises:
        InvalidParameterValue: a key comes twice, is reserved, is transitive but not passed, or would replace one that
            the calling session hands on. ValidationError: more than 50.
    """
    keys = [tag["Key"].lower() for tag in asked]
    if len(set(keys)) != len(keys):
        raise InvalidParameterValue(_DUPLICATE)
    if any(key.startswith("aws:") for key in keys):
        raise InvalidParameterValue("aws: prefixed tag key names are not allowed for external use.")
    if len(keys) > TAGS_MAX:
        raise ValidationError(f"A session has {TAGS_MAX} tags at most.")
    if not {key.lower() for key in transitive} <= set(keys):
        raise InvalidParameterValue(_NOT_PASSED)
    if not _handed_on(caller).isdisjoint(keys):
        raise InvalidParameterValue(_CONFLICT)


def _handed_on(caller: Principal) -> set[str]:
    return {key.lower() for key in caller.transitive_tags} if caller.kind == "assumed-role" else set()


def policies(identities: Identities, request: Mapping[str, Any], account: str) -> tuple[str, ...]:
    """Session policies of a request: texts, and ARNs of managed policies, whose text is read when it is asked for.

    Raises:
        MalformedPolicyDocument: one is no policy. PackedPolicyTooLarge, ValidationError: too long, or too many.
    """
    found: list[str] = []
    text = request.get("Policy")
    if text is not None:
        if len(text) > POLICY_MAX:
            share = len(text) * 100 // POLICY_MAX
            raise PackedPolicyTooLarge(f"Packed policy consumes {share}% of allotted space, please use smaller policy.")
        try:
            check.identity(text)
        except PolicyError as error:
            raise MalformedPolicyDocument(str(error)) from error
        found.append(text)
    named = [one.get("arn", "") for one in request.get("PolicyArns", ())]
    if len(named) > POLICY_ARNS_MAX:
        raise ValidationError(
            f"1 validation error detected: Value '{named}' at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {POLICY_ARNS_MAX}"
        )
    for arn in named:
        try:
            owner = Arn.parse(arn).account
        except ValueError:
            raise ValidationError(f"{arn} is invalid") from None
        if owner not in ("aws", account) or identities.managed_document(arn) is None:
            raise MalformedPolicyDocument(f"Policy {arn} does not exist or is not attachable.")
    return (*found, *named)


def packed_size(session_policies: Sequence[str], passed: Mapping[str, str]) -> int | None:
    """Share, in percent, of the room for session policies and tags; None if there are none.

    Raises:
        PackedPolicyTooLarge: they need more room than there is.
    """
    if not session_policies and not passed:
        return None
    packed = zlib.compress(json.dumps([*session_policies, dict(passed)], separators=(",", ":")).encode(), 9)
    share = -(-len(packed) * 100 // PACKED_OCTETS_MAX)
    if share > 100:
        raise PackedPolicyTooLarge(f"Packed policy consumes {share}% of allotted space, please use smaller policy.")
    return share

# SPDX-License-Identifier: Apache-2.0
"""Policies on their way in: checked, with IAM's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError
from cloudchamber.services.iam import tables
from cloudchamber.services.iam.errors import LimitExceeded, MalformedPolicyDocument, NoSuchEntity

if TYPE_CHECKING:
    from cloudchamber.store.database import Reader

TRUST_MAX = 2048
MANAGED_MAX = 6144


def size(text: str) -> int:
    """Characters that count towards a quota: all but white space."""
    return len(re.sub(r"\s", "", text))


def identity(text: str) -> None:
    """Check an inline policy.

    Raises:
        MalformedPolicyDocument: with AWS's message.
    """
    _checked(text, managed=False)


def _checked(text: str, *, managed: bool) -> None:
    try:
        check.identity(text, managed=managed)
    except PolicyError as error:
        raise MalformedPolicyDocument(str(error)) from error


def managed(text: str) -> None:
    """Check a managed policy, its size included.

    Raises:
        MalformedPolicyDocument: with AWS's message.
        LimitExceeded: it is too long.
    """
    _checked(text, managed=True)
    if size(text) > MANAGED_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {MANAGED_MAX}")


def trust(db: Reader, account: str, text: str) -> None:
    """Check a trust policy; users and roles of this account that it names must exist.

    Raises:
        MalformedPolicyDocument: with AWS's message.
        LimitExceeded: it is too long.
    """
    try:
        named = check.trust(text)
    except PolicyError as error:
        raise MalformedPolicyDocument(str(error)) from error
    if size(text) > TRUST_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_MAX}")
    for name in named:
        parts = name.split(":", 5)
        if parts[2] == "iam" and parts[4] == account and parts[5] != "root" and tables.by_arn(db, name) is None:
            raise MalformedPolicyDocument(f'Invalid principal in policy: "AWS":"{name}"')


def boundary(db: Reader, account: str, arn: str) -> None:
    """A boundary must be a managed policy that exists, of the account itself or of AWS's.

    Raises:
        NoSuchEntity: it is none.
    """
    found = tables.managed(db, arn)
    if found is None or found.account not in (account, "aws"):
        raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")

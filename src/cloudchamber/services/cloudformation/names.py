# SPDX-License-Identifier: Apache-2.0
"""Names, ARNs and statuses. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from cloudchamber.base.errors import ValidationError

STACK_TYPE = "AWS::CloudFormation::Stack"
CALLER = "cloudformation.amazonaws.com"
_STACK = re.compile(r"[A-Za-z][-A-Za-z0-9]{0,127}")
_CHANGE_SET = re.compile(r"[A-Za-z][-A-Za-z0-9]{0,127}")
_S3_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?s3(?:[.-](?:dualstack\.)?[a-z]{2}(?:-[a-z]+)+-\d)?"
    r"(?:\.amazonaws\.com(?:\.cn)?|\.localhost\.localstack\.cloud)"
)
_LOCAL = re.compile(r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?(?:s3\.)?(?:localhost|127\.0\.0\.1)")

UPDATABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "CREATE_FAILED",
        "UPDATE_COMPLETE",
        "UPDATE_FAILED",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
ROLLED_BACK = "ROLLBACK_COMPLETE"


def in_progress(status: str) -> bool:
    """Whether an operation is under way."""
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def check_stack_name(name: str) -> str:
    """The name of a new stack.

    Raises:
        ValidationError: it is not a letter followed by letters, digits and hyphens, 128 in all.
    """
    if not _STACK.fullmatch(name):
        raise ValidationError(
            f"1 validation error detected: Value '{name[:200]}' at 'stackName' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )
    return name


def check_change_set_name(name: str) -> str:
    """The name of a new change set.

    Raises:
        ValidationError: it is not a letter followed by letters, digits and hyphens, 128 in all.
    """
    if not _CHANGE_SET.fullmatch(name):
        raise ValidationError(
            f"1 validation error detected: Value '{name[:200]}' at 'changeSetName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )
    return name


def stack_arn(region: str, account: str, name: str, unique: str) -> str:
    """ARN of a stack, which is its id."""
    return f"arn:aws:cloudformation:{region}:{account}:stack/{name}/{unique}"


def change_set_arn(region: str, account: str, name: str, unique: str) -> str:
    """ARN of a change set, which is its id."""
    return f"arn:aws:cloudformation:{region}:{account}:changeSet/{name}/{unique}"


def physical_name(stack: str, logical_id: str, token: str, length_max: int) -> str:
    """CloudFormation's form of a name: ``stack-LogicalId-1A2B3C4D5E6F``, shortened where it must be."""
    room = max(0, length_max - len(token) - 2)
    if len(stack) + len(logical_id) > room:
        logical_id = logical_id[: max(room // 2, room - len(stack))]
        stack = stack[: room - len(logical_id)]
    return "-".join(part for part in (stack.rstrip("-"), logical_id, token) if part)[:length_max]


def s3_location(url: str, endpoint: str) -> tuple[str, str, str]:
    """Bucket, key and version id of a TemplateURL, in any form that S3 clients write; nothing else is fetched.

    Raises:
        ValidationError: the URL is not one of S3.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    match = _S3_HOST.fullmatch(host) or _LOCAL.fullmatch(host)
    if match is None and host == (urlsplit(endpoint).hostname or ""):
        match = _LOCAL.fullmatch("localhost")
    path = unquote(parts.path).lstrip("/")
    if match is None or parts.scheme not in ("http", "https"):
        raise ValidationError("TemplateURL must be a supported URL.")
    bucket = match.group("bucket") or ""
    if not bucket:
        bucket, _, path = path.partition("/")
    if not bucket or not path:
        raise ValidationError("TemplateURL must reference a valid S3 object to which you have access.")
    version = re.search(r"(?:^|&)versionId=([^&]+)", parts.query)
    return bucket, path, version.group(1) if version else ""

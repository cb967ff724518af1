# SPDX-License-Identifier: Apache-2.0
"""What IAM demands of a document before it keeps it, beyond what can be compiled; with AWS's messages.

Source: IAM User Guide, "Grammar of the IAM JSON policy language"; messages as IAM's API answers them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.policy.document import PolicyError, document, load, strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TOP = frozenset(("Version", "Id", "Statement"))
_STATEMENT = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_SID = re.compile(r"[A-Za-z0-9]*")
_VENDOR = re.compile(r"[A-Za-z0-9-]+")
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "*")
_TRUST_ACTIONS = frozenset(
    ("sts:assumerole", "sts:assumerolewithwebidentity", "sts:assumerolewithsaml", "sts:tagsession",
     "sts:setsourceidentity", "sts:setcontext", "sts:*", "sts:assumerole*")
)  # fmt: skip


def identity(text: str) -> None:
    """Check an identity-based policy, a permissions boundary or a session policy.

    Raises:
        PolicyError: with AWS's message.
    """
    for statement in _statements(text):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise PolicyError("Policy document should not specify a principal.")
        if "Action" not in statement and "NotAction" not in statement:
            raise PolicyError("Policy statement must contain actions.")
        if "Resource" not in statement and "NotResource" not in statement:
            raise PolicyError("Policy statement must contain resources.")
        if not strings(statement.get("Action", statement.get("NotAction"))):
            raise PolicyError("Policy statement must contain actions.")
        if not strings(statement.get("Resource", statement.get("NotResource"))):
            raise PolicyError("Policy statement must contain resources.")
        _actions(statement)
        for resource in strings(statement.get("Resource", statement.get("NotResource"))):
            _resource(resource)
    document(text)


def trust(text: str) -> list[str]:
    """Check a role's trust policy; return the ARNs of users and roles that it names, which must exist.

    Raises:
        PolicyError: with AWS's message.
    """
    try:
        load(text)
    except PolicyError as error:
        raise PolicyError("This policy contains invalid Json") from error
    named: list[str] = []
    for statement in _statements(text):
        if "Resource" in statement or "NotResource" in statement:
            raise PolicyError("Has prohibited field Resource")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise PolicyError("Missing required field Principal")
        if "Action" not in statement and "NotAction" not in statement:
            raise PolicyError("Missing required field Action")
        for action in strings(statement.get("Action", statement.get("NotAction"))):
            if action.lower() not in _TRUST_ACTIONS:
                raise PolicyError("AssumeRole policy may only specify STS AssumeRole actions.")
        named += _principals(statement.get("Principal", statement.get("NotPrincipal")))
    document(text)
    return named


def _principals(source: object) -> list[str]:
    if source == "*":
        return []
    if not isinstance(source, dict) or not source:
        raise PolicyError("AssumeRolepolicy contained an invalid principal: " + f'"STAR":"{source}".')
    named: list[str] = []
    for kind, names in cast("dict[str, object]", source).items():
        for name in strings(names):
            known = kind in ("AWS", "Service", "Federated", "CanonicalUser")
            if not known or (kind == "Service" and "." not in name):
                raise PolicyError(f'Invalid principal in policy: "{kind.upper()}":"{name}"')
            if kind != "AWS" or name == "*" or re.fullmatch(r"\d{12}", name):
                continue
            if not re.fullmatch(
                r"arn:[\w-]+:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/.+)", name
            ):
                raise PolicyError(f'Invalid principal in policy: "AWS":"{name}"')
            named.append(name)
    return named


def _statements(text: str) -> Iterator[Mapping[str, Any]]:
    body = load(text)
    if set(body) - _TOP or body.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise PolicyError("Syntax errors in policy.")
    written = body.get("Statement")
    if not isinstance(written, (dict, list)):
        raise PolicyError("Syntax errors in policy.")
    listed = cast("list[Any]", written) if isinstance(written, list) else [cast("Any", written)]
    if not listed:
        raise PolicyError("Syntax errors in policy.")
    sids: set[str] = set()
    for statement in listed:
        if not isinstance(statement, dict):
            raise PolicyError("Syntax errors in policy.")
        checked = cast("dict[str, Any]", statement)
        _elements(checked)
        sid = checked.get("Sid", "")
        if sid and sid in sids:
            raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
        sids.add(sid)
        yield checked


def _elements(statement: Mapping[str, Any]) -> None:
    unknown = set(statement) - _STATEMENT
    doubled = any(name in statement and f"Not{name}" in statement for name in ("Action", "Resource", "Principal"))
    if unknown or doubled or statement.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError("Syntax errors in policy.")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise PolicyError(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
            "[0-9A-Za-z]*"
        )
    if statement.get("Condition") == []:
        raise PolicyError("Syntax errors in policy.")


def _actions(statement: Mapping[str, Any]) -> None:
    for action in strings(statement.get("Action", statement.get("NotAction"))):
        vendor, colon, verb = action.partition(":")
        if action == "*":
            continue
        if not colon or not vendor:
            raise PolicyError("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        if not _VENDOR.fullmatch(vendor):
            raise PolicyError(f"Vendor {vendor} is not valid")
        if not verb or ":" in verb:
            raise PolicyError("Actions/Condition can contain only one colon." if verb else "Syntax errors in policy.")


def _resource(resource: str) -> None:
    if resource == "*":
        return
    parts = resource.split(":", 5)
    if parts[0] != "arn" or len(parts) < 3:
        raise PolicyError(f'Resource {resource} must be in ARN format or "*".')
    if parts[1] not in _PARTITIONS:
        raise PolicyError(f'Partition "{parts[1]}" is not valid for resource "{resource}".')
    if len(parts) == 6 and parts[2] == "iam" and parts[3]:
        raise PolicyError(f"IAM resource {resource} cannot contain region information.")
    if len(parts) < 6 or parts[2] != "s3":
        return
    # Why: access points carry region and account, buckets and objects neither
    other = parts[5].startswith(("accesspoint/", "job/", "storage-lens/", "async-request/", "access-grants/", "*"))
    if not other and (parts[3] not in ("", "*") or parts[4] not in ("", "*")):
        raise PolicyError(f"Resource {resource} can not contain region information.")

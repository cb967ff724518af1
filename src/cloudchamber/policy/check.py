# SPDX-License-Identifier: Apache-2.0
"""What IAM demands of a document before it keeps it, beyond what can be compiled; with AWS's messages.

Source: IAM User Guide, "Grammar of the IAM JSON policy language"; messages as IAM's API answers them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.policy.conditions import OPERATORS, split_operator
from cloudchamber.policy.document import PolicyError, document, load, strings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TOP = frozenset(("Version", "Id", "Statement"))
_STATEMENT = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_SID = re.compile(r"[A-Za-z0-9]*")
_VENDOR = re.compile(r"[A-Za-z0-9.-]+")
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc", "*")
_TRUST_ACTIONS = frozenset(
    ("sts:assumerole", "sts:assumerolewithwebidentity", "sts:assumerolewithsaml", "sts:tagsession",
     "sts:setsourceidentity", "sts:setcontext", "sts:*", "sts:assumerole*")
)  # fmt: skip
_IAM_PATHS = (
    "user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
    "sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/",
)  # fmt: skip
_OF_REGIONS = ("accesspoint/", "job/", "storage-lens/", "async-request/", "access-grants/", "*")
"""Resources of S3 whose ARNs name a region and an account; those of buckets and objects name neither."""
_SYNTAX = "Syntax errors in policy."
_LEGACY = "The policy failed legacy parsing"
_DATE = re.compile(
    r"(-?\d{1,9})(?:-(\d{1,2})(?:-(\d{1,2}))?)?"
    r"(?:t(?:(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.\d{1,9})?)?)?)?(?:z|[+-](\d\d)(?::?(\d\d))?)?)?"
)
_DATE_MAX = (292_278_993, 12, 31, 23, 59, 59, 23, 59)


def identity(text: str, *, managed: bool = False) -> None:
    """Check an identity-based policy, a permissions boundary or a session policy.

    Managed policies must say that they are of version 2012-10-17. Others need not: the policies that SAM makes of its
    templates (`S3ReadPolicy` and the like) say nothing. Without it they are of 2008-10-17, which knows no variables.
    The order is IAM's: a document with several faults is told the first of them that IAM looks for.

    Raises:
        PolicyError: with AWS's message.

    Source: IAM User Guide, IAM JSON policy elements: Version.
    """
    statements = _statements(text)
    if managed and load(text).get("Version") != "2012-10-17":
        raise PolicyError("Policy document must be version 2012-10-17 or greater.")
    for statement in statements:
        if "Principal" in statement or "NotPrincipal" in statement:
            raise PolicyError("Policy document should not specify a principal.")
    faulty: list[str] = []
    for statement in statements:
        _legacy(statement)
        for name in ("Resource", "NotResource"):
            faulty += _resources(statement, name, quiet=bool(faulty))
    _sids(statements)
    for statement in statements:
        if not _listed(statement, "Action"):
            raise PolicyError("Policy statement must contain actions.")
    if faulty:
        raise PolicyError(faulty[0])
    for statement in statements:
        for action in _listed(statement, "Action"):
            _action(action)
    for statement in statements:
        if not _listed(statement, "Resource"):
            raise PolicyError("Policy statement must contain resources.")
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
    statements = _statements(text)
    _sids(statements)
    for statement in statements:
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


def _statements(text: str) -> list[Mapping[str, Any]]:
    """The statements of a document whose shape is right.

    Raises:
        PolicyError: it is not.
    """
    body = load(text)
    if set(body) - _TOP or body.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise PolicyError(_SYNTAX)
    if not isinstance(body.get("Id", ""), str):
        raise PolicyError(_SYNTAX)
    written = body.get("Statement")
    if not isinstance(written, (dict, list)):
        raise PolicyError(_SYNTAX)
    listed = cast("list[Any]", written) if isinstance(written, list) else [cast("Any", written)]
    if not listed:
        raise PolicyError(_SYNTAX)
    for statement in listed:
        if not isinstance(statement, dict):
            raise PolicyError(_SYNTAX)
        _shape(cast("dict[str, Any]", statement))
    return cast("list[Mapping[str, Any]]", listed)


def _shape(statement: Mapping[str, Any]) -> None:
    """Elements that exist, none of them twice by its opposite, with values of the right kind."""
    effect = statement.get("Effect")
    right = (
        not set(statement) - _STATEMENT
        and not any(name in statement and f"Not{name}" in statement for name in ("Action", "Resource", "Principal"))
        and isinstance(effect, str)
        and effect.lower() in ("allow", "deny")
        and isinstance(statement.get("Sid", ""), str)
    )
    if not right:
        raise PolicyError(_SYNTAX)
    for name in ("Action", "Resource"):
        for value in _values(statement, name):
            if not isinstance(value, str) and not (value is None and name == "Resource"):
                raise PolicyError(_SYNTAX)
    if "Condition" in statement:
        _condition(statement["Condition"])


def _values(statement: Mapping[str, Any], name: str) -> list[Any]:
    """What an element or its opposite holds, as a list."""
    value: Any = statement.get(name, statement.get(f"Not{name}", []))
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _listed(statement: Mapping[str, Any], name: str) -> list[str]:
    return [value for value in _values(statement, name) if value is not None]


def _condition(source: object) -> None:
    if not isinstance(source, dict):
        raise PolicyError(_SYNTAX)
    for operator, keys in cast("dict[str, object]", source).items():
        if not isinstance(keys, dict):
            raise PolicyError(_SYNTAX)
        for values in cast("dict[str, object]", keys).values():
            strings(values)
        try:
            _, name, if_exists = split_operator(operator)
        except ValueError as error:
            raise PolicyError(_SYNTAX) from error
        known = name in OPERATORS or (name == "null" and not if_exists)
        if keys and not known:
            raise PolicyError(_SYNTAX)


def _legacy(statement: Mapping[str, Any]) -> None:
    """What IAM's older parser still demands: capitals as documented, and dates that are some."""
    if statement["Effect"] not in ("Allow", "Deny"):
        raise PolicyError(_LEGACY)
    for operator, keys in statement.get("Condition", {}).items():
        if keys and split_operator(operator)[1].startswith("date"):
            for values in keys.values():
                if not all(_is_date(value) for value in strings(values)):
                    raise PolicyError(_LEGACY)


def _is_date(text: str) -> bool:
    lowered = text.lower()
    if "t" not in lowered and "-" not in lowered:
        return re.fullmatch(r"\+?\d{1,19}", lowered) is not None and int(lowered) < 2**63
    hit = _DATE.fullmatch(lowered)
    if hit is None:
        return False
    parts = [int(part) if part else None for part in hit.groups()]
    least = (-292_275_054, 1, 1, 0, 0, 0, 0, 0)
    return all(p is None or low <= p <= high for p, low, high in zip(parts, least, _DATE_MAX, strict=True))


def _sids(statements: Iterable[Mapping[str, Any]]) -> None:
    met: set[str] = set()
    for statement in statements:
        sid = statement.get("Sid", "")
        if not _SID.fullmatch(sid):
            raise PolicyError(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
                "[0-9A-Za-z]*"
            )
        if sid and sid in met:
            raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
        met.add(sid)


def _action(action: str) -> None:
    vendor, colon, verb = action.partition(":")
    if action == "*":
        return
    if not colon or not vendor:
        raise PolicyError("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if ":" in verb:
        raise PolicyError("Actions/Condition can contain only one colon.")
    if not _VENDOR.fullmatch(vendor):
        raise PolicyError(f"Vendor {vendor} is not valid")
    if not verb:
        raise PolicyError(_SYNTAX)


def _resources(statement: Mapping[str, Any], name: str, *, quiet: bool) -> list[str]:
    """The messages about an element's ARNs.

    Raises:
        PolicyError: IAM's older parser cannot read one, and nothing was found wrong before (`quiet`).
    """
    if name not in statement:
        return []
    listed = sorted(_listed(statement, name.removeprefix("Not")))
    found = [fault for fault in map(_fault, listed) if fault]
    if not found and not quiet:
        for resource in listed:
            parts = resource.split(":")
            if resource != "*" and (not parts[2] or (len(parts) < 6 and "::" in resource)):
                raise PolicyError(_LEGACY)
    return found


def _fault(resource: str) -> str:
    """What is wrong with the ARN of a resource; empty if nothing."""
    if resource == "*":
        return ""
    parts = resource.split(":", 5)
    if len(parts) == 1:
        return f'Resource {resource} must be in ARN format or "*".'
    if parts[1] not in _PARTITIONS:
        filled = [part or "*" if len(parts) == 3 else part for part in parts[2:]] + ["*"] * (6 - len(parts))
        return f'Partition "{parts[1]}" is not valid for resource "arn:{parts[1]}:{":".join(filled)}".'
    if len(parts) == 2:
        return "Resource vendor must be fully qualified and cannot contain regexes."
    if len(parts) < 6:
        return ""
    _, _, vendor, region, account, path = parts
    if vendor == "iam" and region:
        return f"IAM resource {resource} cannot contain region information."
    kind = path.partition("/")[0]
    if vendor == "iam" and not path.startswith(_IAM_PATHS) and not any(c in kind for c in "*?$"):
        paths = ", ".join(_IAM_PATHS)
        return f'IAM resource path must either be "*" or start with {paths}.'
    bucket = vendor == "s3" and not path.startswith(_OF_REGIONS)
    if bucket and (region not in ("", "*") or account not in ("", "*")):
        return f"Resource {resource} can not contain region information."
    return ""

# SPDX-License-Identifier: Apache-2.0
"""RDS's names and rules, pure.

Source: Amazon RDS API Reference, CreateDBInstance; RDS User Guide, quotas and DB instance classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cloudchamber.base.arn import Arn
from cloudchamber.services.rds.errors import InvalidParameterCombination, InvalidParameterValue

PORT_DEFAULT = 5432
MAJORS = (13, 14, 15, 16, 17, 18)
_IDENTIFIER = re.compile(r"[a-z](?:-?[a-z0-9])*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_VERSION = re.compile(r"(\d{1,2})(?:\.\d{1,2})?")
_GIB = {
    "micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32, "4xlarge": 64, "8xlarge": 128,
    "12xlarge": 192, "16xlarge": 256, "24xlarge": 384,
}  # fmt: skip
_T = ("micro", "small", "medium", "large", "xlarge", "2xlarge")
_BIG = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge")
_FAMILIES = {
    "t3": _T, "t4g": _T, "m5": _BIG, "m6g": _BIG[:-1], "m6i": _BIG, "m7g": _BIG[:-1], "m7i": _BIG,
    "r5": _BIG, "r6g": _BIG[:-1], "r6i": _BIG, "r7g": _BIG[:-1], "r7i": _BIG,
}  # fmt: skip
CLASSES: Mapping[str, int] = MappingProxyType(
    {
        f"db.{family}.{size}": _GIB[size] * (2 if family.startswith("r") else 1)
        for family, sizes in _FAMILIES.items()
        for size in sizes
    }
)
"""Memory in GiB of the DB instance classes."""
_RESERVED = frozenset(
    [
        "admin",
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "current_catalog",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "grant",
        "group",
        "having",
        "in",
        "initially",
        "intersect",
        "into",
        "lateral",
        "leading",
        "limit",
        "localtime",
        "localtimestamp",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "placing",
        "primary",
        "public",
        "rdsadmin",
        "references",
        "returning",
        "select",
        "session_user",
        "some",
        "symmetric",
        "table",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "when",
        "where",
        "window",
        "with",
        "postgres_fdw",
        "none",
    ]
)
_RESERVED_DATABASES = frozenset(("template0", "template1", "rdsadmin"))


def arn(account: str, region: str, name: str) -> str:
    """The ARN of a DB instance."""
    return str(Arn("rds", region, account, f"db:{name}"))


def user_arn(account: str, region: str, resource_id: str, user: str) -> str:
    """The ARN that ``rds-db:connect`` is about."""
    return str(Arn("rds-db", region, account, f"dbuser:{resource_id}/{user}"))


def identifier(text: str, member: str = "DBInstanceIdentifier") -> str:
    """A DB instance identifier, in lower case as RDS keeps it.

    Raises:
        InvalidParameterValue: it breaks the rules.
    """
    lowered = text.lower()
    if not 1 <= len(lowered) <= 63 or not _IDENTIFIER.fullmatch(lowered):
        raise InvalidParameterValue(
            f"The parameter {member} is not a valid identifier. Identifiers must begin with a letter; must contain "
            "only ASCII letters, digits, and hyphens; and must not end with a "
            "hyphen or contain two consecutive hyphens."
        )
    return lowered


def master(text: str) -> str:
    """The master user's name.

    Raises:
        InvalidParameterValue: it breaks the rules or is reserved.
    """
    if not 1 <= len(text) <= 63 or not _NAME.fullmatch(text):
        raise InvalidParameterValue(
            "The parameter MasterUsername must begin with a letter, contain only alphanumeric characters and "
            "underscores, and be 1 to 63 characters long."
        )
    if text.lower() in _RESERVED or text.lower().startswith(("pg_", "rds_")):
        raise InvalidParameterValue(f"MasterUsername {text} cannot be used as it is a reserved word used by the engine")
    return text


def password(text: str) -> str:
    """The master user's password: 8 to 128 printable ASCII characters but ``/ " @`` and space.

    Raises:
        InvalidParameterValue: it breaks the rules.
    """
    if not 8 <= len(text) <= 128:
        raise InvalidParameterValue(
            "The parameter MasterUserPassword is not a valid password because it is "
            f"{'shorter than 8' if len(text) < 8 else 'longer than 128'} characters."
        )
    if any(not "!" <= c <= "~" or c in '/"@' for c in text):
        raise InvalidParameterValue(
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides "
            "'/', '@', '\"', ' ' may be used."
        )
    return text


def database(text: str) -> str:
    """The name of the first database.

    Raises:
        InvalidParameterValue: it breaks the rules or is reserved.
    """
    if not 1 <= len(text) <= 63 or not _NAME.fullmatch(text):
        raise InvalidParameterValue("DBName must begin with a letter and contain only alphanumeric characters.")
    if text.lower() in _RESERVED_DATABASES | _RESERVED:
        raise InvalidParameterValue(f"DBName {text} cannot be used. It is a reserved word for this engine")
    return text


def instance_class(text: str) -> str:
    """A DB instance class that is known.

    Raises:
        InvalidParameterValue: it is not.
    """
    if text not in CLASSES:
        raise InvalidParameterValue(f"Invalid DB Instance class: {text}")
    return text


def version(text: str) -> str:
    """An engine version.

    Raises:
        InvalidParameterCombination: RDS has no such version.
    """
    found = _VERSION.fullmatch(text)
    if found is None or int(found.group(1)) not in MAJORS:
        raise InvalidParameterCombination(f"Cannot find version {text} for postgres")
    return text


def storage(size_gib: int) -> int:
    """Allocated storage in GiB.

    Raises:
        InvalidParameterValue: out of range.
    """
    if not 20 <= size_gib <= 65_536:
        raise InvalidParameterValue(
            f"Invalid storage size for engine name postgres and storage type gp2: {size_gib}. "
            "It must be 20 to 65536 GiB."
        )
    return size_gib


def port(number: int) -> int:
    """A port for the endpoint.

    Raises:
        InvalidParameterValue: out of range.
    """
    if not 1150 <= number <= 65_535:
        raise InvalidParameterValue(f"Invalid port number {number}: it must be 1150 to 65535.")
    return number


def connections_max(of_class: str) -> int:
    """``max_connections`` of a class: RDS's formula LEAST(memory/9531392, 5000), but at most 300."""
    return min(CLASSES[of_class] * (1 << 30) // 9_531_392, 300)


def tags(given: list[dict[str, Any]] | None) -> dict[str, str]:
    """Tags of a request.

    Raises:
        InvalidParameterValue: reserved or doubled keys, too many, too long.
    """
    found: dict[str, str] = {}
    for one in given or ():
        key, value = str(one.get("Key", "")), str(one.get("Value", ""))
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise InvalidParameterValue("Tag keys have 1 to 128 characters, values at most 256.")
        if key in found:
            raise InvalidParameterValue(f"Duplicate tag key {key!r}.")
        found[key] = value
    if len(found) > 50:
        raise InvalidParameterValue("A resource has at most 50 tags.")
    return found

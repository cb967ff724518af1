# SPDX-License-Identifier: Apache-2.0
"""Names and ARNs of functions, versions, aliases and layers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudchamber.base.arn import Arn
from cloudchamber.services.lambda_.errors import InvalidParameterValueException

LATEST = "$LATEST"
_NAME_MAX = 64
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REFERENCE = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?"
)
_QUALIFIER = re.compile(r"[a-zA-Z0-9$_-]{1,128}")
_ALIAS = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_LAYER = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):(?P<account>\d{12}):layer:)?"
    r"(?P<name>[a-zA-Z0-9_-]{1,140})(?::(?P<version>[0-9]{1,15}))?"
)
_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)"
    r"(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)


def check_name(name: str) -> str:
    """The name of a new function, without an ARN around it."""
    found = _REFERENCE.fullmatch(name)
    if len(name) > _NAME_MAX and re.fullmatch(r"[a-zA-Z0-9_-]+", name):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"have length less than or equal to {_NAME_MAX}"
        )
    if found is None or found["qualifier"] or not _NAME.fullmatch(found["name"]):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            f"satisfy regular expression pattern: {_NAME_PATTERN}"
        )
    return found["name"]


def function_arn(account: str, region: str, name: str) -> str:
    """ARN of a function, unqualified."""
    return str(Arn("lambda", region, account, f"function:{name}"))


def session_name(name: str) -> str:
    """The name of a function's role session: the function's; one that is shorter than STS takes goes on."""
    return name if len(name) > 1 else f"{name}@lambda_function"


@dataclass(frozen=True, slots=True)
class Reference:
    """What a request means by a function: its unqualified ARN, and the version or alias that it names, if any."""

    arn: str
    qualifier: str = ""

    @property
    def qualified(self) -> str:
        """The ARN as it was asked for."""
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn


def resolve(reference: str, account: str, region: str, qualifier: str = "") -> Reference:
    """What a FunctionName (name, partial ARN, ARN, each with or without qualifier) and a Qualifier mean.

    Raises:
        InvalidParameterValueException: not a name; two different qualifiers.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{reference}' at 'functionName' failed to satisfy constraint: Member "
            f"must satisfy regular expression pattern: {_NAME_PATTERN}"
        )
    arn = function_arn(found["account"] or account, found["region"] or region, found["name"])
    inside = found["qualifier"] or ""
    if qualifier and not _QUALIFIER.fullmatch(qualifier):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)"
        )
    if inside and qualifier and inside != qualifier:
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return Reference(arn, inside or qualifier)


def layer(reference: str, account: str, region: str) -> tuple[str, str, str]:
    """Account, region and name of a LayerName: a name, or an ARN without version.

    Raises:
        InvalidParameterValueException: neither.
    """
    found = _LAYER.fullmatch(reference)
    if found is None or found["version"]:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{reference}' at 'layerName' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: (arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:"
            r"[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+"
        )
    return found["account"] or account, found["region"] or region, found["name"]


def layer_version(arn: str) -> tuple[str, str, str, int] | None:
    """Account, region, name and number in the ARN of a layer's version; None if it is none."""
    found = _LAYER.fullmatch(arn)
    if found is None or not found["version"]:
        return None
    return found["account"], found["region"], found["name"], int(found["version"])


def layer_arn(account: str, region: str, name: str) -> str:
    """ARN of a layer, without version."""
    return str(Arn("lambda", region, account, f"layer:{name}"))


def try_layer(reference: str, account: str, region: str, version: str = "") -> str:
    """The ARN of a layer or of its version, for an IAM decision; never raises."""
    found = _LAYER.fullmatch(reference)
    if found is None:
        return layer_arn(account, region, re.sub(r"[^a-zA-Z0-9_-]", "_", reference)[:140] or "*")
    arn = layer_arn(found["account"] or account, found["region"] or region, found["name"])
    number = version or found["version"] or ""
    return f"{arn}:{number}" if number else arn


def check_alias(name: str) -> str:
    """The name of an alias: no number, which would be a version."""
    if not _ALIAS.fullmatch(name) or name.isdigit():
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'name' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"
        )
    return name


def try_resolve(reference: str, account: str, region: str, qualifier: str = "") -> str:
    """The ARN for an IAM decision, qualified as it was asked for: like `resolve`, but never raises."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return function_arn(account, region, "*" if not reference else re.sub(r"[^a-zA-Z0-9_-]", "_", reference)[:64])
    arn = function_arn(found["account"] or account, found["region"] or region, found["name"])
    asked = found["qualifier"] or qualifier
    return f"{arn}:{asked}" if asked and _QUALIFIER.fullmatch(asked) else arn

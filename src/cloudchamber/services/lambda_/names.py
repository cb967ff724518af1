# SPDX-License-Identifier: Apache-2.0
"""Names and ARNs of functions, and which runtimes there are. Pure."""

from __future__ import annotations

import re
import sys

from cloudchamber.base.arn import Arn
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, ResourceNotFoundException

LATEST = "$LATEST"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REFERENCE = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?"
)
RUNTIME_HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON = re.compile(r"python3\.(\d{1,2})")
_PYTHON_MINOR = range(9, 16)
"""Python runtimes that a function may name. Source: Lambda Developer Guide, Lambda runtimes."""


def check_name(name: str) -> str:
    """The name of a new function, without an ARN around it."""
    found = _REFERENCE.fullmatch(name)
    if found is None or found["qualifier"] or not _NAME.fullmatch(found["name"]):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must "
            r"satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?"
            r"(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
        )
    return found["name"]


def function_arn(account: str, region: str, name: str) -> str:
    """ARN of a function, unqualified."""
    return str(Arn("lambda", region, account, f"function:{name}"))


def session_name(name: str) -> str:
    """The name of a function's role session: the function's, which may be shorter than STS takes."""
    return name.ljust(2, "-")


def resolve(reference: str, account: str, region: str, qualifier: str = "") -> str:
    """The unqualified ARN that a FunctionName (name, partial ARN, ARN, each with or without qualifier) means.

    Raises:
        InvalidParameterValueException: not a name.
        ResourceNotFoundException: a qualifier other than ``$LATEST``: there are no versions or aliases here.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{reference}' at 'functionName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern"
        )
    arn = function_arn(found["account"] or account, found["region"] or region, found["name"])
    inside = found["qualifier"] or ""
    if inside and qualifier and inside != qualifier:
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    if (inside or qualifier or LATEST) != LATEST:
        raise ResourceNotFoundException(f"Function not found: {arn}:{inside or qualifier}")
    return arn


def try_resolve(reference: str, account: str, region: str) -> str:
    """The ARN for an IAM decision: like `resolve`, but never raises and keeps a qualifier's function."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return function_arn(account, region, "*" if not reference else re.sub(r"[^a-zA-Z0-9_-]", "_", reference)[:64])
    return function_arn(found["account"] or account, found["region"] or region, found["name"])


def check_runtime(runtime: str) -> None:
    """Refuse what cannot run here, by name."""
    found = _PYTHON.fullmatch(runtime)
    if found and int(found[1]) in _PYTHON_MINOR:
        return
    if found:
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            f"We recommend you use a supported runtime while creating or updating functions."
        )
    raise InvalidParameterValueException(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: this chamber runs python3.x functions; "
        f"'{runtime}' is not supported here yet"
    )


def runtime_note(runtime: str) -> str:
    """What to say when the interpreter is not the one that the function names; empty if it is."""
    if runtime == RUNTIME_HERE:
        return ""
    version = ".".join(str(n) for n in sys.version_info[:3])
    return f"the function names {runtime}; this chamber runs it on its own interpreter, Python {version}"

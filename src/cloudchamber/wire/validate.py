# SPDX-License-Identifier: Apache-2.0
"""The model's constraints: required members, lengths, ranges, enumerations, patterns; in each service's own words.

Source: the ``ValidationError`` / ``ValidationException`` texts that the services answer ("1 validation error detected:
Value '...' at '...' failed to satisfy constraint: ..."); EC2, "Error codes" (MissingParameter).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import errors, s3
from cloudchamber.wire.model import OperationModel, ServiceModel, Shape

FAILURES_MAX = 20
PATTERN_OCTETS_MAX = 2048
"""Longer values are matched only against patterns that cannot backtrack: one class, repeated."""

_S3_ARN = "arn:[^:]+:s3(express)?:[^:].*"
"""Of S3 Control's ResourceArn; S3 itself takes ARNs of buckets, which it does not fit: recorded on AWS."""
_SIMPLE = re.compile(r"\^?\[(?:[^\]\\]|\\.)*\][*+]?\$?")
_UNKNOWN = re.compile(r"\\[pPX]\{|\[\[:|&&|\(\?[^:=!]|[*+?}]\+")
"""Java's syntax that `re` does not have, or reads otherwise."""

IAM_NAME = r"[\w+=,.@-]+"
IAM_PATH = r"(\u002F)|(\u002F[\u0021-\u007E]+\u002F)"

CODES: Mapping[str, type[ServiceError]] = {
    "logs": errors.InvalidParameterException,
    "ssm": errors.ValidationException,
    "ecr": errors.InvalidParameterException,
    "secretsmanager": errors.ValidationException,
    "lambda": errors.ValidationException,
}

Check = Callable[[Any, str, list[str]], None]
"""Appends what is wrong with a value (at a path, for messages) to a list."""


def check(operation: OperationModel, values: Mapping[str, Any]) -> None:
    """Hold an input against the model.

    Raises:
        ServiceError: `MissingParameter`, `MalformedXML`, `ValidationError` or the service's own code.
    """
    service = operation.service
    codecs = operation.codecs
    checker = codecs.get("check")
    if checker is None:
        checker = codecs["check"] = Checks(service).structure(operation.input)
    failures: list[str] = []
    checker(values, "", failures)
    if not failures:
        return
    if service.protocol == "ec2":
        raise ec2_error(failures[0])
    if service.name == "s3":
        raise s3_error(operation, values)
    if service.name == "iam" and (words := iam_words(failures[0])):
        raise errors.ValidationError(words)
    plural = "error" if len(failures) == 1 else "errors"
    kind = CODES.get(
        service.name, errors.ValidationError if service.protocol == "query" else errors.ValidationException
    )
    raise kind(f"{len(failures)} validation {plural} detected: {'; '.join(failures[:FAILURES_MAX])}")


def iam_words(failure: str) -> str:
    """What IAM says of names, paths and enumerations in words of its own; empty for all else."""
    member = failure.rpartition("' failed to satisfy constraint: ")[0].rpartition(" at '")[2]
    if failure.endswith(f"pattern: {IAM_NAME}"):
        return (
            f"The specified value for {member} is invalid. "
            "It must contain only alphanumeric characters and/or the following: +=,.@_-"
        )
    if failure.endswith(f"pattern: {IAM_PATH}"):
        return (
            f"The specified value for {member} is invalid. "
            "It must begin and end with / and contain only alphanumeric characters and/or / characters."
        )
    constraint = failure.rpartition("failed to satisfy constraint: ")[2]
    if constraint.startswith("Member must satisfy "):  # Why: of patterns and enumerations IAM tells no value
        plain = constraint.partition(": [")[0] if "enum value set" in constraint else constraint
        return f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {plain}"
    return ""


def ec2_error(failure: str) -> ServiceError:
    """EC2 names the first parameter that is wrong."""
    if failure.startswith("Value "):
        return errors.InvalidParameterValue(failure)
    return errors.MissingParameter(f"The request must contain the parameter {failure}")


def s3_error(operation: OperationModel, values: Mapping[str, Any]) -> ServiceError:
    """S3 says that the document is wrong, not where."""
    payload = operation.input.get("payload")
    if payload and payload in operation.input.get("required", ()) and payload not in values:
        return errors.MissingRequestBodyError("Request Body is empty")
    return errors.MalformedXML(s3.MALFORMED)


class Checks:
    """Compiles checks of one service's shapes; a shape without constraints compiles to nothing."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._ec2 = service.protocol == "ec2"
        self._s3 = service.name == "s3"
        self._structures: dict[str, Check] = {}

    def path(self, path: str, name: str) -> str:
        """Path of a member as messages write it."""
        if self._ec2:
            return f"{path}.{name}" if path else name
        lowered = name[:1].lower() + name[1:]
        return f"{path}.{lowered}" if path else lowered

    def value(self, shape: Shape) -> Check | None:
        """The check of one value; None if anything goes."""
        kind = shape["type"]
        if kind == "structure":
            return None if shape.get("document") else self.structure(shape)
        if kind == "list":
            return self.list(shape)
        if kind == "map":
            return self.map(shape)
        if self._s3 or self._ec2:
            return None
        return self.scalar(shape)

    def scalar(self, shape: Shape) -> Check | None:
        """Length or range, enumeration, pattern."""
        rules: list[Callable[[Any], str]] = []
        if "min" in shape or "max" in shape:
            rules.append(length_rule(shape) if shape["type"] in ("string", "blob") else range_rule(shape))
        if shape["type"] == "string" and shape.get("enum"):
            rules.append(enum_rule(tuple(shape["enum"])))
        elif shape["type"] == "string" and (rule := pattern_rule(shape.get("pattern", ""))):
            rules.append(rule)
        if not rules:
            return None
        sensitive = bool(shape.get("sensitive")) or shape["type"] == "blob"

        def run(value: Any, path: str, failures: list[str]) -> None:
            for rule in rules:
                if text := rule(value):
                    failures.append(complaint(value, path, text, sensitive=sensitive))

        return run

    def list(self, shape: Shape) -> Check | None:
        """Length, and every item."""
        item = self.value(self._service.resolve(shape["member"]))
        rule = length_rule(shape) if ("min" in shape or "max" in shape) and not (self._s3 or self._ec2) else None
        if item is None and rule is None:
            return None
        infix = "" if self._ec2 else "member."

        def run(value: Any, path: str, failures: list[str]) -> None:
            if rule is not None and (text := rule(value)):
                failures.append(complaint(value, path, text))
            if item is not None:
                for i, one in enumerate(value, 1):
                    item(one, f"{path}.{i}.{infix}".rstrip("."), failures)

        return run

    def map(self, shape: Shape) -> Check | None:
        """Size, and every key and value."""
        key = self.value(self._service.resolve(shape["key"]))
        item = self.value(self._service.resolve(shape["value"]))
        rule = length_rule(shape) if ("min" in shape or "max" in shape) and not (self._s3 or self._ec2) else None
        if key is None and item is None and rule is None:
            return None

        def run(value: Any, path: str, failures: list[str]) -> None:
            if rule is not None and (text := rule(value)):
                failures.append(complaint(value, path, text))
            for k, v in value.items():
                if key is not None:
                    key(k, path, failures)
                if item is not None:
                    item(v, f"{path}.{k[:128]}.member", failures)

        return run

    def structure(self, shape: Shape) -> Check:
        """Required members, then every member."""
        known = self._structures.get(shape["name"]) if "name" in shape else None
        if known is not None:
            return known
        required: list[str] = list(shape.get("required", ()))
        members: dict[str, Check] = {}
        complain = self.missing

        def run(value: Any, path: str, failures: list[str]) -> None:
            for name in required:
                if name not in value:
                    failures.append(complain(path, name))
            for name, one in value.items():
                if (member := members.get(name)) is not None:
                    member(one, self.path(path, name), failures)

        if "name" in shape:
            self._structures[shape["name"]] = run
        for name, reference in shape.get("members", {}).items():
            if (member := self.value(self._service.resolve(reference))) is not None:
                members[name] = member
        return run

    def missing(self, path: str, name: str) -> str:
        """What is said of an absent member; EC2's error names only the parameter."""
        if self._ec2:
            return self.path(path, name)
        return f"Value null at '{self.path(path, name)}' failed to satisfy constraint: Member must not be null"


def complaint(value: Any, path: str, constraint: str, *, sensitive: bool = False) -> str:
    """One failure; secret values are left out."""
    shown = "" if sensitive else f" '{shorten(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: Member must {constraint}"


def shorten(value: Any) -> str:
    """A value for a message; lists as Java writes them."""
    text = f"[{', '.join(str(v) for v in value[:50])}]" if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return text if len(text) <= 512 else text[:512] + "..."


def length_rule(shape: Shape) -> Callable[[Any], str]:
    """How long a string, blob, list or map may be."""
    low, high = shape.get("min"), shape.get("max")

    def rule(value: Any) -> str:
        size = len(value)
        if low is not None and size < low:
            return f"have length greater than or equal to {low}"
        if high is not None and size > high:
            return f"have length less than or equal to {high}"
        return ""

    return rule


def range_rule(shape: Shape) -> Callable[[Any], str]:
    """How great a number may be."""
    low, high = shape.get("min"), shape.get("max")

    def rule(value: Any) -> str:
        if low is not None and value < low:
            return f"have value greater than or equal to {low}"
        if high is not None and value > high:
            return f"have value less than or equal to {high}"
        return ""

    return rule


def enum_rule(values: tuple[str, ...]) -> Callable[[Any], str]:
    """Which strings are known."""
    known = frozenset(values)
    text = f"satisfy enum value set: [{', '.join(values)}]"
    return lambda value: "" if value in known else text


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """A model's pattern, if `re` reads it as Java does."""
    if not pattern or pattern == _S3_ARN or _UNKNOWN.search(pattern):
        return None
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, FutureWarning):
        return None


def pattern_rule(pattern: str) -> Callable[[Any], str] | None:
    """Which form a string must have."""
    regex = compiled(pattern)
    if regex is None:
        return None
    simple = _SIMPLE.fullmatch(pattern) is not None
    text = f"satisfy regular expression pattern: {pattern}"

    def rule(value: Any) -> str:
        if len(value) > PATTERN_OCTETS_MAX and not simple:
            return ""
        return "" if regex.fullmatch(value) else text

    return rule

# SPDX-License-Identifier: Apache-2.0
"""JSON in and out by shape. Source: Smithy, "AWS JSON 1.0/1.1 protocol"; JSON itself is orjson's work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import orjson

from cloudchamber.wire import scalars
from cloudchamber.wire.errors import SerializationException
from cloudchamber.wire.model import MAX_DEPTH, ServiceModel, Shape

Convert = Callable[[Any], Any]


def loads(data: bytes) -> Any:
    """JSON as values.

    Raises:
        SerializationException: it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise SerializationException("Could not parse request body into json") from None


def dumps(value: Any) -> bytes:
    """Values as JSON."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def kind_of(value: Any) -> str:
    """How messages call the type of a JSON value."""
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    if isinstance(value, str):
        return "STRING_VALUE"
    if isinstance(value, int | float):
        return "NUMBER_VALUE"
    return "START_ARRAY" if isinstance(value, list) else "START_OBJECT"


def refuse(value: Any, wanted: str) -> SerializationException:
    """The error for a value of the wrong type."""
    return SerializationException(f"{kind_of(value)} can not be converted to {wanted}")


class Readers:
    """Compiles checks and conversions from parsed JSON to values, for one service's shapes."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._structures: dict[str, Convert] = {}

    def value(self, shape: Shape) -> Convert:
        """Converts one value."""
        kind = shape["type"]
        if shape.get("document"):
            return document
        if kind == "structure":
            return self.structure(shape)
        if kind == "list":
            return self.list(shape)
        if kind == "map":
            return self.map(shape)
        return SCALARS[kind]

    def list(self, shape: Shape) -> Convert:
        """Converts a list; nulls fall out."""
        item = self.value(self._service.resolve(shape["member"]))

        def convert(value: Any) -> list[Any]:
            if not isinstance(value, list):
                raise refuse(value, "a List")
            return [item(v) for v in value if v is not None]  # pyright: ignore[reportUnknownVariableType]

        return convert

    def map(self, shape: Shape) -> Convert:
        """Converts a map; nulls fall out."""
        item = self.value(self._service.resolve(shape["value"]))

        def convert(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise refuse(value, "a Map")
            return {k: item(v) for k, v in value.items() if v is not None}  # pyright: ignore[reportUnknownVariableType]

        return convert

    def structure(self, shape: Shape, *, skip: frozenset[str] = frozenset()) -> Convert:
        """Converts a structure; members that the model does not know fall out, as with AWS."""
        known = self._structures.get(shape["name"]) if "name" in shape and not skip else None
        if known is not None:
            return known
        members: dict[str, tuple[str, Convert]] = {}

        def convert(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise refuse(value, "a Structure")
            out: dict[str, Any] = {}
            for tag, v in value.items():  # pyright: ignore[reportUnknownVariableType]
                if v is not None and (found := members.get(tag)):  # pyright: ignore[reportUnknownArgumentType]
                    out[found[0]] = found[1](v)
            return out

        if "name" in shape and not skip:
            self._structures[shape["name"]] = convert
        for name, reference in shape.get("members", {}).items():
            if name not in skip:
                members[reference.get("locationName", name)] = (name, self.value(self._service.resolve(reference)))
        return convert


class Writers:
    """Compiles conversions from values to what orjson writes."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._structures: dict[str, Convert] = {}

    def value(self, shape: Shape) -> Convert:
        """Converts one value."""
        kind = shape["type"]
        if shape.get("document"):
            return same
        if kind == "structure":
            return self.structure(shape)
        if kind == "list":
            item = self.value(self._service.resolve(shape["member"]))
            return lambda v: [item(x) for x in v if x is not None]
        if kind == "map":
            item = self.value(self._service.resolve(shape["value"]))
            return lambda v: {str(k): item(x) for k, x in v.items() if x is not None}
        if kind == "timestamp":
            form = shape.get("timestampFormat", "unixTimestamp")
            return scalars.epoch if form == "unixTimestamp" else scalars.FORMATS[form]
        if kind == "blob":
            return scalars.base64_text
        if kind in ("float", "double"):
            return finite
        return same

    def structure(self, shape: Shape, *, skip: frozenset[str] = frozenset()) -> Convert:
        """Converts a structure."""
        known = self._structures.get(shape["name"]) if "name" in shape and not skip else None
        if known is not None:
            return known
        members: list[tuple[str, str, Convert]] = []

        def convert(value: Any) -> dict[str, Any]:
            return {tag: write(v) for name, tag, write in members if (v := value.get(name)) is not None}

        if "name" in shape and not skip:
            self._structures[shape["name"]] = convert
        for name, reference in shape.get("members", {}).items():
            if name not in skip:
                tag = reference.get("locationName", name)
                members.append((name, tag, self.value(self._service.resolve(reference))))
        return convert


def same(value: Any) -> Any:
    """The value itself."""
    return value


def finite(value: float) -> float | str:
    """A number; what JSON has no number for becomes text."""
    return value if math.isfinite(value) else scalars.number(float(value))


def document(value: Any, depth: int = 0) -> Any:
    """A document: any JSON, not nested too deep."""
    if depth > MAX_DEPTH:
        raise SerializationException("Document is nested too deep")
    if isinstance(value, dict):
        for v in value.values():  # pyright: ignore[reportUnknownVariableType]
            document(v, depth + 1)
    elif isinstance(value, list):
        for v in value:  # pyright: ignore[reportUnknownVariableType]
            document(v, depth + 1)
    return value  # pyright: ignore[reportUnknownVariableType]


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise refuse(value, "a String")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise refuse(value, "a Boolean")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(value, "an Integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return scalars.floating(value)
        except ValueError:
            raise refuse(value, "a Double") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse(value, "a Double")
    return float(value)


def _blob(value: Any) -> bytes:
    try:
        return scalars.blob(_string(value))
    except ValueError:
        raise SerializationException("Blob is not valid base64") from None


def _time(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise refuse(value, "a Timestamp")
    try:
        return scalars.moment(value)
    except ValueError:
        raise refuse(value, "a Timestamp") from None


SCALARS: dict[str, Convert] = {
    "string": _string, "character": _string, "boolean": _boolean, "integer": _integer, "long": _integer,
    "bigint": _integer, "short": _integer, "byte": _integer, "float": _number, "double": _number,
    "timestamp": _time, "blob": _blob,
}  # fmt: skip

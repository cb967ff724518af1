# SPDX-License-Identifier: Apache-2.0
"""Values that travel in a REST request's path, query and headers, and in a reply's headers.

Source: Smithy, "HTTP binding traits", "AWS restJson1 protocol", "AWS restXml protocol".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import errors, scalars
from cloudchamber.wire.http import Headers
from cloudchamber.wire.model import OperationModel, ServiceModel, Shape

_QUOTED = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?:,|$)')
_DATES = re.compile(r"(?<=GMT),\s*")
_NEEDS_QUOTES = re.compile(r'[",]')

BODY_LOCATIONS = (None, "body")
NOT_HOISTED = (
    "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
    "x-amz-security-token", "x-amz-content-sha256", "x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-copy-source",
)  # fmt: skip

HOISTED = ("if-match", "if-none-match")
"""Other headers that a presigned URL may carry: recorded on AWS."""
Convert = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """A member bound to the query, a header or the path: its name, whether it is a list, and its conversion."""

    member: str
    is_list: bool
    convert: Convert
    shape: Shape
    plain: bool = False
    """Whether the text is the value."""


def header_reader(service: ServiceModel, shape: Shape) -> Convert:
    """One header's text to a value."""
    if shape["type"] == "list":
        return list_reader(service.resolve(shape["member"]))
    if shape.get("jsonvalue"):
        return lambda text: orjson.loads(base64.b64decode(text))
    return scalars.reader(shape)


def list_reader(member: Shape) -> Convert:
    """A comma-separated header to a list; strings may be quoted."""
    item = scalars.reader(member)
    if member["type"] == "timestamp" and member.get("timestampFormat", "rfc822") == "rfc822":
        return lambda text: [item(t) for t in _DATES.split(text)]
    if member["type"] != "string":
        return lambda text: [item(t.strip()) for t in text.split(",")]

    def read(text: str) -> list[Any]:
        if '"' not in text:
            return [t.strip() for t in text.split(",")]
        out: list[Any] = []
        position = 0
        while position < len(text):
            found = _QUOTED.match(text, position)
            if found is None or found.end() == position:
                break
            out.append(re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2].strip())
            position = found.end()
        return out

    return read


def header_writer(service: ServiceModel, shape: Shape) -> Callable[[Any], str]:
    """A value to one header's text."""
    if shape["type"] == "list":
        member = service.resolve(shape["member"])
        item = scalars.writer(member, "rfc822")
        if member["type"] == "string":
            return lambda v: ", ".join(quoted(x) for x in v)
        return lambda v: ", ".join(item(x) for x in v)
    if shape.get("jsonvalue"):
        return lambda v: base64.b64encode(orjson.dumps(v)).decode()
    return scalars.writer(shape, "rfc822")


def quoted(text: str) -> str:
    """A list item, in quotes if it needs them."""
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Bindings:
    """Where the members of one operation's input travel."""

    def __init__(self, operation: OperationModel) -> None:
        service = operation.service
        self._s3 = service.name == "s3"
        self.headers: dict[str, Bound] = {}
        self.query: dict[str, Bound] = {}
        self.labels: dict[str, Bound] = {}
        self.query_map: tuple[str, bool] | None = None
        self.prefixes: list[tuple[str, str]] = []
        elsewhere: set[str] = set()
        for name, reference in operation.input.get("members", {}).items():
            shape = service.resolve(reference)
            location = shape.get("location")
            if location in BODY_LOCATIONS:
                continue
            elsewhere.add(name)
            self._bind(service, name, shape, location or "")
        self.elsewhere = frozenset(elsewhere)
        self._begin = tuple(prefix for prefix, _ in self.prefixes)

    def _bind(self, service: ServiceModel, name: str, shape: Shape, location: str) -> None:
        wire_name: str = shape.get("locationName", name)
        if location == "uri":
            plain = shape["type"] == "string"
            self.labels[wire_name] = Bound(name, False, scalars.reader(shape), shape, plain)
        elif location == "header":
            self.headers[wire_name.lower()] = Bound(name, shape["type"] == "list", header_reader(service, shape), shape)
        elif location == "headers":
            self.prefixes.append((wire_name.lower() if "locationName" in shape else "", name))
        elif shape["type"] == "map":
            self.query_map = (name, service.resolve(shape["value"])["type"] == "list")
        else:
            scalar = service.resolve(shape["member"]) if shape["type"] == "list" else shape
            self.query[wire_name] = Bound(name, shape["type"] == "list", scalars.reader(scalar), shape)

    def read(self, labels: Mapping[str, str], query: tuple[tuple[str, str], ...], headers: Headers) -> dict[str, Any]:
        """The members that do not travel in the body."""
        out: dict[str, Any] = {}
        for name, text in labels.items():
            if (bound := self.labels.get(name)) is not None:
                out[bound.member] = text if bound.plain else self._convert(bound, name, text)
        for name, text in query:
            if (bound := self.query.get(name)) is not None:
                if bound.is_list:
                    out.setdefault(bound.member, []).append(self._convert(bound, name, text))
                elif bound.member not in out and (text != "" or bound.shape["type"] == "string"):
                    out[bound.member] = self._convert(bound, name, text)
        if self.query_map is not None:
            self._read_query_map(query, out)
        for name, text in headers.items:
            if name in self.headers or (self._begin and name.startswith(self._begin)):
                self._read_header(name, text, out)
        if self._s3:
            # Why: SDKs move x-amz headers of presigned URLs into the query, and S3 reads them there. Checksums it
            # does not: JavaScript's presigned PUT carries the checksum of an empty body.
            for name, text in query:
                lowered = name.lower()
                if (lowered.startswith("x-amz-") and not lowered.startswith(NOT_HOISTED)) or lowered in HOISTED:
                    self._read_header(lowered, text, out)
        return out

    def _read_query_map(self, query: tuple[tuple[str, str], ...], out: dict[str, Any]) -> None:
        member, lists = self.query_map or ("", False)
        rest: dict[str, Any] = {}
        for name, text in query:
            if name not in self.query:
                if lists:
                    rest.setdefault(name, []).append(text)
                else:
                    rest.setdefault(name, text)
        if rest:
            out[member] = rest

    def _read_header(self, name: str, text: str, out: dict[str, Any]) -> None:
        bound = self.headers.get(name)
        if bound is None:
            for prefix, member in self.prefixes:
                if name.startswith(prefix):
                    known = out.setdefault(member, {})
                    key = name[len(prefix) :]
                    known[key] = f"{known[key]},{text}" if key in known else text
        elif bound.is_list and bound.member in out:
            out[bound.member] += self._convert(bound, name, text)
        elif bound.member not in out and (text != "" or bound.shape["type"] == "string"):
            out[bound.member] = self._convert(bound, name, text)

    def _convert(self, bound: Bound, name: str, text: str) -> Any:
        try:
            return bound.convert(text)
        except ValueError:
            raise self._refuse(bound, name, text) from None

    def _refuse(self, bound: Bound, name: str, text: str) -> ServiceError:
        if self._s3:
            return errors.InvalidArgument(
                f"Provided {name} not an {bound.shape['type']} or within integer range"
                if bound.shape["type"] in ("integer", "long")
                else f"Argument {name} has an invalid value",
                ArgumentName=name,
                ArgumentValue=text[:1024],
            )
        return errors.SerializationException(f"{name} is not a valid {bound.shape['type']}: {text[:128]!r}")


class ReplyBindings:
    """Where the members of one operation's output travel."""

    def __init__(self, operation: OperationModel) -> None:
        service = operation.service
        self._headers: dict[str, tuple[str, Callable[[Any], str]]] = {}
        self._prefixes: dict[str, str] = {}
        self.status = ""
        self.content_type = ""
        """The member that says what the body is."""
        elsewhere: set[str] = set()
        for name, reference in operation.output.get("members", {}).items():
            shape = service.resolve(reference)
            location = shape.get("location")
            # Why: uri and querystring mean nothing in a reply; such members are body members there.
            if location not in ("header", "headers", "statusCode"):
                continue
            elsewhere.add(name)
            if location == "header":
                self._headers[name] = (shape.get("locationName", name), header_writer(service, shape))
                if self._headers[name][0].lower() == "content-type":
                    self.content_type = name
            elif location == "headers":
                self._prefixes[name] = shape.get("locationName", "")
            else:
                self.status = name
        self.elsewhere = frozenset(elsewhere)

    def write(self, response: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Headers of a reply."""
        out: list[tuple[str, str]] = []
        for name, value in response.items():
            if value is None:
                continue
            if (found := self._headers.get(name)) is not None:
                text = found[1](value)
                out.append((found[0], text if text.isprintable() else clean(text)))
            elif (prefix := self._prefixes.get(name)) is not None:
                out += [(prefix + clean(k), clean(str(v))) for k, v in value.items()]
        return out


def clean(text: str) -> str:
    """A header's value on one line, whatever a service put into it; a tab may stand in it."""
    return text if text.isprintable() else "".join(c for c in text if c == "\t" or (c >= " " and c != "\x7f"))

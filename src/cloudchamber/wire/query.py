# SPDX-License-Identifier: Apache-2.0
"""Forms of the query and EC2 protocols: ``Tags.member.1.Key=a`` to values.

Source: Smithy, "AWS query protocol" and "AWS EC2 query protocol".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cloudchamber.wire import scalars
from cloudchamber.wire.errors import InvalidParameterValue, MalformedInput, MalformedQueryString
from cloudchamber.wire.model import MAX_DEPTH, Reference, ServiceModel, Shape

Tree = dict[str, Any]
"""Parameters by the parts of their names; the value at a name itself lies under the empty part."""

Read = Callable[[Tree, str], Any]
"""Reads one value from its tree; the second argument is its name, for messages."""


def tree(form: Mapping[str, str]) -> Tree:
    """The parameters of a form, by the parts of their names."""
    root: Tree = {}
    for name, value in form.items():
        parts = name.split(".")
        if len(parts) > MAX_DEPTH:
            raise MalformedQueryString("A parameter's name is nested too deep.")
        if "" in parts:  # no member is named so
            continue
        node = root
        for part in parts:
            node = node.setdefault(part, {})
        node[""] = value
    return root


def numbered(node: Tree, name: str) -> list[Tree]:
    """Children ``1``, ``2``, ... in order; gaps are closed, as AWS does."""
    found: list[tuple[int, Tree]] = []
    for part, child in node.items():
        if part == "":
            continue
        if not (part.isascii() and part.isdigit() and len(part) < 10):
            raise MalformedInput(f"{name}.{part[:64]} is not a list index")
        found.append((int(part), child))
    found.sort(key=lambda f: f[0])
    return [child for _, child in found]


class Readers:
    """Compiles readers of one service's shapes."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._ec2 = service.protocol == "ec2"
        self._structures: dict[str, Read] = {}

    def name(self, reference: Reference, name: str) -> str:
        """Parameter name of a structure's member."""
        if not self._ec2:
            return reference.get("locationName", name)
        if "queryName" in reference:
            return reference["queryName"]
        given = reference.get("locationName", "")
        return given[:1].upper() + given[1:] if given else name

    def value(self, shape: Shape) -> Read:
        """Reads one value."""
        kind = shape["type"]
        if kind == "structure":
            return self.structure(shape)
        if kind == "list":
            return self.list(shape)
        if kind == "map":
            return self.map(shape)
        return self.scalar(shape)

    def scalar(self, shape: Shape) -> Read:
        """Reads text."""
        convert = scalars.reader(shape)
        kind = shape["type"]
        ec2 = self._ec2

        def read(node: Tree, name: str) -> Any:
            text = node.get("")
            if text is None:
                raise MalformedInput(f"Parameter {name[:128]} must be a single value")
            try:
                return convert(text)
            except ValueError:
                if ec2:
                    raise InvalidParameterValue(
                        f"Value ({text[:128]}) for parameter {name[:128]} is invalid. Invalid {kind} value."
                    ) from None
                raise MalformedInput(f"Invalid {kind} value {text[:128]!r} for parameter {name[:128]}") from None

        return read

    def list(self, shape: Shape) -> Read:
        """Reads a list, wrapped in ``member`` or flattened."""
        member = self._service.resolve(shape["member"])
        item = self.value(member)
        tag = "" if self._ec2 or shape.get("flattened") else member.get("locationName", "member")

        def read(node: Tree, name: str) -> list[Any]:
            if tag:
                # Why: hand-made requests often leave out the wrapper ("Tags.1.Key"), and AWS takes that too.
                node = node.get(tag, node)
            return [item(child, f"{name}.{i}") for i, child in enumerate(numbered(node, name), 1)]

        return read

    def map(self, shape: Shape) -> Read:
        """Reads a map of numbered entries."""
        key = self._service.resolve(shape["key"])
        value = self._service.resolve(shape["value"])
        key_name, value_name = key.get("locationName", "key"), value.get("locationName", "value")
        item = self.value(value)
        tag = "" if self._ec2 or shape.get("flattened") else "entry"

        def read(node: Tree, name: str) -> dict[str, Any]:
            if tag:
                node = node.get(tag, {})
            out: dict[str, Any] = {}
            for i, child in enumerate(numbered(node, name), 1):
                if key_name not in child or "" not in child[key_name]:
                    raise MalformedInput(f"{name}.{i} has no {key_name}")
                if value_name in child:
                    out[child[key_name][""]] = item(child[value_name], f"{name}.{i}.{value_name}")
            return out

        return read

    def structure(self, shape: Shape) -> Read:
        """Reads a structure."""
        known = self._structures.get(shape["name"]) if "name" in shape else None
        if known is not None:
            return known
        members: list[tuple[str, str, Read]] = []

        def read(node: Tree, name: str) -> dict[str, Any]:
            prefix = f"{name}." if name else ""
            return {m: value(node[tag], prefix + tag) for m, tag, value in members if tag in node}

        if "name" in shape:
            self._structures[shape["name"]] = read
        for name, reference in shape.get("members", {}).items():
            member = self._service.resolve(reference)
            tag = self.name(reference, name)
            if member["type"] == "list" and member.get("flattened") and not self._ec2:
                tag = self._service.resolve(member["member"]).get("locationName", tag)
            members.append((name, tag, self.value(member)))
        return read


def compile_reader(service: ServiceModel, shape: Shape) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """A function from a form to the input of an operation."""
    read = Readers(service).structure(shape)
    return lambda form: read(tree(form), "")

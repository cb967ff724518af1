# SPDX-License-Identifier: Apache-2.0
"""XML in and out: a small tree from expat that refuses document types, and compiled readers and writers.

Writers join strings: for 1,000 keys that is many times quicker than building elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.parsers import expat

from cloudchamber.wire import scalars
from cloudchamber.wire.model import MAX_DEPTH, Reference, ServiceModel, Shape

NODES_MAX = 200_000

_SPECIAL = re.compile(r"[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff￾￿]")
_SPECIAL_ATTRIBUTE = re.compile(r'[&<>"\n\t\r\x00-\x08\x0b\x0c\x0e-\x1f]')
_SPECIAL_OCTETS = bytes(octet for octet in range(128) if _SPECIAL.match(chr(octet)))
_NAMES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class XMLError(ValueError):
    """The text is not XML that we take."""


class Node:
    """One element: tag without its prefix, attributes as written, children, own text."""

    __slots__ = ("attributes", "children", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""

    def groups(self) -> dict[str, list[Node]]:
        """Children by tag."""
        out: dict[str, list[Node]] = {}
        for child in self.children:
            out.setdefault(child.tag, []).append(child)
        return out


def read(data: bytes) -> Node:
    """The root of a document.

    Raises:
        XMLError: not well formed, nested too deep, too many elements, or with a document type (entities).
    """
    top = Node("", {})
    stack = [top]
    texts: list[list[str]] = [[]]
    count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > MAX_DEPTH or count > NODES_MAX:
            raise XMLError("nested too deep or too long")
        node = Node(tag.rpartition(":")[2], attributes)
        stack[-1].children.append(node)
        stack.append(node)
        texts.append([])

    def end(_tag: str) -> None:
        stack.pop().text = "".join(texts.pop())

    def refuse(*_what: object) -> int:
        raise XMLError("document types are not allowed")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: texts[-1].append(text)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise XMLError(str(error)) from None
    return top.children[0]


def escape(text: str) -> str:
    """Text of an element; control characters become references, as S3 writes them."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda m: _NAMES.get(m[0]) or f"&#x{ord(m[0]):x};", text)


def escaped(texts: Sequence[str]) -> Sequence[str]:
    """Each text as `escape` has it; one look at all of them tells whether any needs it."""
    joined = "".join(texts)
    if joined.isascii():
        if not _has_special(joined.encode()):
            return texts
    elif _SPECIAL.search(joined) is None:
        return texts
    return [escape(text) for text in texts]


def _has_special(octets: bytes) -> bool:
    # Why so: many times quicker than a search by an expression
    return len(octets.translate(None, _SPECIAL_OCTETS)) != len(octets)


def interleaved(count: int, *columns: str | Sequence[str]) -> list[str]:
    """Pieces of `count` rows: of each row what its columns hold, one after the other; a text is the same in all rows.

    Texts that stand side by side are made one, and columns are laid by slices: no step of ours for a row.
    """
    merged: list[Any] = []
    for column in columns:
        if isinstance(column, str) and merged and isinstance(merged[-1], str):
            merged[-1] += column
        else:
            merged.append(column)
    pieces: list[str] = [column if isinstance(column, str) else "" for column in merged] * count
    for at, column in enumerate(merged):
        if not isinstance(column, str):
            pieces[at :: len(merged)] = column
    return pieces


def escape_attribute(text: str) -> str:
    """Text of an attribute."""
    return _SPECIAL_ATTRIBUTE.sub(lambda m: _NAMES.get(m[0]) or f"&#x{ord(m[0]):x};", text)


def name_of(member: Reference, default: str) -> str:
    """Element name of a member: its own locationName or the member's name."""
    return member.get("locationName", default)


ReadNode = Callable[[Node], Any]
ReadNodes = Callable[[list[Node]], Any]
Write = Callable[[Any], str]


class Readers:
    """Compiles readers of one service's shapes; recursive shapes refer to themselves."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._structures: dict[str, ReadNode] = {}

    def node(self, shape: Shape) -> ReadNode:
        """Reads a value that is one element (everything but flattened lists and maps)."""
        kind = shape["type"]
        if kind == "structure":
            return self.structure(shape)
        if kind == "list":
            member = self._service.resolve(shape["member"])
            item = self.node(member)
            tag = member.get("locationName", "member")
            return lambda n: [item(c) for c in n.children if c.tag == tag]
        if kind == "map":
            nodes = self.map_nodes(shape)
            return lambda n: nodes([c for c in n.children if c.tag == "entry"])
        scalar = scalars.reader(shape)
        if kind in ("string", "character"):
            return lambda n: n.text
        return lambda n: scalar(n.text)

    def map_nodes(self, shape: Shape) -> ReadNodes:
        """Reads the entries of a map."""
        key = self._service.resolve(shape["key"])
        value = self._service.resolve(shape["value"])
        key_tag, value_tag = key.get("locationName", "key"), value.get("locationName", "value")
        item = self.node(value)

        def entries(nodes: list[Node]) -> dict[str, Any]:
            out: dict[str, Any] = {}
            for node in nodes:
                parts = node.groups()
                if key_tag not in parts:
                    raise XMLError("an entry without a key")
                if value_tag in parts:
                    out[parts[key_tag][0].text] = item(parts[value_tag][0])
            return out

        return entries

    def nodes(self, shape: Shape) -> ReadNodes:
        """Reads a member from all elements of its name."""
        if shape["type"] == "list" and shape.get("flattened"):
            item = self.node(self._service.resolve(shape["member"]))
            return lambda nodes: [item(n) for n in nodes]
        if shape["type"] == "map" and shape.get("flattened"):
            return self.map_nodes(shape)
        one = self.node(shape)
        return lambda nodes: one(nodes[0])

    def structure(self, shape: Shape, *, skip: frozenset[str] = frozenset()) -> ReadNode:
        """Reads a structure; members in `skip` travel elsewhere (headers, path, query)."""
        known = self._structures.get(shape["name"]) if "name" in shape and not skip else None
        if known is not None:
            return known
        elements: list[tuple[str, str, ReadNodes]] = []
        attributes: list[tuple[str, str, Callable[[str], Any]]] = []

        def structure(node: Node) -> dict[str, Any]:
            parts = node.groups()
            out: dict[str, Any] = {}
            for name, tag, member in elements:
                nodes = parts.get(tag)
                if nodes is not None:
                    out[name] = member(nodes)
            for name, attribute, scalar in attributes:
                if attribute in node.attributes:
                    out[name] = scalar(node.attributes[attribute])
            return out

        if "name" in shape and not skip:
            self._structures[shape["name"]] = structure
        for name, reference in shape.get("members", {}).items():
            if name in skip:
                continue
            member = self._service.resolve(reference)
            if member.get("xmlAttribute"):
                attributes.append((name, name_of(member, name), scalars.reader(member)))
                continue
            elements.append((name, name_of(member, name), self.nodes(member)))
            if member["type"] == "list" and member.get("flattened"):
                inner = self._service.resolve(member["member"])
                # Why: clients differ on whether a flattened list's items bear the list's name or their own.
                if inner.get("locationName", name_of(member, name)) != name_of(member, name):
                    elements.append((name, inner["locationName"], self.nodes(member)))
        return structure


class Elements:
    """A flattened list that writes itself, where a value for each of its elements would cost too much."""

    def pieces(self) -> list[str]:
        """All elements: what they are when joined."""
        raise NotImplementedError

    def xml(self) -> str:
        """All elements."""
        return "".join(self.pieces())

    def url_encoded(self) -> Elements:
        """The same, with keys as ``encoding-type=url`` wants them."""
        raise NotImplementedError


class Writers:
    """Compiles writers of one service's shapes."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._times = scalars.iso8601_seconds if service.name in ("iam", "sts") else scalars.iso8601
        self._contents: dict[str, Write] = {}

    def element(self, shape: Shape, tag: str) -> Write:
        """Writes a value as one element (or several, if flattened)."""
        kind = shape["type"]
        start, end = open_tag(tag, shape), f"</{tag.partition(' ')[0]}>"
        if kind == "structure":
            return self.structure_element(shape, tag)
        if kind == "list":
            return self.list_element(shape, tag, start, end)
        if kind == "map":
            return self.map_element(shape, tag, start, end)
        text = scalars.writer(shape, "iso8601", self._times)
        if kind in ("string", "character"):
            special = _SPECIAL.search

            def write(value: Any) -> str:
                plain = value if value.__class__ is str else str(value)
                return f"{start}{plain if special(plain) is None else escape(plain)}{end}"

            return write
        if kind in ("integer", "long"):
            return lambda v: f"{start}{v}{end}"
        return lambda v: f"{start}{text(v)}{end}"

    def structure_element(self, shape: Shape, tag: str) -> Write:
        """Writes a structure with its attributes."""
        members = {n: self._service.resolve(r) for n, r in shape.get("members", {}).items()}
        attributes = [(n, m["locationName"]) for n, m in members.items() if m.get("xmlAttribute")]
        content = self.structure(shape)
        start, end = open_tag(tag, shape), f"</{tag.partition(' ')[0]}>"
        if not attributes:
            return lambda v: f"{start}{content(v)}{end}"

        def write(value: Any) -> str:
            # Why: a prefixed attribute (xsi:type) needs its namespace, which the structure's own trait declares.
            more = "".join(
                f' {a}="{escape_attribute(str(value[n]))}"' for n, a in attributes if value.get(n) is not None
            )
            return f"{start[:-1]}{more}>{content(value)}{end}"

        return write

    def list_element(self, shape: Shape, tag: str, start: str, end: str) -> Write:
        """Writes a list, wrapped or flattened."""
        member = self._service.resolve(shape["member"])
        if shape.get("flattened"):
            item = self.element(member, member.get("locationName", tag))
            return lambda v: v.xml() if isinstance(v, Elements) else "".join([item(x) for x in v if x is not None])
        item = self.element(member, member.get("locationName", "member"))
        return lambda v: f"{start}{''.join([item(x) for x in v if x is not None])}{end}"

    def map_element(self, shape: Shape, tag: str, start: str, end: str) -> Write:
        """Writes a map, wrapped or flattened."""
        key = self._service.resolve(shape["key"])
        value = self._service.resolve(shape["value"])
        write_key = self.element(key, key.get("locationName", "key"))
        write_value = self.element(value, value.get("locationName", "value"))
        if shape.get("flattened"):
            return lambda v: "".join(
                [f"{start}{write_key(k)}{write_value(x)}{end}" for k, x in v.items() if x is not None]
            )
        return lambda v: (
            start
            + "".join([f"<entry>{write_key(k)}{write_value(x)}</entry>" for k, x in v.items() if x is not None])
            + end
        )

    def document(self, shape: Shape, start: str, end: str, skip: frozenset[str]) -> Write:
        """Writes a structure that is a whole document, between two texts; its pieces are joined once."""
        members: list[tuple[str, Write]] = []
        for name, reference in shape.get("members", {}).items():
            member = self._service.resolve(reference)
            if name not in skip and not member.get("xmlAttribute"):
                members.append((name, self.element(member, name_of(member, name))))

        def document(value: Any) -> str:
            pieces = [start]
            for name, write in members:
                if (v := value.get(name)) is not None:
                    if isinstance(v, Elements):
                        pieces += v.pieces()
                    else:
                        pieces.append(write(v))
            pieces.append(end)
            return "".join(pieces)

        return document

    def structure(self, shape: Shape, *, skip: frozenset[str] = frozenset()) -> Write:
        """Writes what is inside a structure's element."""
        known = self._contents.get(shape["name"]) if "name" in shape and not skip else None
        if known is not None:
            return known
        members: list[tuple[str, Write]] = []

        def content(value: Any) -> str:
            return "".join([write(v) for name, write in members if (v := value.get(name)) is not None])

        if "name" in shape and not skip:
            self._contents[shape["name"]] = content
        for name, reference in shape.get("members", {}).items():
            member = self._service.resolve(reference)
            if name in skip or member.get("xmlAttribute"):
                continue
            members.append((name, self.element(member, name_of(member, name))))
        return content


def open_tag(tag: str, shape: Shape) -> str:
    """Start tag, with the namespace that the shape declares."""
    space = shape.get("xmlNamespace")
    if not space:
        return f"<{tag}>"
    if isinstance(space, str):
        return f'<{tag} xmlns="{escape_attribute(space)}">'
    prefix = f":{space['prefix']}" if space.get("prefix") else ""
    return f'<{tag} xmlns{prefix}="{escape_attribute(space["uri"])}">'

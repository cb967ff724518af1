# SPDX-License-Identifier: Apache-2.0
"""User data, read: its parts, and the cloud-config of all of them in one. Pure but for the YAML library.

The forms and how parts are told apart follow cloud-init; a form that is not carried out is named, not refused: AWS
takes any user data, and an instance says on its console what it made of it.
Source: cloud-init documentation, User-data formats, Merging user-data sections.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import EmailMessage

UNPACKED_MAX = 1024 * 1024
"""Octets of user data when unpacked."""
_CONFIG_MAX = 128 * 1024
"""Octets of one cloud-config: reading YAML takes its time."""
_NODES_MAX = 20_000
_PARTS_MAX = 64
_DOCUMENT_MAX = 48 * 1024
"""Octets of what an instance is handed at its boot, packed."""

CONFIG = "text/cloud-config"
SCRIPTS = {
    "text/x-shellscript": "script",
    "text/x-shellscript-per-boot": "per-boot",
    "text/x-shellscript-per-instance": "per-instance",
    "text/x-shellscript-per-once": "per-once",
    "text/cloud-boothook": "boothook",
}
"""What is run, by media type -> when."""
_BEGINNINGS = (
    (b"## template: jinja", "text/jinja2"),
    (b"#include-once", "text/x-include-once-url"),
    (b"#include", "text/x-include-url"),
    (b"#cloud-config-archive", "text/cloud-config-archive"),
    (b"#cloud-config-jsonp", "text/cloud-config-jsonp"),
    (b"#cloud-config", CONFIG),
    (b"#cloud-boothook", "text/cloud-boothook"),
    (b"#upstart-job", "text/upstart-job"),
    (b"#part-handler", "text/part-handler"),
    (b"#!", "text/x-shellscript"),
)
_UNTYPED = ("text/plain", "text/x-not-multipart", "application/octet-stream")
_PACKED = (
    "application/gzip", "application/gzip-compressed", "application/gzipped", "application/x-compress",
    "application/x-compressed", "application/x-gunzip", "application/x-gzip", "application/x-gzip-compressed",
)  # fmt: skip
_FILE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(slots=True)
class UserData:
    """What an instance is to carry out, in order. `said` are lines for its console."""

    parts: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """`kind` (a value of SCRIPTS), `name` of the file, `data` in base64."""
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    said: list[str] = field(default_factory=list[str])

    def packed(self) -> str:
        """As text of one word; what is too large to be handed over is left out, and said."""
        text = _packed({"parts": self.parts, "config": self.config, "said": self.said})
        if len(text) > _DOCUMENT_MAX:
            return _packed({"parts": [], "config": {}, "said": [*self.said[:20], "user data is too large: not run"]})
        return text


def _packed(document: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(document).encode(), 9)).decode()


def read(data: bytes) -> UserData:
    """Read user data, whatever it is."""
    found = UserData()
    data = _unpacked(data, found.said)
    if not data.strip():
        return found
    for number, (kind, name, body) in enumerate(_parts(data, found.said), 1):
        if number > _PARTS_MAX:
            found.said.append(f"user data has more than {_PARTS_MAX} parts: the rest is not run")
            break
        _take(found, kind, name or f"part-{number:03}", body)
    return found


def _unpacked(data: bytes, said: list[str]) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        unpack = zlib.decompressobj(31)
        data = unpack.decompress(data, UNPACKED_MAX + 1)
        if len(data) > UNPACKED_MAX:
            said.append("user data is longer than 1 MiB when unpacked: not run")
            return b""
        if not unpack.eof:
            said.append("user data is not readable gzip: it ends too early")
            return b""
    except zlib.error as error:
        said.append(f"user data is not readable gzip: {error}")
        return b""
    return data


def _parts(data: bytes, said: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Media type, file name, content of each part."""
    if b"mime-version:" in data[:4096].lower() and not data.startswith(b"#"):
        # Why here: a start that boots no such instance need not pay for it
        from email import message_from_bytes
        from email.policy import default

        message = message_from_bytes(data, policy=default)
        for part in message.walk():
            if not part.is_multipart():
                yield from _part(part, said)
    else:
        yield _kind("text/x-not-multipart", data), "", data


def _part(part: EmailMessage, said: list[str]) -> Iterator[tuple[str, str, bytes]]:
    kind = part.get_content_type()
    raw: Any = part.get_payload(decode=True)
    body = raw if isinstance(raw, bytes) else b""
    if kind in _PACKED or body[:2] == b"\x1f\x8b":
        body, kind = _unpacked(body, said), "text/plain" if kind in _PACKED else kind
    if body:
        yield _kind(kind, body), _FILE.sub("_", part.get_filename() or "")[:100].lstrip("."), body


def _kind(kind: str, body: bytes) -> str:
    """The media type of a part; by its beginning where it does not say, and always for templates."""
    head = body[:64].lstrip().lower()
    for beginning, found in _BEGINNINGS:
        if head.startswith(beginning) and (kind in _UNTYPED or found == "text/jinja2"):
            return found
    return kind


def _take(found: UserData, kind: str, name: str, body: bytes) -> None:
    if kind in SCRIPTS:
        if kind == "text/cloud-boothook":
            body = re.sub(rb"\A\s*#cloud-boothook[^\n]*\n?", b"", body)
        found.parts.append({"kind": SCRIPTS[kind], "name": name, "data": base64.b64encode(body).decode()})
    elif kind == CONFIG:
        _configure(found, name, body)
    elif kind == "text/cloud-config-archive":
        _archive(found, name, body)
    elif kind in _UNTYPED:
        found.said.append(f"user data {name} is neither a script ('#!') nor '#cloud-config': not run")
    else:
        form = next((b.decode() for b, one in _BEGINNINGS if one == kind), kind)
        found.said.append(f"user data {name} is of a form that is not carried out here ({form}): not run")


def _configure(found: UserData, name: str, body: bytes) -> None:
    config = _yaml(found, name, body)
    if config is None:
        return
    if not isinstance(config, dict):
        found.said.append(f"cloud-config {name} is not a mapping: not carried out")
        return
    known = cast("dict[str, Any]", config)
    lists, dicts = _merging(known)
    for key, value in known.items():
        before = found.config.get(key)
        if lists and isinstance(before, list) and isinstance(value, list):
            old, new = cast("list[Any]", before), cast("list[Any]", value)
            found.config[key] = [*new, *old] if lists == "prepend" else [*old, *new]
        elif before is None or dicts != "no_replace":
            found.config[key] = value


def _merging(config: dict[str, Any]) -> tuple[str, str]:
    """How this part wants its lists and keys merged: (append, prepend or empty; no_replace or empty)."""
    how: Any = config.pop("merge_how", None) or config.pop("merge_type", None) or ""
    if isinstance(how, list):
        named = [cast("dict[str, Any]", one) for one in cast("list[Any]", how) if isinstance(one, dict)]
        how = "+".join(f"{one.get('name')}({','.join(map(str, one.get('settings') or []))})" for one in named)
    text = str(how)
    lists = re.search(r"list\([^)]*\b(append|prepend)\b", text)
    return lists.group(1) if lists else "", "no_replace" if "no_replace" in text else ""


def _archive(found: UserData, name: str, body: bytes) -> None:
    entries = _yaml(found, name, body)
    if not isinstance(entries, list):
        found.said.append(f"cloud-config-archive {name} is not a list: not carried out")
        return
    for number, entry in enumerate(cast("list[Any]", entries)[:_PARTS_MAX], 1):
        one = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {"content": entry}
        content = str(one.get("content") or "").encode()
        kind = _kind(str(one.get("type") or "text/plain"), content)
        named = _FILE.sub("_", str(one.get("filename") or f"{name}-{number:03}"))[:100].lstrip(".")
        if kind == "text/cloud-config-archive":
            found.said.append(f"user data {named} is an archive within an archive: not carried out")
        else:
            _take(found, kind, named, content)


def _yaml(found: UserData, name: str, body: bytes) -> Any:
    """Plain values of a YAML text; None, and a line, if it is none."""
    import yaml  # Why here: only launches with cloud-config need it

    if len(body) > _CONFIG_MAX:
        found.said.append(f"cloud-config {name} is longer than {_CONFIG_MAX // 1024} KiB: not carried out")
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Plain().of(yaml.load(io.BytesIO(body), loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        found.said.append(f"cloud-config {name} is not readable: {said}")
        return None


class _Plain:
    """Values as JSON has them; aliases are written out, up to a number of nodes."""

    def __init__(self) -> None:
        self._left = _NODES_MAX

    def of(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > 50:
            raise ValueError("too many values")
        if isinstance(value, dict):
            return {str(k): self.of(v, depth + 1) for k, v in cast("dict[Any, Any]", value).items()}
        if isinstance(value, (list, tuple, set)):
            return [self.of(one, depth + 1) for one in cast("list[Any]", value)]
        if isinstance(value, bytes):
            return {"base64": base64.b64encode(value).decode()}
        if isinstance(value, str):
            self._left -= len(value) // 256
            return value
        return value if value is None or isinstance(value, (bool, int)) else str(value)

# SPDX-License-Identifier: Apache-2.0
"""User metadata that is not ASCII: S3 takes it, and gives it back, as RFC 2047 writes such words in headers.

Source: Amazon S3 User Guide, "Working with object metadata", "User-defined object metadata"; RFC 2047.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEADING = re.compile("^=+")
"""Padding where none can be counts as 63, the digit ``/``: recorded on AWS."""
_WORD = re.compile(r"=\?([A-Za-z0-9-]+)\?([BbQq])\?([^?]*)\?=")


def decoded(value: str) -> str:
    """A value of a request, its encoded words read; what is none stays."""
    return _WORD.sub(_read, value) if "=?" in value else value


def _read(word: re.Match[str]) -> str:
    charset, encoding, text = word.groups()
    try:
        if encoding in "Bb":
            octets = base64.b64decode(_LEADING.sub(lambda m: "/" * len(m[0]), text) + "=" * (-len(text) % 4))
        else:
            octets = quopri.decodestring(text.replace("_", " ").encode())
        return octets.decode(charset, "replace")
    except (binascii.Error, LookupError, UnicodeEncodeError):
        return word.group(0)


def encoded(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Values as they go into headers."""
    if all(map(_plain, metadata.values())):
        return metadata
    return {name: value if _plain(value) else _word(value) for name, value in metadata.items()}


def _plain(value: str) -> bool:
    return value.isascii() and (value.isprintable() or "\t" in value)


def _word(value: str) -> str:
    """As quoted characters, or in base64 if most of them had to be quoted."""
    octets = value.encode("utf-8", "surrogateescape")
    if 2 * sum(not _plain(char) for char in value) > len(value):
        return f"=?UTF-8?B?{base64.b64encode(octets).decode()}?="
    return f"=?UTF-8?Q?{''.join(map(_quoted, octets))}?="


def _quoted(octet: int) -> str:
    char = chr(octet)
    if char == " ":
        return "_"
    return char if 0x20 < octet < 0x7F and char not in "=?_" else f"={octet:02X}"

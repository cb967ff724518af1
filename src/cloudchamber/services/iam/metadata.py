# SPDX-License-Identifier: Apache-2.0
"""SAML metadata, read as what strangers wrote; pure.

No document type, so no entities that grow, and no reference to anything outside of the document.
Source: OASIS, "Metadata for the OASIS Security Assertion Markup Language (SAML) V2.0".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from xml.parsers import expat

_NAMESPACE = "urn:oasis:names:tc:SAML:2.0:metadata"
DEPTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Metadata:
    """What IAM reads of an identity provider's metadata."""

    issuer: str
    valid_until: datetime | None


def read(text: str) -> Metadata:
    """Read a document that describes one identity provider.

    Raises:
        ValueError: it is not such a document.
    """
    seen = _Seen()
    parser = expat.ParserCreate(namespace_separator="|")
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(text.encode("utf-8"), True)
    except (expat.ExpatError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error
    if not seen.issuer or not seen.idp:
        raise ValueError("no EntityDescriptor with an IDPSSODescriptor")
    return Metadata(seen.issuer, seen.valid_until)


def _refuse(*_: object) -> None:
    raise ValueError("a document type")


class _Seen:
    def __init__(self) -> None:
        self.depth = 0
        self.issuer = ""
        self.idp = False
        self.valid_until: datetime | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ValueError("too deep")
        if self.depth == 1:
            if name != f"{_NAMESPACE}|EntityDescriptor":
                raise ValueError("no EntityDescriptor")
            self.issuer = attributes.get("entityID", "")
            if "validUntil" in attributes:
                until = datetime.fromisoformat(attributes["validUntil"])
                self.valid_until = until if until.tzinfo else until.replace(tzinfo=UTC)
        elif self.depth == 2 and name == f"{_NAMESPACE}|IDPSSODescriptor":
            self.idp = True

    def end(self, name: str) -> None:
        self.depth -= 1

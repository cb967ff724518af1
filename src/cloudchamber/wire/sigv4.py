# SPDX-License-Identifier: Apache-2.0
"""Signature Version 4: what a request says of its signature, and what the signature should have been.

Source: "AWS Signature Version 4 for API requests"; Amazon S3 API Reference, "Authenticating requests".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from cloudchamber.wire.http import Headers, octets

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNRESERVED = "-_.~"
HEADER_CACHED_MAX = 1024
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._~-]+")
_PAD_IN = bytes(0x36 ^ b for b in range(256))
_PAD_OUT = bytes(0x5C ^ b for b in range(256))

Pads = tuple[Any, Any]
"""SHA-256 states after the inner and the outer pad: copying them is twice as quick as `hmac.new`."""


class SignatureFormError(ValueError):
    """What a request says of its signature has a wrong form; the text says what."""


class RegionFormError(SignatureFormError):
    """A credential is scoped to what is no region's name (s3cmd says `US` until it is told better)."""

    def __init__(self, region: str) -> None:
        super().__init__(f"Credential should be scoped to a valid region, not '{region}'.")
        self.region = region


class Claim:
    """What a request says of its signature, from the header or the query; nothing of it is verified.

    All but the signature is the same for all requests of a client in a day; so is what follows from it.
    """

    __slots__ = (
        "_pads", "access_key_id", "date", "how", "names", "region", "scope", "service", "signature", "signed_headers",
        "signed_once",
    )  # fmt: skip

    def __init__(
        self, how: str, access_key_id: str, date: str, region: str, service: str, signed_headers: tuple[str, ...],
        signature: str = "",
    ) -> None:  # fmt: skip
        """`how`: ``header`` or ``query``."""
        self.how = how
        self.access_key_id = access_key_id
        self.date, self.region, self.service = date, region, service
        self.signed_headers = signed_headers
        self.signature = signature
        self.scope = f"{date}/{region}/{service}/aws4_request"
        self.names = ";".join(signed_headers)
        self.signed_once = tuple(dict.fromkeys(signed_headers))
        """The signed headers, each once, in order."""
        self._pads: tuple[str, Pads] | None = None

    def signed_with(self, signature: str) -> Claim:
        """The same with another signature."""
        return Claim(self.how, self.access_key_id, self.date, self.region, self.service, self.signed_headers, signature)

    def pads(self, secret: str) -> Pads:
        """States of the signing key that `secret` makes."""
        known = self._pads
        if known is None or known[0] is not secret:
            known = self._pads = secret, signing_pads(secret, self.date, self.region, self.service)
        return known[1]


class Expected(NamedTuple):
    """The signature that the secret makes, with the texts on the way to it, for error messages."""

    signature: str
    canonical: str
    string_to_sign: str


def pads(key: bytes) -> Pads:
    """HMAC-SHA256 states of a key."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return hashlib.sha256(block.translate(_PAD_IN)), hashlib.sha256(block.translate(_PAD_OUT))


def hmac_hex(states: Pads, data: bytes) -> str:
    """HMAC-SHA256 as hex digits."""
    inner, outer = states[0].copy(), states[1].copy()
    inner.update(data)
    outer.update(inner.digest())
    return outer.hexdigest()


@lru_cache(maxsize=1024)
def signing_pads(secret: str, date: str, region: str, service: str) -> Pads:
    """States of the signing key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return pads(key)


def read_header(text: str) -> Claim:
    """The Authorization header.

    Raises:
        SignatureFormError: a part is missing or has a wrong form.
    """
    claim, signature = split_header(text)
    return claim.signed_with(signature)


def split_header(text: str) -> tuple[Claim, str]:
    """As `read_header`, the signature apart: the rest is the same all day, and read once.

    Raises:
        SignatureFormError: a part is missing or has a wrong form.
    """
    prefix, mark, signature = text.rpartition("Signature=")
    if mark and len(prefix) < HEADER_CACHED_MAX:
        return _read_prefix(prefix), signature.strip()
    parts = _parts(text)
    scope = read_scope(parts.get("Credential", ""))
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not parts.get(name):
            raise SignatureFormError(f"Authorization header requires '{name}' parameter.")
    return Claim("header", *scope, header_names(parts["SignedHeaders"])), parts["Signature"]


def _parts(text: str) -> dict[str, str]:
    body = text[len(ALGORITHM) :]
    return {n.strip(): v.strip() for n, _, v in (p.partition("=") for p in body.split(","))}


@lru_cache(maxsize=512)
def _read_prefix(prefix: str) -> Claim:
    parts = _parts(prefix)
    for name in ("Credential", "SignedHeaders"):
        if not parts.get(name):
            raise SignatureFormError(f"Authorization header requires '{name}' parameter.")
    return Claim("header", *read_scope(parts["Credential"]), header_names(parts["SignedHeaders"]))


def read_scope(text: str) -> tuple[str, str, str, str]:
    """``AKIA.../20261123/us-east-1/s3/aws4_request`` as key id, date, region, service."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0]:
        raise SignatureFormError(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        )
    key_id, date, region, service, term = parts
    if term != "aws4_request":
        raise SignatureFormError(
            f"Credential should be scoped with a valid terminator: 'aws4_request', not {term[:32]!r}"
        )
    if not (len(date) == 8 and date.isascii() and date.isdigit()):
        raise SignatureFormError(f"Invalid credential date {date[:32]!r}. This date is not in the form YYYYMMDD.")
    if not _REGION.fullmatch(region):
        raise RegionFormError(region[:32])
    return key_id, date, region, service


def header_names(text: str) -> tuple[str, ...]:
    """SignedHeaders, in lower case."""
    return tuple(n.strip().lower() for n in text.split(";") if n.strip())


def canonical_path(path: str, *, s3: bool) -> str:
    """The path as it is signed: S3 encodes it once; others resolve dots and encode what was sent again."""
    if s3:
        if _PLAIN_PATH.fullmatch(path):
            return path
        return quote(unquote_to_bytes(octets(path)), safe="/" + UNRESERVED) or "/"
    return quote(octets(resolve_dots(path)), safe="/" + UNRESERVED)


def resolve_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, with empty segments removed."""
    if "/." not in path and "//" not in path:
        return path or "/"
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return f"/{'/'.join(kept)}{end}"


def canonical_query(query: str, *, without: Iterable[str] = ()) -> str:
    """Parameters encoded anew and sorted; `without` names those that are not signed."""
    if not query:
        return ""
    left_out = frozenset(without)
    rows: list[tuple[str, str]] = []
    for part in query.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        if name not in left_out:
            rows.append((_again(name), _again(value)))
    rows.sort()
    return "&".join([f"{n}={v}" for n, v in rows])


def _again(text: str) -> str:
    if text.isascii() and text.isalnum():
        return text
    return quote(unquote_to_bytes(octets(text.replace("+", " "))), safe=UNRESERVED)


def canonical_headers(headers: Headers, names: tuple[str, ...]) -> str:
    """Signed headers, one a line; several values joined, runs of spaces made one."""
    if not headers.repeated:
        get = headers.first.get
        lines: list[str] = []
        for name in names:
            value = get(name, "")
            if " " in value or not value.isprintable():
                value = " ".join(value.split())
            lines.append(f"{name}:{value}\n")
        return "".join(lines)
    wanted: dict[str, str | None] = dict.fromkeys(names)
    for name, value in headers.items:
        if name in wanted:
            known = wanted[name]
            folded = " ".join(value.split())
            wanted[name] = folded if known is None else f"{known},{folded}"
    return "".join([f"{n}:{v or ''}\n" for n, v in wanted.items()])


def canonical_request(
    method: str, path: str, query: str, headers: Headers, claim: Claim, payload: str, *, s3: bool,
    unsigned_query: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """The text whose hash is signed."""
    without = ("X-Amz-Signature", *unsigned_query) if claim.how == "query" else ()
    query = canonical_query(query, without=without) if query else ""
    lines = canonical_headers(headers, claim.signed_once)
    return f"{method}\n{canonical_path(path, s3=s3)}\n{query}\n{lines}\n{claim.names}\n{payload}"


def string_to_sign(claim: Claim, timestamp: str, canonical: str) -> str:
    """The text that is signed; `timestamp` is ``YYYYMMDDTHHMMSSZ``."""
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{claim.scope}\n{digest}"


def signature(claim: Claim, text: str, secret: str) -> str:
    """The signature that `secret` makes of a `string_to_sign`."""
    return hmac_hex(claim.pads(secret), text.encode())


def expect(claim: Claim, timestamp: str, canonical: str, secret: str) -> Expected:
    """The signature that should have been, with the texts on the way to it."""
    text = string_to_sign(claim, timestamp, canonical)
    return Expected(signature(claim, text, secret), canonical, text)


def same(first: str, second: str) -> bool:
    """Whether two signatures are equal, in constant time."""
    if first.isascii() and second.isascii():
        return hmac.compare_digest(first, second)
    return hmac.compare_digest(first.encode("utf-8", "replace"), second.encode("utf-8", "replace"))


def policy_matches(secret: str, policy: str, credential: str, signature: str) -> bool:
    """Whether the signature of an HTML form's policy (base64, as sent) is right.

    Raises:
        SignatureFormError: `credential` has a wrong form.
    """
    _, date, region, service = read_scope(credential)
    return same(hmac_hex(signing_pads(secret, date, region, service), policy.encode()), signature)

# SPDX-License-Identifier: Apache-2.0
"""Signature Version 4 by hand, so that a test can break any one part of it; and a client that sends just that."""

from __future__ import annotations

import hashlib
import hmac
import http.client
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from tests.conftest import ROOT_KEY, RunningChamber

ACCESS, _, SECRET = ROOT_KEY.partition(":")
ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def key_of(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(text: str, scope: str, secret: str = SECRET) -> str:
    return hmac.digest(key_of(secret, scope), text.encode(), "sha256").hex()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        """Fields of an error in XML, wherever they stand."""
        if not self.body:
            return {}
        root = ElementTree.fromstring(self.body)
        return {e.tag.rpartition("}")[2]: e.text or "" for e in root.iter()}

    @property
    def code(self) -> str:
        return self.error.get("Code", "")


@dataclass(frozen=True)
class Signed:
    """One request; `send` signs what is here, after which `tampered` may change it."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    payload: str = ""
    service: str = "s3"
    region: str = "us-east-1"
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    access: str = ACCESS
    secret: str = SECRET

    @property
    def scope(self) -> str:
        return f"{stamp(self.at)[:8]}/{self.region}/{self.service}/aws4_request"

    @property
    def credential(self) -> str:
        return f"{self.access}/{self.scope}"

    def signature(self, headers: dict[str, str], query: dict[str, str], payload: str) -> tuple[str, str]:
        names = sorted(n.lower() for n in headers)
        values = {n.lower(): " ".join(v.split()) for n, v in headers.items()}
        pairs = sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in query.items())
        canonical = "\n".join(
            [self.method, quote(self.path, safe="/-_.~"), "&".join(f"{n}={v}" for n, v in pairs)]
            + [f"{n}:{values[n]}" for n in names]
            + ["", ";".join(names), payload]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{ALGORITHM}\n{stamp(self.at)}\n{self.scope}\n{digest}"
        return sign(text, self.scope, self.secret), ";".join(names)

    def in_header(self, host: str) -> Ready:
        """Signed in the Authorization header."""
        payload = self.payload or hashlib.sha256(self.body).hexdigest()
        headers = {"host": host, "x-amz-date": stamp(self.at), **self.headers}
        if self.service == "s3":
            headers["x-amz-content-sha256"] = payload
        signature, names = self.signature(headers, self.query, payload)
        headers["authorization"] = (
            f"{ALGORITHM} Credential={self.credential}, SignedHeaders={names}, Signature={signature}"
        )
        return Ready(self.method, self.path, dict(self.query), headers, self.body, signature)

    def in_query(self, host: str, expires: str = "60", **more: str) -> Ready:
        """Presigned."""
        headers = {"host": host, **self.headers}
        query = {
            **self.query, "X-Amz-Algorithm": ALGORITHM, "X-Amz-Credential": self.credential,
            "X-Amz-Date": stamp(self.at), "X-Amz-Expires": expires,
            "X-Amz-SignedHeaders": ";".join(sorted(n.lower() for n in headers)), **more,
        }  # fmt: skip
        signature, _ = self.signature(headers, query, "UNSIGNED-PAYLOAD" if self.service == "s3" else EMPTY)
        return Ready(self.method, self.path, {**query, "X-Amz-Signature": signature}, headers, self.body, signature)


@dataclass(frozen=True)
class Ready:
    """A request as it goes onto the wire."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    signature: str
    tail: str = ""
    """What follows the query, as it is."""

    def but(self, **changes: object) -> Ready:
        return replace(self, **changes)  # type: ignore[arg-type]

    def with_headers(self, **headers: str) -> Ready:
        return self.but(headers=self.headers | {n.replace("_", "-"): v for n, v in headers.items()})

    def with_query(self, **query: str) -> Ready:
        return self.but(query=self.query | {n.replace("_", "-"): v for n, v in query.items()})

    def without(self, name: str) -> Ready:
        """Without one header or parameter."""
        return self.but(
            headers={n: v for n, v in self.headers.items() if n != name},
            query={n: v for n, v in self.query.items() if n != name},
        )

    def send(self, chamber: RunningChamber) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", chamber.port, timeout=30)
        target = quote(self.path, safe="/-_.~") + (f"?{urlencode(self.query, quote_via=quote)}" if self.query else "")
        target += self.tail
        connection.putrequest(self.method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        if "content-length" not in self.headers:
            connection.putheader("content-length", str(len(self.body)))
        connection.endheaders(self.body or None)
        reply = connection.getresponse()
        found = Reply(reply.status, {n.lower(): v for n, v in reply.getheaders()}, reply.read())
        connection.close()
        return found

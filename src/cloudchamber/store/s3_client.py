# SPDX-License-Identifier: Apache-2.0
"""A client of any S3-compatible store, for `blobs_s3`: blocking calls, made on threads.

A request is tried again while the store is in trouble (no connection, 5xx) and time is left. So a call that returns was
answered for by the store; one that raises may have happened all the same.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.database import UnreachableError
from cloudchamber.wire import sigv4
from cloudchamber.wire.http import Headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudchamber.base.clock import Clock

TRY_FOR_S = 30.0
_CONNECT_S, _READ_S = 3.0, 30.0
_PAUSE_S, _PAUSE_MAX_S = 0.1, 2.0
_NOT_IMPLEMENTED = 501
_ANSWER_MAX = 8 * 1024 * 1024

_log = logging.getLogger(__name__)


class StoreError(UnreachableError):
    """The store of blobs refused a request, or did not answer in time."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, "look whether the store of blobs runs and has space")
        self.status = status


class NoPartCopyError(StoreError):
    """The store makes no parts from octets of other objects."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where blobs lie: ``s3://bucket/prefix?endpoint=http://host:8333&region=us-east-1``, and who puts them there."""

    endpoint: str
    bucket: str
    prefix: str
    region: str
    key: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, url: str, key: str, secret: str) -> Place:
        """Read a URL.

        Raises:
            ChamberError: it is of another form.
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        where = urlsplit(query.get("endpoint", ""))
        known = set(query) <= {"endpoint", "region"}
        if parts.scheme != "s3" or not parts.netloc or where.scheme not in ("http", "https") or not known:
            raise ChamberError(
                "the place of blobs must be s3://BUCKET/PREFIX?endpoint=http://HOST:PORT", "region=NAME may follow"
            )
        prefix = parts.path.strip("/")
        endpoint = f"{where.scheme}://{where.netloc}"
        return cls(
            endpoint, parts.netloc, f"{prefix}/" if prefix else "", query.get("region", "us-east-1"), key, secret
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of the store, by its name below the prefix."""

    name: str
    modified: datetime


class Store:
    """The objects below one prefix of one bucket. Safe on threads."""

    def __init__(
        self,
        place: Place,
        clock: Clock,
        connections: int = 32,
        try_for_s: float = TRY_FOR_S,
        name: str = "the store of blobs",
    ) -> None:
        """`try_for_s`: how long a request is tried again while the store is in trouble; `name`: what errors call it."""
        import urllib3

        self._try_for_s = try_for_s
        self._name = name

        self._place = place
        self._clock = clock
        self._host = urlsplit(place.endpoint).netloc
        self.broken: tuple[type[Exception], ...] = (urllib3.exceptions.HTTPError, OSError)
        self._pool = urllib3.PoolManager(
            maxsize=connections, retries=False, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        )

    def check(self) -> None:
        """See that the bucket is there; make it if it is not.

        Raises:
            StoreError: nobody answers, or refuses who asks.
        """
        if self._ask("HEAD", "", fine=(404,)).status == 404:
            self._ask("PUT", "", fine=(409,)).read()

    def versioned(self) -> bool:
        """Whether the bucket keeps versions."""
        return _bare(self._text("GET", "", "versioning=")).findtext("Status") == "Enabled"

    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Store an object of up to 5 GiB."""
        self._ask("PUT", self._key(name), headers={**(headers or {}), "content-md5": _md5(data)}, body=data).read()

    def size(self, name: str) -> int:
        """Octets of an object."""
        answer = self._ask("HEAD", self._key(name))
        answer.close()
        return int(answer.headers["Content-Length"])

    def get(self, name: str, offset: int, length: int) -> Any:
        """A response to read `length` octets from; they may be cut short when the store fails."""
        last = "" if length < 0 else offset + length - 1
        return self._ask("GET", self._key(name), headers={"range": f"bytes={offset}-{last}"})

    def text(self, name: str) -> str | None:
        """A small object as text; None if it is not there."""
        answer = self._ask("GET", self._key(name), fine=(404,))
        octets: bytes = answer.read(_ANSWER_MAX)
        return None if answer.status == 404 else octets.decode("utf-8", "replace")

    def remove(self, name: str) -> None:
        """Delete an object; that it is gone is no error."""
        self._ask("DELETE", self._key(name), fine=(404,)).close()

    def copy(self, name: str, source: str) -> None:
        """A copy of an object of up to 5 GiB, made by the store."""
        self._text("PUT", self._key(name), headers={"x-amz-copy-source": self._source(source)})

    def begin(self, name: str, headers: Mapping[str, str] | None = None) -> str:
        """Begin an object in parts; the id of the upload."""
        return _found(self._text("POST", self._key(name), "uploads=", headers), "UploadId")

    def part(self, name: str, upload: str, number: int, data: bytes) -> str:
        """One part; its ETag."""
        query = f"partNumber={number}&uploadId={quote(upload, safe='')}"
        answer = self._ask("PUT", self._key(name), query, {"content-md5": _md5(data)}, data)
        answer.read()
        return answer.headers["ETag"]

    def part_of(self, name: str, upload: str, number: int, source: str, offset: int, length: int) -> str:
        """One part from octets of another object; its ETag.

        Raises:
            NoPartCopyError: the store does not know that.
        """
        query = f"partNumber={number}&uploadId={quote(upload, safe='')}"
        headers = {
            "x-amz-copy-source": self._source(source),
            "x-amz-copy-source-range": f"bytes={offset}-{offset + length - 1}",
        }
        try:
            text = self._text("PUT", self._key(name), query, headers)
        except StoreError as error:
            if error.status != _NOT_IMPLEMENTED:
                raise
            text = b""
        if not text:  # Why: who does not know the header takes it for an empty part, and answers that with nothing
            raise NoPartCopyError(f"{self._name} copies no parts", _NOT_IMPLEMENTED)
        return _found(text, "ETag")

    def complete(self, name: str, upload: str, etags: list[str], size: int) -> None:
        """End an object in parts."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{_quoted(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        try:
            self._text("POST", self._key(name), f"uploadId={quote(upload, safe='')}", body=body)
        except StoreError as error:
            # Why: a first try whose answer was lost may have ended the upload
            if error.status != 404 or self.size(name) != size:
                raise

    def abort(self, name: str, upload: str) -> None:
        """Forget an object in parts."""
        self._ask("DELETE", self._key(name), f"uploadId={quote(upload, safe='')}", fine=(404,)).close()

    def pages(self) -> Iterator[list[Listed]]:
        """All objects, some at a time."""
        query = f"list-type=2&max-keys=1000&prefix={quote(self._place.prefix, safe='')}"
        token = ""
        while True:
            text = self._text("GET", "", query + (f"&continuation-token={quote(token, safe='')}" if token else ""))
            root = _bare(text)
            yield [self._listed(one, "LastModified") for one in root.findall("Contents")]
            token = root.findtext("NextContinuationToken") or ""
            if not token:
                return

    def unfinished(self) -> list[tuple[Listed, str]]:
        """Objects in parts that nobody ended, and the ids of their uploads: a thousand at most."""
        root = _bare(self._text("GET", "", f"prefix={quote(self._place.prefix, safe='')}&uploads="))
        return [(self._listed(one, "Initiated"), one.findtext("UploadId") or "") for one in root.findall("Upload")]

    def close(self) -> None:
        """End all connections."""
        self._pool.clear()

    def _listed(self, one: ElementTree.Element, when: str) -> Listed:
        key = one.findtext("Key") or ""
        modified = datetime.fromisoformat(one.findtext(when) or "")
        return Listed(key.removeprefix(self._place.prefix), modified)

    def _key(self, name: str) -> str:
        return f"/{quote(self._place.prefix + name)}"

    def _source(self, name: str) -> str:
        return f"/{self._place.bucket}{self._key(name)}"

    def _text(
        self, method: str, key: str, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        """An answer's XML. An error may come with the status 200: those of copies and of completions."""
        ends = time.monotonic() + self._try_for_s
        while True:
            text: bytes = self._ask(method, key, query, headers, body).read(_ANSWER_MAX)
            if b"<Error>" not in text[:512]:
                return text
            if time.monotonic() > ends:
                raise StoreError(f"{self._name} answers {_code(text)} to {method}")
            time.sleep(_PAUSE_MAX_S)

    def _ask(
        self,
        method: str,
        key: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        fine: tuple[int, ...] = (),
    ) -> Any:
        ends, pause = time.monotonic() + self._try_for_s, _PAUSE_S
        while True:
            try:
                answer = self._once(method, key, query, headers or {}, body)
            except self.broken as error:
                wrong, status = f"does not answer: {error}", 0
            else:
                if answer.status < 300 or answer.status in fine:
                    return answer
                status = answer.status
                wrong = f"answers {status} {_code(answer.read(4096))}"
                answer.close()
                if (status < 500 and status != 429) or status == _NOT_IMPLEMENTED:
                    raise StoreError(f"{self._name} {wrong} to {method}", status)
            if time.monotonic() + pause > ends:
                raise StoreError(f"{self._name} {wrong}", status)
            _log.info("%s %s; once more in %.1f s", self._name, wrong, pause)
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_MAX_S)

    def _once(self, method: str, key: str, query: str, headers: Mapping[str, str], body: bytes) -> Any:
        path = f"/{self._place.bucket}{key}"
        signed = self._signed(method, path, query, headers)
        url = f"{self._place.endpoint}{path}{f'?{query}' if query else ''}"
        # Why: text goes out as UTF-8, and the library sends characters of latin-1 only
        sent = {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in signed.items()}
        return self._pool.request(method, url, headers=sent, body=body or None, preload_content=False, redirect=False)

    def _signed(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> dict[str, str]:
        stamp = self._clock.now().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        made = {**headers, "host": self._host, "x-amz-date": stamp, "x-amz-content-sha256": sigv4.UNSIGNED}
        names = tuple(sorted(made))
        claim = sigv4.Claim("header", self._place.key, stamp[:8], self._place.region, "s3", names, "")
        given = Headers(list(made.items()))
        canonical = sigv4.canonical_request(method, path, query, given, claim, sigv4.UNSIGNED, s3=True)
        expected = sigv4.expect(claim, stamp, canonical, self._place.secret)
        made["authorization"] = (
            f"{sigv4.ALGORITHM} Credential={claim.access_key_id}/{claim.scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={expected.signature}"
        )
        return made


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _quoted(etag: str) -> str:
    return f"&quot;{etag.strip(chr(34))}&quot;"


def _bare(text: bytes) -> ElementTree.Element:
    """A document without namespaces. Entities are not expanded: a document that declares any is refused."""
    if b"<!" in text[:1024]:
        raise StoreError("the store of blobs answers what is no S3")
    try:
        return ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", text, count=1))
    except ElementTree.ParseError as error:
        raise StoreError(f"the store of blobs answers what is no XML: {error}") from None


def _found(text: bytes, name: str) -> str:
    value = _bare(text).findtext(name)
    if not value:
        raise StoreError(f"the store of blobs answers without {name}")
    return value


def _code(text: bytes) -> str:
    found = re.search(rb"<Code>([A-Za-z0-9]{1,60})</Code>", text)
    return found[1].decode() if found is not None else ""

# SPDX-License-Identifier: Apache-2.0
"""Writes of small objects that are like one that was done before, done in a few steps.

As `front.again`, for PutObject: a client that stores objects sends the same head over and over, but for the key, the
date, what follows from the octets, and the signature. Once such a request went through the pipeline, the next one like
it is compared line by line; its signature is verified, its octets are compared with every sum that it tells, IAM
decides about its key, and the service writes it. It is answered when it is durable.

What this rests on: lines of the head that are equal octet for octet; rows outside the busy tables, none of which
changed since (policies, keys, buckets, settings); the caller's session, until it expires; decisions by policies that
read no condition key. Whatever is in any way different, or fails, takes the whole way, where errors are told.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.front.authorize import known
from cloudchamber.front.remembered import memory_of
from cloudchamber.front.signed import (
    DATE,
    FREE,
    HEAD_OCTETS_MAX,
    SIGNATURE_OCTETS,
    VALUE,
    SignedAlike,
    canonical_rest,
    places,
)
from cloudchamber.track.track import Segment, track_of
from cloudchamber.wire import sigv4
from cloudchamber.wire.codec import host_id
from cloudchamber.wire.scalars import http_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.contract.identity import Credential
    from cloudchamber.contract.stored import Making, Storing
    from cloudchamber.front.authenticate import Authenticated
    from cloudchamber.wire.http import HttpRequest

REMEMBERED_MAX = HEAD_OCTETS_MAX + 16 * 1024
"""Octets of a request, head and body, from which something is learnt."""
KEY_OCTETS_MAX = 256
LEARN_EACH = 64
"""Where no request is like the one before, one of so many is learnt from."""
ACTION = "s3:PutObject"
_SHA256, _LENGTH, _MD5 = "x-amz-content-sha256", "content-length", "content-md5"
_SUM = "x-amz-checksum-"
_SUMS = tuple(f"{_SUM}{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"))
_REFUSED = frozenset(("transfer-encoding", "expect", "origin", "x-amzn-trace-id", "x-amz-trailer", "upgrade"))
_LINE = re.compile(rb"PUT /([a-z0-9.-]+)/([A-Za-z0-9/._~-]+) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Basis:
    """What a write rests on that was done, and may be done again."""

    call: Call
    credential: Credential
    storing: Storing
    settled: int
    """Of the database, when the request came, and since."""

    def learn(self, data: bytes, request: HttpRequest, head: bytes) -> Stores | None:
        """Remember how a request was written, whose octets these are; None: it cannot be done again like this."""
        headers = request.headers
        end = data.find(b"\r\n\r\n")
        if not 0 < end <= HEAD_OCTETS_MAX or headers.repeated or not _REFUSED.isdisjoint(headers.first):
            return None
        lines, body = data[:end].split(b"\r\n"), data[end + 4 :]
        line = _LINE.fullmatch(lines[0])
        if line is None or line[1].decode() != self.storing.bucket or len(lines) != len(headers.items) + 1:
            return None
        if request.query or request.path.encode() != b"/%b/%b" % line.groups():
            return None
        if self.call.segment.resource != f"arn:aws:s3:::{self.storing.bucket}/{line[2].decode()}":
            return None  # Why: the bucket may stand in the host's name, and the path be the key alone
        at = places(lines, headers)
        if at is None:
            return None
        made = Stores(self, request, lines, at)
        return made if made.right and made.would_say(line[2], body, head) else None


class Stores:
    """Requests to store that are written alike, in one bucket, by one caller."""

    def __init__(
        self, basis: Basis, request: HttpRequest, lines: list[bytes], at: dict[str, tuple[int, bytes]]
    ) -> None:
        """`lines`: of the head. `at`: where each header is, and how its line begins."""
        call, headers = basis.call, request.headers
        doors = call.doors
        self._call, self._storing, self._settled, self._doors = call, basis.storing, basis.settled, doors
        self._database, self._recorder, self._clock = doors.database, doors.recorder, doors.clock
        claim, signature = sigv4.split_header(headers.get("authorization"))
        holes = [name for name in at if name in (DATE, _LENGTH, _MD5, *FREE, *_SUMS)]
        if headers.get(_SHA256) != sigv4.UNSIGNED:
            holes.append(_SHA256)
        self.right = (
            {DATE, _LENGTH, _SHA256} <= at.keys()
            and DATE in claim.signed_once
            and len(signature) == SIGNATURE_OCTETS
            and lines[at["authorization"][0]].endswith(signature.encode())
            and sum(name in _SUMS for name in holes) <= 1
        )
        """Whether this can be done again at all."""
        self._holes = tuple((name, *at[name]) for name in holes)
        self._signature_at, begins = at["authorization"][0], lines[at["authorization"][0]]
        self._authorization = begins[:-SIGNATURE_OCTETS]
        self._signed = tuple(name for name in claim.signed_once if name in holes)
        self._hashed = _SHA256 in holes
        payload = "%b" if self._hashed else sigv4.UNSIGNED
        self._canonical = canonical_rest(request, claim, self._signed, payload)
        self._sum = next((name for name in holes if name in _SUMS), "")
        self._free = tuple(name for name in holes if name in FREE)
        self._beginning = b"PUT /%b/" % basis.storing.bucket.encode()
        blank = (0, self._signature_at, *(number for _, number, _ in self._holes))
        self._lines = [b"" if number in blank else line for number, line in enumerate(lines)]
        self._alike = SignedAlike(claim, basis.credential)
        self._taken = self._missed = 0

    @property
    def outworn(self) -> bool:
        """Whether to learn anew from a request that was not like this; not from each, if none is like another."""
        self._missed += 1
        return self._taken > 0 or self._missed >= LEARN_EACH or self._database.settled != self._settled

    def take(self, data: bytes, tell: Callable[[bytes | None], None]) -> bool:
        """Do what these octets ask for, and `tell` the whole reply later; None then: they must go the whole way.

        False: they must go the whole way now.
        """
        if self._database.settled != self._settled or self._recorder.late:
            return False
        end = data.find(b"\r\n\r\n")
        posix = self._clock.now().timestamp()
        found = self._read(data[:end], data[end + 4 :], posix) if 0 < end <= HEAD_OCTETS_MAX else None
        if found is None:
            return False
        key, body, expected = found
        try:
            told = known(self._call, ACTION, f"arn:aws:s3:::{self._storing.bucket}/{key}")
            made = self._storing.make(key, body, int(posix)) if told is not None else None
        except (ServiceError, ChamberError):
            return False
        if made is None or told is None or not self._as_told(made, expected):
            return False

        def durable(result: Any, error: BaseException | None) -> None:
            if error is not None:
                tell(None)
                return
            self._storing.done(result)
            tell(self._reply(made, key, len(body), told, posix))

        self._taken += 1
        return self._database.submit(made, durable)

    def _read(self, head: bytes, body: bytes, now: float) -> tuple[str, bytes, dict[str, bytes]] | None:
        """Key, octets and what is told of them, if it is written as it should be, and signed."""
        lines = head.split(b"\r\n")
        line = _LINE.fullmatch(lines[0])
        if line is None or len(lines) != len(self._lines) or len(line[2]) > KEY_OCTETS_MAX:
            return None
        authorization = lines[self._signature_at]
        if authorization[:-SIGNATURE_OCTETS] != self._authorization:
            return None
        values: dict[str, bytes] = {}
        for name, at, beginning in self._holes:
            held = lines[at]
            size = len(beginning)
            if held[:size] != beginning:
                return None
            values[name] = held[size:]
            lines[at] = b""
        path = lines[0][4:-9]
        lines[0] = lines[self._signature_at] = b""
        if lines != self._lines or path[: len(self._beginning) - 4] != self._beginning[4:]:
            return None
        if values[_LENGTH] != b"%d" % len(body) or not self._alike.in_time(values[DATE], now):
            return None
        if self._free and any(VALUE.fullmatch(values[name]) is None for name in self._free):
            return None
        if self._hashed and values[_SHA256] != hashlib.sha256(body).hexdigest().encode():
            return None
        given = [values[name] for name in self._signed]
        if self._hashed:
            given.append(values[_SHA256])
        canonical = b"PUT\n%b\n\n" % path + self._canonical % tuple(given)
        if not self._alike.right(values[DATE], canonical, authorization[-SIGNATURE_OCTETS:]):
            return None
        return line[2].decode(), body, values

    def _as_told(self, made: Making, values: dict[str, bytes]) -> bool:
        """Whether the octets are what the request says of them."""
        if self._sum:
            algorithm, _, value = made.checksum.partition(":")
            if self._sum[len(_SUM) :] != algorithm.lower() or values[self._sum] != value.encode():
                return False
        md5 = values.get(_MD5)
        return md5 is None or md5 == b2a_base64(bytes.fromhex(made.etag), newline=False)

    def _reply(self, made: Making, key: str, size: int, told: dict[str, Any], started: float) -> bytes:
        """The reply to what is durable, with ids and a track of its own."""
        request_id, digits, own = ids.step()
        call, like = self._call, self._call.segment
        self._recorder.record(
            Segment(
                track_of(int(started), digits), own, "", like.service, like.name, started,
                self._clock.now().timestamp(), 200, "", like.principal, f"arn:aws:s3:::{self._storing.bucket}/{key}",
                request_id, like.access_key, call.region, [told], {"bytes": size},
            )
        )  # fmt: skip
        return self._head(made, request_id, int(started))

    @staticmethod
    def _head(made: Making, request_id: str, second: int) -> bytes:
        algorithm, _, value = made.checksum.partition(":")
        return (
            f'HTTP/1.1 200 OK\r\nETag: "{made.etag}"\r\n{_SUM}{algorithm.lower()}: {value}\r\n'
            f"{_SUM}type: FULL_OBJECT\r\nx-amz-server-side-encryption: AES256\r\nx-amz-request-id: {request_id}\r\n"
            f"x-amz-id-2: {host_id(request_id)}\r\n{_last(second)}"
        ).encode()

    def would_say(self, key: bytes, body: bytes, head: bytes) -> bool:
        """Whether this is, octet for octet, what the whole way said of a request."""
        found = self._storing.make(key.decode(), body, 0)
        segment = self._call.segment
        return found is not None and self._head(found, segment.request_id, int(segment.started)) == head


@lru_cache(maxsize=8)
def _last(second: int) -> str:
    """The last lines of S3's heads."""
    return f"Date: {http_date(datetime.fromtimestamp(second, UTC))}\r\nServer: AmazonS3\r\nContent-Length: 0\r\n\r\n"


def basis(doors: Doors, call: Call, who: Authenticated, storing: Storing, settled: int) -> Basis | None:
    """What a write rests on, if it may be done again; `settled` was the database's when the request came.

    None: it was decided by what may change without a commit, or elsewhere.
    """
    database = doors.database
    if who.credential is None or who.how != "header" or who.algorithm != sigv4.ALGORITHM or database.shared:
        return None
    if database.settled != settled or memory_of(call).settled != settled:
        return None
    return Basis(call, who.credential, storing, settled)

# SPDX-License-Identifier: Apache-2.0
"""Reads that were answered before, answered again in a few steps, as long as nothing has changed that matters.

A client that fetches objects sends the same head over and over, but for the key, the date and the signature. Once such
requests went through the pipeline, and if all that their answer rests on is known to stand still, the next one like
them is compared line by line, its signature verified, and it gets the same answer, with ids and a track of its own.

What an answer rests on: lines of the head that are equal octet for octet; rows, none of which changed since (policies,
keys, buckets and objects are rows: a commit that writes to any of them ends every answer, see `Database.stamp`); the
caller's session, until it expires; that its operation does nothing but answer (`wire.codec.Alone`); and decisions by
policies that read no condition key, so that no time, address or header plays a part.
Whatever is in any way different takes the whole way, where errors are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
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
from cloudchamber.wire import sigv4
from cloudchamber.wire.codec import host_id
from cloudchamber.wire.http import octets
from cloudchamber.wire.scalars import http_date

if TYPE_CHECKING:
    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.contract.identity import Credential
    from cloudchamber.contract.operation import AnyOperation
    from cloudchamber.front.authenticate import Authenticated
    from cloudchamber.track.track import Segment
    from cloudchamber.wire.codec import Alone, Kept
    from cloudchamber.wire.http import HttpRequest

LIKE_MAX = 128
"""Heads of clients that are known."""
ANSWERS_MAX = 4096
ANSWERS_OCTETS_MAX = 16 * 1024 * 1024
"""Answers that are remembered for all of them."""
_VARYING = (DATE, *FREE)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request line is answered with."""

    alone: Alone
    canonical: bytes
    """The canonical request's method, path and query."""
    head: bytes
    """The reply's, up to its ids."""
    body: bytes
    segment: Segment

    def write(self, request_id: str, second: int) -> bytes:
        """The whole reply, as it is sent in a second of POSIX time."""
        return b"%bx-amz-request-id: %b\r\nx-amz-id-2: %b\r\n%b%b" % (
            self.head, request_id.encode(), host_id(request_id).encode(), _last(second), self.body,
        )  # fmt: skip


class Like:
    """Requests whose heads are the same but for what varies, and the answers that they may get."""

    def __init__(self, basis: Basis, lines: list[bytes], holes: tuple[tuple[int, bytes], ...],
                 authorization: tuple[int, bytes], claim: sigv4.Claim, signed: list[str],
                 request: HttpRequest) -> None:  # fmt: skip
        """`lines`: with nothing where something varies. `holes`: which these are, those that are `signed` first, and
        how each begins. `authorization`: which line has the signature, and what is before it."""
        doors = basis.repeats.doors
        self.credential = basis.credential
        self._recorder, self._database, self._clock = doors.recorder, doors.database, doors.clock
        self._lines, self._count = lines, len(lines)
        self._holes = holes
        self._signed, self._dated = len(signed), signed.index(DATE)
        self._signature_at, self._authorization = authorization
        payload = request.headers.get("x-amz-content-sha256").replace("%", "%%")
        self._canonical = canonical_rest(request, claim, signed, payload)
        self._alike = SignedAlike(claim, basis.credential)
        self.stamp = -1
        """Of the database, when the answers were given first."""
        self.answers: dict[bytes, _Answer] = {}
        """By request line."""

    def answer(self, data: bytes) -> bytes | None:
        """The whole reply to the octets of one head; None: it must go the whole way."""
        if self._database.stamp != self.stamp or self._recorder.late or len(data) > HEAD_OCTETS_MAX:
            return None
        lines = data.split(b"\r\n")
        answer = self.answers.get(lines[0])
        if answer is None or len(lines) != self._count or not answer.alone.holds:
            return None
        authorization = lines[self._signature_at]
        if authorization[:-SIGNATURE_OCTETS] != self._authorization:
            return None
        values: list[bytes] = []
        for at, beginning in self._holes:
            line = lines[at]
            size = len(beginning)
            if line[:size] != beginning:
                return None
            values.append(line[size:])
            lines[at] = b""
        lines[0] = lines[self._signature_at] = b""
        now, date = self._clock.now().timestamp(), values[self._dated]
        if lines != self._lines or not self._alike.in_time(date, now):
            return None
        if len(values) > 1 and any(VALUE.fullmatch(value) is None for value in values):
            return None
        canonical = answer.canonical + self._canonical % tuple(values[: self._signed])
        if not self._alike.right(date, canonical, authorization[-SIGNATURE_OCTETS:]):
            return None
        request_id, digits, own = ids.step()
        reply = answer.write(request_id, int(now))
        self._recorder.repeat(answer.segment, digits, own, request_id, now, self._clock.now().timestamp())
        return reply


@lru_cache(maxsize=8)
def _last(second: int) -> bytes:
    """The last lines of S3's heads."""
    return f"Date: {http_date(datetime.fromtimestamp(second, UTC))}\r\nServer: AmazonS3\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on that may be given again."""

    repeats: Repeats
    stamp: int
    """Of the database, before anything was looked at, and since."""
    credential: Credential
    alone: Alone
    written: str
    """The reply's first header lines, up to its ids."""
    body: bytes
    segment: Segment

    def learn(self, came: bytes, request: HttpRequest, sent: bytes) -> Like | None:
        """Remember what was `sent` to a request that `came` so; None: what is like it takes the whole way."""
        headers, segment = request.headers, self.segment
        if len(came) > HEAD_OCTETS_MAX or came.find(b"\r\n\r\n") != len(came) - 4 or headers.repeated:
            return None
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers or "expect" in headers:
            return None
        answer = _answer(request, self)
        if answer.write(segment.request_id, int(segment.started)) != sent:  # Why: what is not known here may be in it
            return None
        lines = came.split(b"\r\n")
        at = _places(lines, request)
        if at is None or DATE not in at:
            return None
        claim, signature = sigv4.split_header(headers.get("authorization"))
        number, _ = at["authorization"]
        if len(signature) != SIGNATURE_OCTETS or not lines[number].endswith(signature.encode()):
            return None
        signed = [name for name in claim.signed_once if name in at and name in _VARYING]
        varying = [*signed, *(name for name in _VARYING if name in at and name not in signed)]
        if DATE not in signed or not all(VALUE.fullmatch(headers.get(name).encode()) for name in varying):
            return None
        first, authorization = lines[0], lines[number][:-SIGNATURE_OCTETS]
        for blank in (0, number, *(at[name][0] for name in varying)):
            lines[blank] = b""
        like = self.repeats.like((authorization, *lines), self.credential)
        if like is None:
            holes = tuple(at[name] for name in varying)
            like = Like(self, lines, holes, (number, authorization), claim, signed, request)
            self.repeats.add((authorization, *lines), like)
        self.repeats.answer(like, first, self.stamp, answer)
        return like


class Repeats:
    """What is known of the heads that came, and of their answers."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self._known: dict[tuple[bytes, ...], Like] = {}
        self._stamp = -1
        self._answers = self._octets = 0

    def like(self, head: tuple[bytes, ...], credential: Credential) -> Like | None:
        """What is known of a head, with nothing where something varies, that was signed with this credential."""
        found = self._known.get(head)
        return found if found is not None and found.credential is credential else None

    def add(self, head: tuple[bytes, ...], like: Like) -> None:
        """From now on this is what is known of a head."""
        if len(self._known) >= LIKE_MAX or head in self._known:
            self._forget()  # Why: connections still hold those that are dropped here
        if len(self._known) >= LIKE_MAX:
            self._known.clear()
        self._known[head] = like

    def answer(self, like: Like, line: bytes, stamp: int, answer: _Answer) -> None:
        """From now on a request line, in a head that is `like` others, has this answer: until anything is committed."""
        if stamp != self._stamp or self._answers >= ANSWERS_MAX or self._octets >= ANSWERS_OCTETS_MAX:
            self._forget()
            self._stamp = stamp
        if line not in like.answers:
            self._answers += 1
            self._octets += len(line) + len(answer.canonical) + len(answer.head) + len(answer.body)
        like.stamp = stamp
        like.answers[line] = answer

    def _forget(self) -> None:
        for like in self._known.values():
            like.answers.clear()
        self._answers = self._octets = 0

    def basis(self, call: Call, who: Authenticated, kept: Kept, operation: AnyOperation, asked: Any,
              stamp: int) -> Basis | None:  # fmt: skip
        """What a reply rests on, if it may be given again; `stamp` was the database's when the request came.

        None: something else follows from it, or it was decided by what may change without a commit.
        """
        database = self.doors.database
        if who.credential is None or who.how != "header" or who.algorithm != sigv4.ALGORITHM or database.shared:
            return None
        alone, reply = kept.alone, kept.reply
        if reply is None or alone is None or not alone.holds:  # Why not the first time: many are never asked for again
            return None
        body = reply.body
        if type(body) is not bytes or stamp < 0 or database.stamp != stamp:
            return None
        memory = memory_of(call)
        if any(memory.allowed(call, need) is None for need in operation.needs(call, asked)):
            return None
        return Basis(self, stamp, who.credential, alone, reply.written, body, call.segment)


def _places(lines: list[bytes], request: HttpRequest) -> dict[str, tuple[int, bytes]] | None:
    """Where each header is, and how its line begins, if the lines are just what the request was read from."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    if lines[0] != octets(f"{request.method} {target} HTTP/1.1") or len(lines) != len(request.headers.items) + 3:
        return None
    return places(lines, request.headers)


def _answer(request: HttpRequest, basis: Basis) -> _Answer:
    query = sigv4.canonical_query(request.query)
    first = f"{request.method}\n{sigv4.canonical_path(request.path, s3=True)}\n{query}\n"
    head = f"HTTP/1.1 200 OK\r\n{basis.written}".encode("utf-8", "surrogateescape")
    return _Answer(basis.alone, first.encode("utf-8", "surrogateescape"), head, basis.body, basis.segment)

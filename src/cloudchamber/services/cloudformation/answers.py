# SPDX-License-Identifier: Apache-2.0
"""Where the functions of custom resources send their answers: an address for each request, good for one answer.

As on AWS the address looks like a presigned one of S3. The signature in it is random; only its hash is kept.
Source: AWS CloudFormation User Guide, "Custom resource request and response reference".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from cloudchamber.base import ids
from cloudchamber.base.body import read_all
from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_map
from cloudchamber.wire.http import HttpReply
from cloudchamber.wire.route import host_of
from cloudchamber.wire.xml import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Reader, Tx
    from cloudchamber.wire.http import HttpRequest

ANSWER_MAX_BYTES = 4096
_READ_MAX_BYTES = 64 * 1024
_TOO_LONG = json.dumps({"TooLong": True})
"""Kept in place of an answer that is longer than answers may be."""
_log = logging.getLogger(__name__)


class _Front(Protocol):
    def answer(self, claims: Callable[[str], bool], inside: Any) -> None: ...


class _Events(Protocol):
    def tell(self, dropped: Callable[[bytes, str], None]) -> None: ...


class _Functions(Protocol):
    answers_at: str
    events: _Events


class NoAnswer(Exception):  # noqa: N818 - an outcome that the resource turns into its reason
    """None came in time, or none can come any more; the text says which."""


class Answers:
    """Makes addresses, answers them, and tells those who wait."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._waiting: dict[str, asyncio.Event] = {}
        self._dropped: dict[str, str] = {}

    def open(self) -> None:
        """Begin to take answers."""
        functions: _Functions | None = self._doors.parts.get("lambda")
        front: _Front | None = self._doors.parts.get("front")
        if functions is not None and front is not None:
            front.answer(self._claims, self)
            functions.events.tell(self._drop)

    @property
    def _at(self) -> str:
        functions: _Functions = self._doors.parts["lambda"]
        return functions.answers_at

    def _claims(self, host: str) -> bool:
        return bool(self._at) and host == urlsplit(self._at).hostname

    def _drop(self, payload: bytes, why: str) -> None:
        """Lambda has given an event up; it may be one of ours."""
        if b'"ResponseURL"' not in payload:
            return
        try:
            event = json.loads(payload)
        except ValueError:
            return
        request_id = event.get("RequestId") if is_map(event) else None
        if isinstance(request_id, str) and (waits := self._waiting.get(request_id)) is not None:
            self._dropped[request_id] = why
            waits.set()

    async def expect(self, stack_id: str, logical_id: str, kind: str, within_s: float) -> tuple[str, str]:
        """A new request id, and the address that takes the answer to it for a while.

        Raises:
            ValidationError: functions of this chamber could not reach the address.
        """
        if not self._at:
            raise ValidationError(
                "Custom resources need functions with a network of their own, and this chamber's sandbox mode is "
                f"{self._doors.sandboxes.mode}: 'cloudchamber doctor' says why"
            )
        request_id, secret = ids.request_id(), ids.token()
        now = self._doors.clock.now().timestamp()
        expires = now + within_s
        row = (request_id, stack_id, logical_id, kind, _hash(secret), expires)

        def publish(tx: Tx) -> None:
            tx.execute(
                "DELETE FROM cloudformation_answers WHERE expires < ? OR (stack_id = ? AND logical_id = ?)",
                (now, stack_id, logical_id),
            )
            tx.execute(
                "INSERT INTO cloudformation_answers (request_id, stack_id, logical_id, kind, secret, expires) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )

        await self._doors.database.write(publish)
        self._waiting[request_id] = asyncio.Event()
        path = quote(f"{stack_id}|{logical_id}|{request_id}", safe="")
        return request_id, f"{self._at}/{path}?{urlencode({'Expires': int(expires), 'Signature': secret})}"

    async def wait(self, request_id: str, within_s: float) -> dict[str, Any]:
        """The answer to a request, once it is there.

        It stays until the resource is asked for something else: an operation that ends here must find it again.

        Raises:
            NoAnswer: none came in time, or the function failed for good.
        """
        waits = self._waiting.setdefault(request_id, asyncio.Event())
        try:
            if self._read(request_id) is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        await waits.wait()
            text = self._read(request_id)
        finally:
            del self._waiting[request_id]
            dropped = self._dropped.pop(request_id, "")
        if text is None:
            await self.forget(request_id)
            raise NoAnswer(dropped)
        found = json.loads(text)
        return found if is_map(found) else {}

    def open_creation(self, stack_id: str, logical_id: str) -> str:
        """The request to create a resource, if that is the last that it was asked for."""

        def look(db: Reader) -> str:
            row = db.execute(
                "SELECT request_id FROM cloudformation_answers WHERE stack_id = ? AND logical_id = ? AND "
                "kind = 'Create' AND expires >= ? ORDER BY expires DESC LIMIT 1",
                (stack_id, logical_id, self._doors.clock.now().timestamp()),
            ).fetchone()
            return str(row[0]) if row else ""

        return self._doors.database.read(look)

    async def forget(self, request_id: str) -> None:
        """Take no answer to a request any more."""
        await self._doors.database.write(
            lambda tx: tx.execute("DELETE FROM cloudformation_answers WHERE request_id = ?", (request_id,)) and None
        )

    def _read(self, request_id: str) -> str | None:
        row = self._doors.database.read(
            lambda db: db.execute(
                "SELECT answer FROM cloudformation_answers WHERE request_id = ?", (request_id,)
            ).fetchone()
        )
        return str(row[0]) if row and row[0] else None

    # What comes by HTTP

    async def handle(self, request: HttpRequest, body: Body) -> HttpReply:
        """Take one answer; never raises, except when the client is gone."""
        if request.method != "PUT" or not self._claims(host_of(request)):
            return _refused("MethodNotAllowed", 405)
        request_id = unquote(request.path).rpartition("|")[2]
        try:
            signature = parse_qs(request.query).get("Signature", [""])[0]
        except ValueError:
            signature = ""
        found = self._doors.database.read(
            lambda db: db.execute(
                "SELECT secret, expires FROM cloudformation_answers WHERE request_id = ?", (request_id,)
            ).fetchone()
        )
        if found is None or not hmac.compare_digest(found["secret"], _hash(signature)):
            return _refused("AccessDenied", 403)
        if found["expires"] < self._doors.clock.now().timestamp():
            return _refused("AccessDenied", 403, "Request has expired")
        try:
            data = await read_all(body, _READ_MAX_BYTES)
        except OverflowError:
            return _refused("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
        return await self._take(request_id, data)

    async def _take(self, request_id: str, data: bytes) -> HttpReply:
        text = _TOO_LONG if len(data) > ANSWER_MAX_BYTES else _object(data)

        def keep(tx: Tx) -> bool:
            changed = tx.execute(
                "UPDATE cloudformation_answers SET answer = ? WHERE request_id = ? AND answer = ''", (text, request_id)
            )
            if changed.rowcount == 1:
                return True
            row = tx.execute("SELECT answer FROM cloudformation_answers WHERE request_id = ?", (request_id,)).fetchone()
            return row is not None and row[0] == text  # the same answer again: the client did not hear of the first

        if not await self._doors.database.write(keep):
            return _refused("AccessDenied", 403, "This request has been answered")
        if (waits := self._waiting.get(request_id)) is not None:
            waits.set()
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return HttpReply(200, [("ETag", f'"{etag}"')])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _object(data: bytes) -> str:
    """The answer as JSON text: an empty object if it is none."""
    try:
        found = json.loads(data)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        return "{}"
    return json.dumps(found) if is_map(found) else "{}"


def _refused(code: str, status: int, message: str = "Access Denied") -> HttpReply:
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return HttpReply(status, [("Content-Type", "application/xml")], text.encode())

# SPDX-License-Identifier: Apache-2.0
"""What answers below `/_cloudchamber/`: the console's pages and the small API of the command line.

Everything here needs the chamber's own token (kept 0600 in the state folder): in a header for programs, in a strict
cookie for the browser. Calls of services made through it are calls of the account's root, decided by IAM and tracked.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from cloudchamber.base.body import Held, read_all, read_reply
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError
from cloudchamber.console import accounts
from cloudchamber.console.asking import who_can
from cloudchamber.console.writing import written_policy
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.service import Scrubbing
from cloudchamber.front.incoming import BodyCut
from cloudchamber.track.story import story
from cloudchamber.track.track import Segment, Trace, segment_id
from cloudchamber.track.tree import COMMAND_LINE, background, decision_text, short, steps, title
from cloudchamber.wire.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Doors

PREFIX = "/_cloudchamber/"
COOKIE = "cloudchamber"
ASK_OCTETS_MAX = 512 * 1024 * 1024
REPLY_OCTETS_MAX = 64 * 1024 * 1024
TRACKS_MAX = 200
LOOKED_AT_MAX = 600
"""Tracks that one question looks through for those that it wants."""
ALIVE_S = 15.0
_log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SAFE = [
    ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


class Console:
    """The door below `/_`."""

    def __init__(self, doors: Doors, token: str, about: Mapping[str, Any]) -> None:
        self._doors = doors
        self._token = token
        self._about = about

    async def handle(self, request: HttpRequest, body: Body) -> HttpReply:
        """Answer one request below `/_`."""
        if request.peer not in ("127.0.0.1", "::1"):
            return _text(404, "not found")  # Why: what runs in a sandbox has no business here, token or not
        if request.path == "/_localstack/health":
            names = dict.fromkeys(sorted(self._doors.services), "available")
            return _json({"services": names, "edition": "cloudchamber", "version": self._about["version"]})
        if not request.path.startswith(PREFIX) or not _local(request):
            return _text(404, "not found")
        query = {k: v[-1] for k, v in parse_qs(request.query).items()}
        if "token" in query and self._right(query["token"]) and request.method == "GET":
            cookie = f"{COOKIE}={self._token}; Path={PREFIX}; HttpOnly; SameSite=Strict"
            return HttpReply(303, [("Location", request.path), ("Set-Cookie", cookie), *_SAFE])
        if not self._right(_bearer(request)) and not self._right(_cookie(request)):
            return _text(401, "open the address that 'cloudchamber status' prints: it carries this console's token")
        if request.method == "POST" and not self._right(_bearer(request)):
            return _text(403, "the browser may only look")
        try:
            return await self._answer(request, body, unquote(request.path[len(PREFIX) :]), query)
        except ServiceError as error:
            values = {"code": error.code, "message": error.message, **error.members}
            return _json({"error": values}, error.status)
        except BodyCut:
            raise
        except Exception:  # noqa: BLE001 - the edge: the person gets an answer, the log gets the story
            _log.exception("%s %s failed", request.method, request.path)
            return _json({"error": {"code": "InternalFailure", "message": "see 'cloudchamber logs'"}}, 500)

    async def _answer(self, request: HttpRequest, body: Body, path: str, query: Mapping[str, str]) -> HttpReply:
        recorder = self._doors.recorder
        match path.split("/"):
            case ["api", "status"]:
                return _json({**self._about, "parts": self._parts()})
            case ["api", "tracks"]:
                return _json(self._tracks(query))
            case ["api", "things"]:
                return _json(await self._things())
            case ["api", "tracks", track_id]:
                found = recorder.track(track_id)
                if not found and (asked := recorder.by_request(track_id)) is not None:
                    found = recorder.track(asked.track_id)  # Why: S3 tells a request id, and no track
                return _json(_track(found)) if found else _text(404, f"no track {track_id}")
            case ["api", "why", request_id]:
                segment = recorder.last_denied() if request_id == "last" else recorder.by_request(request_id)
                return _json(_told(segment)) if segment else _text(404, f"no request {request_id}")
            case ["api", "who-can"]:
                asked = query.get("action", ""), query.get("resource", "*")
                return _json(await who_can(self._doors, self._as_root, *asked))
            case ["api", "policy", *name]:
                return _json(await written_policy(self._doors, self._as_root, "/".join(name)))
            case ["api", "follow"]:
                headers = [("Content-Type", "text/event-stream"), *_SAFE]
                return HttpReply(200, headers, self._follow())
            case ["api", "ask"] if request.method == "POST":
                return await self._ask(body)
            case ["api", "accounts", *rest] if len(rest) < 2:
                given = body if request.method == "POST" else None
                return _json(await accounts.answer(self._doors.identities.accounts, "".join(rest), given))
            case ["api", "scrub"] if request.method == "POST":
                return HttpReply(200, [("Content-Type", "application/x-ndjson"), *_SAFE], self._scrub(query))
            case ["api", "quarantine"]:
                discard = request.method == "POST"
                return _json([one for part in self._scrubbing() for one in await part.put_aside(discard=discard)])
            case ["api", "objects", bucket, *key] if request.method == "POST":
                # Why not by `ask`: an archive of 100 MB as JSON would be in memory four times.
                stored = {"Bucket": bucket, "Key": "/".join(key), "Body": body}
                return _json(await self._as_root("s3", "PutObject", stored))
            case _:
                return _static(path or "index.html")

    def _parts(self) -> dict[str, list[Mapping[str, Any]]]:
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for name in self._doors.services:
            part = self._doors.parts.get(name)
            if part is not None:
                rows[name] = list(part.status())
        return rows

    def _scrubbing(self) -> list[Scrubbing]:
        return [part for part in self._doors.parts.values() if isinstance(part, Scrubbing)]

    async def _scrub(self, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """One JSON object a line; who stops to read stops the scrub."""
        asked = query.get("octets_per_s", "0")
        pace = float(asked) if asked.isascii() and asked.isdecimal() else 0.0
        for part in self._scrubbing():
            async with aclosing(cast("AsyncGenerator[Any, None]", part.scrub(query.get("bucket", ""), pace))) as told:
                async for one in told:
                    yield json.dumps(one, default=_plain).encode() + b"\n"

    def _tracks(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The latest tracks; without background ones unless `all` is given, only those that say `q`."""
        asked = query.get("limit", "50")
        limit = min(TRACKS_MAX, int(asked) if asked.isascii() and asked.isdigit() else 50)
        wanted = query.get("q", "").lower()[:200]
        found: list[dict[str, Any]] = []
        for segments in islice(self._doors.recorder.walk_back(), LOOKED_AT_MAX):
            if ("all" in query or not background(segments)) and (not wanted or wanted in _words(segments)):
                found.append(_summary(segments))
                if len(found) >= limit:
                    break
        return found

    async def _things(self) -> dict[str, list[str]]:
        """Names of what exists but does not run: buckets, functions, roles."""
        asked = (
            ("s3", "ListBuckets", "Buckets", "Name"),
            ("lambda", "ListFunctions", "Functions", "FunctionName"),
            ("iam", "ListRoles", "Roles", "RoleName"),
        )
        found: dict[str, list[str]] = {}
        for service, operation, members, name in asked:
            if service in self._doors.services:
                answer = await self._as_root(service, operation, {})
                found[members] = [one[name] for one in answer.get(members, [])]
        return found

    async def _follow(self) -> AsyncIterator[bytes]:
        """Server-sent events: a segment each, and now and then a comment, so that a reader that is gone is noticed."""
        yield b": follow\n\n"
        async with aclosing(cast("AsyncGenerator[Segment, None]", self._doors.recorder.follow())) as segments:
            upcoming = asyncio.ensure_future(anext(segments))
            try:
                while True:
                    done, _ = await asyncio.wait([upcoming], timeout=ALIVE_S)
                    if not done:
                        yield b": alive\n\n"
                        continue
                    told = _segment(upcoming.result())
                    upcoming = asyncio.ensure_future(anext(segments))
                    yield f"data: {json.dumps(told, default=_plain)}\n\n".encode()
            finally:
                upcoming.cancel()
                await asyncio.wait([upcoming])

    async def _ask(self, body: Body) -> HttpReply:
        """One call as root: `{"service", "operation", "request"}`; octets as `{"$octets": base64}`."""
        try:
            asked = json.loads(await read_all(body, ASK_OCTETS_MAX), object_hook=_octets)
            service, operation, request = asked["service"], asked["operation"], asked["request"]
        except (ValueError, KeyError, TypeError):
            return _json({"error": {"code": "BadRequest", "message": "not a question"}}, 400)
        except OverflowError as error:
            return _json({"error": {"code": "RequestEntityTooLarge", "message": str(error)}}, 413)
        if service == "s3" and isinstance(request.get("Body"), bytes):
            request["Body"] = Held(request["Body"])
        answer: dict[str, Any] = await self._as_root(service, operation, request) or {}
        for name in ("Body", "Payload"):
            if name in answer:
                answer = {**answer, name: await read_reply(answer[name], REPLY_OCTETS_MAX)}
        return _json(answer)

    async def _as_root(self, service: str, operation: str, request: Mapping[str, Any], account: str = "") -> Any:
        """A call of an account's root (the first one's), on a track that says that it came from here."""
        doors = self._doors
        account = account or doors.account
        root = Principal("root", account, f"arn:aws:iam::{account}:root", user_id=account)
        began = doors.clock.now().timestamp()
        trace = Trace.begin(int(began))
        segment = Segment(trace.track_id, segment_id(), "", COMMAND_LINE, f"{service} {operation}", began, status=200)
        try:
            return await doors.ask(service, operation, request, principal=root, trace=segment.trace())
        except ServiceError as error:
            segment.status = error.status
            raise
        finally:
            segment.ended = doors.clock.now().timestamp()
            doors.recorder.record(segment)

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _summary(segments: Sequence[Segment]) -> dict[str, Any]:
    failed = next((s for s in segments if s.error), None)
    return {
        "id": segments[0].track_id,
        "title": title(segments),
        "started": segments[0].started,
        "duration_ms": (max(s.ended for s in segments) - segments[0].started) * 1000,
        "steps": len(segments),
        "services": list(dict.fromkeys(s.service for s in segments)),
        "errors": sum(1 for s in segments if s.error),
        "error": f"{failed.service} {failed.name}: {failed.error}" if failed else "",
        "who": short(steps(segments)[0].segment.principal),
        "resource": short(steps(segments)[0].segment.resource),
    }


def _words(segments: Sequence[Segment]) -> str:
    """What a search looks through."""
    return "\n".join(
        f"{s.track_id} {s.service} {s.name} {s.principal} {s.resource} {s.error} {s.request_id}" for s in segments
    ).lower()


def _track(segments: Sequence[Segment]) -> dict[str, Any]:
    rows = [
        {**_segment(s.segment), "depth": s.depth, "offset_ms": s.offset_ms, "duration_ms": s.duration_ms}
        for s in steps(segments)
    ]
    return {**_summary(segments), "segments": rows}


def _segment(segment: Segment) -> dict[str, Any]:
    places = {"who": short(segment.principal), "what": short(segment.resource)}
    return {**asdict(segment), **places, "decided": [decision_text(d) for d in segment.decisions]}


def _told(segment: Segment) -> dict[str, Any]:
    return {**_segment(segment), "stories": [story(told) for told in segment.decisions]}


def _local(request: HttpRequest) -> bool:
    """Whether the Host is this machine's: a page elsewhere must not reach us by a name of its own."""
    host = urlsplit(f"//{request.headers.get('host')}").hostname or ""
    return host in ("127.0.0.1", "localhost", "::1")


def _bearer(request: HttpRequest) -> str:
    kind, _, value = request.headers.get("authorization").partition(" ")
    return value if kind == "Bearer" else ""


def _cookie(request: HttpRequest) -> str:
    for part in request.headers.get("cookie").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _octets(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$octets"]) if set(value) == {"$octets"} else value


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return {"$octets": base64.b64encode(value).decode()}
    return str(value)


def _json(value: object, status: int = 200) -> HttpReply:
    return HttpReply(status, [("Content-Type", "application/json"), *_SAFE], json.dumps(value, default=_plain).encode())


def _text(status: int, text: str) -> HttpReply:
    return HttpReply(status, [("Content-Type", "text/plain; charset=utf-8"), *_SAFE], text.encode() + b"\n")


def _static(name: str) -> HttpReply:
    path = _STATIC / name
    if "/" in name or path.suffix not in _KINDS or not path.is_file():
        return _text(404, "not found")
    return HttpReply(200, [("Content-Type", _KINDS[path.suffix]), *_SAFE], path.read_bytes())

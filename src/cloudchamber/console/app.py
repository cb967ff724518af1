# SPDX-License-Identifier: Apache-2.0
"""What answers below `/_cloudchamber/`: the console's pages and the small API of the command line.

Everything here needs the chamber's own token (kept 0600 in the state folder): in a header for programs, in a strict
cookie for the browser. Calls of services made through it are calls of the account's root, decided by IAM and tracked.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from cloudchamber.base.body import Held, read_all, read_reply
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import Principal
from cloudchamber.track.track import Trace
from cloudchamber.track.tree import decision_text, steps, title
from cloudchamber.wire.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Doors
    from cloudchamber.track.track import Segment

PREFIX = "/_cloudchamber/"
COOKIE = "cloudchamber"
ASK_OCTETS_MAX = 512 * 1024 * 1024
REPLY_OCTETS_MAX = 64 * 1024 * 1024
TRACKS_MAX = 200
_STATIC = Path(__file__).parent / "static"
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SAFE = [
    ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),
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

    async def _answer(self, request: HttpRequest, body: Body, path: str, query: Mapping[str, str]) -> HttpReply:
        recorder = self._doors.recorder
        match path.split("/"):
            case ["api", "status"]:
                return _json({**self._about, "parts": self._parts()})
            case ["api", "tracks"]:
                limit = min(TRACKS_MAX, int(query.get("limit", "50")) if query.get("limit", "50").isdigit() else 50)
                return _json([_summary(t) for t in recorder.recent(limit)])
            case ["api", "tracks", track_id]:
                found = recorder.track(track_id)
                return _json(_track(found)) if found else _text(404, f"no track {track_id}")
            case ["api", "why", request_id]:
                segment = recorder.by_request(request_id)
                return _json(_segment(segment)) if segment else _text(404, f"no request {request_id}")
            case ["api", "follow"]:
                headers = [("Content-Type", "text/event-stream"), *_SAFE]
                return HttpReply(200, headers, self._follow())
            case ["api", "ask"] if request.method == "POST":
                return await self._ask(body)
            case _:
                return _static(path or "index.html")

    def _parts(self) -> dict[str, list[Mapping[str, Any]]]:
        rows: dict[str, list[Mapping[str, Any]]] = {}
        for name in self._doors.services:
            part = self._doors.parts.get(name)
            if part is not None:
                rows[name] = list(part.status())
        return rows

    async def _follow(self) -> AsyncIterator[bytes]:
        yield b": follow\n\n"
        async for segment in self._doors.recorder.follow():
            yield f"data: {json.dumps(_segment(segment), default=_plain)}\n\n".encode()

    async def _ask(self, body: Body) -> HttpReply:
        """One call as root: `{"service", "operation", "request"}`; octets as `{"$octets": base64}`."""
        asked = json.loads(await read_all(body, ASK_OCTETS_MAX), object_hook=_octets)
        doors = self._doors
        root = Principal("root", doors.account, f"arn:aws:iam::{doors.account}:root", user_id=doors.account)
        request = asked["request"]
        if asked["service"] == "s3" and isinstance(request.get("Body"), bytes):
            request["Body"] = Held(request["Body"])
        trace = Trace.begin(int(doors.clock.now().timestamp()))
        answer = await doors.ask(asked["service"], asked["operation"], request, principal=root, trace=trace)
        for name in ("Body", "Payload"):
            if isinstance(answer, dict) and name in answer:
                answer = {**answer, name: await read_reply(answer[name], REPLY_OCTETS_MAX)}
        return _json(answer)

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _summary(segments: Sequence[Segment]) -> dict[str, Any]:
    return {
        "id": segments[0].track_id,
        "title": title(segments),
        "started": segments[0].started,
        "duration_ms": (max(s.ended for s in segments) - segments[0].started) * 1000,
        "steps": len(segments),
        "services": sorted({s.service for s in segments}),
        "errors": sum(1 for s in segments if s.error),
    }


def _track(segments: Sequence[Segment]) -> dict[str, Any]:
    rows = [
        {**_segment(s.segment), "depth": s.depth, "offset_ms": s.offset_ms, "duration_ms": s.duration_ms}
        for s in steps(segments)
    ]
    return {**_summary(segments), "segments": rows}


def _segment(segment: Segment) -> dict[str, Any]:
    return {**asdict(segment), "decided": [decision_text(d) for d in segment.decisions]}


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

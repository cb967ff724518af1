# SPDX-License-Identifier: Apache-2.0
"""Hands the trace header of a request on, so that one request can be followed through every service it reaches.

A load balancer puts `X-Amzn-Trace-Id` onto a request; X-Ray reads it from calls to AWS; sqlcommenter is the common way
to carry it into SQL. Sources: AWS X-Ray Developer Guide, tracing header; https://google.github.io/sqlcommenter/.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from sqlalchemy import Engine

_header: ContextVar[str] = ContextVar("trace header", default="")
_FORM = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;Parent=([0-9a-f]{16}))?")


class TraceMiddleware:
    """Remembers the header of the request that is being answered."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "http":
            value = dict(scope["headers"]).get(b"x-amzn-trace-id", b"").decode("latin-1")
            _header.set(value if _FORM.match(value) else "")
        await self._app(scope, receive, send)


def trace_client(client: Any) -> Any:
    """Send the header with every call of a boto3 client; returns the client."""
    client.meta.events.register("before-call", _add_header)
    return client


def _add_header(params: dict[str, Any], **_: Any) -> None:
    if _header.get():
        params["headers"]["X-Amzn-Trace-Id"] = _header.get()


def trace_engine(engine: Engine) -> None:
    """Put the trace into a comment behind every SQL statement of an engine."""
    event.listen(engine, "before_cursor_execute", _add_comment, retval=True)


def _add_comment(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    found = _FORM.match(_header.get())
    if found:
        parent = found[3] or "0" * 16
        statement = f"{statement} /*traceparent='00-{found[1]}{found[2]}-{parent}-01'*/"
    return statement, parameters

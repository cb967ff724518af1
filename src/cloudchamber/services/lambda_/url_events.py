# SPDX-License-Identifier: Apache-2.0
"""HTTP requests as events (payload format 2.0), and what functions return as HTTP replies. Pure.

Source: Lambda Developer Guide, "Invoking Lambda function URLs", request and response payloads.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cloudchamber.contract.identity import Principal
    from cloudchamber.wire.http import HttpRequest

_TEXT = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_NOT_PASSED = frozenset(("connection", "transfer-encoding", "keep-alive", "proxy-connection", "te", "upgrade"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def event(request: HttpRequest, body: bytes, caller: Principal | None, *, url_id: str, host: str, request_id: str,
          now: datetime) -> dict[str, Any]:  # fmt: skip
    """The event of one request; `caller` is None where the address asks for no signature."""
    path = "/" + unquote_plus(request.path.replace("+", "%2B")).lstrip("/")
    headers = _headers(request.headers.items)
    cookies = [part.strip() for line in request.headers.all("cookie") for part in line.split(";") if part.strip()]
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
    }
    if cookies:
        made["cookies"] = cookies
    if request.query:
        made["queryStringParameters"] = _parameters(request.query)
    context: dict[str, Any] = {
        "accountId": "anonymous",
        "apiId": url_id,
        "domainName": host,
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.peer,
            "userAgent": request.headers.get("user-agent"),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": f"{now:%d}/{_MONTHS[now.month - 1]}/{now:%Y:%H:%M:%S} +0000",
        "timeEpoch": int(now.timestamp() * 1000),
    }
    if caller is not None and caller.kind != "anonymous":
        context["accountId"] = caller.account
        context["authorizer"] = {"iam": _identity(caller)}
    made["requestContext"] = context
    if body:
        as_text = _is_text(request.headers.get("content-type"), body)
        made["body"] = body.decode() if as_text else base64.b64encode(body).decode()
        made["isBase64Encoded"] = not as_text
    else:
        made["isBase64Encoded"] = False
    return made


def _identity(caller: Principal) -> dict[str, Any]:
    return {
        "accessKey": caller.access_key_id,
        "accountId": caller.account,
        "callerId": caller.user_id,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": caller.arn,
        "userId": caller.user_id,
    }


def _headers(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case, several of one name in one; cookies stand by themselves."""
    found: dict[str, str] = {}
    for name, value in items:
        if name in ("cookie", "connection"):
            continue
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if part:
            name, value = unquote_plus(name), unquote_plus(value)
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _is_text(content_type: str, body: bytes) -> bool:
    kind = content_type.lower()
    if kind and not kind.startswith(_TEXT) and "charset" not in kind and not kind.partition(";")[0].endswith("+json"):
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Reply:
    """What a function answered, as HTTP."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class NoReplyError(ValueError):
    """What the function returned is no reply."""


def reply(payload: bytes) -> Reply:
    """The reply that a buffered answer means: a document with `statusCode`, or any other value as the body itself.

    Raises:
        NoReplyError: status, headers, cookies or body have the wrong type.
    """
    try:
        value: Any = json.loads(payload) if payload else None
    except ValueError:
        return Reply(200, [("Content-Type", "application/octet-stream")], payload)
    if not isinstance(value, dict) or "statusCode" not in value:
        if isinstance(value, str):
            return Reply(200, [("Content-Type", "application/json")], value.encode())
        again = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return Reply(200, [("Content-Type", "application/json")], again.encode("utf-8", "surrogatepass"))
    document = cast("dict[str, Any]", value)
    status, headers = head(document)
    body: Any = document.get("body", "")
    if body is None:
        body = ""
    if not isinstance(body, str):
        body = json.dumps(body)
    if document.get("isBase64Encoded"):
        try:
            data = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise NoReplyError("the body is not base64") from error
    else:
        data = body.encode("utf-8", "surrogatepass")
    return Reply(status, headers, data)


def head(value: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of a document with `statusCode`, `headers`, `cookies`.

    Raises:
        NoReplyError: one of them has the wrong type.
    """
    status = value.get("statusCode", 200)
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise NoReplyError("statusCode is no HTTP status")
    if not isinstance(value.get("headers") or {}, dict) or not isinstance(value.get("cookies") or [], list):
        raise NoReplyError("headers must be an object, cookies a list")
    given: dict[str, Any] = value.get("headers") or {}
    cookies: list[Any] = value.get("cookies") or []
    headers = [
        (str(name), _clean(text))
        for name, text in given.items()
        if str(name).lower() not in (*_NOT_PASSED, "content-length")
    ]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    for name, _ in headers:
        if not name or not all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in name):
            raise NoReplyError("a header's name is not valid")
    return status, [*headers, *(("Set-Cookie", _clean(cookie)) for cookie in cookies)]


def _clean(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(c for c in text if c.isprintable() and ord(c) < 256)


# -- CORS --------------------------------------------------------------------------------------------------------------


def cors_headers(cors: Mapping[str, Any], origin: str) -> list[tuple[str, str]]:
    """Headers that let a page of this origin read the reply; none if it may not."""
    if not cors or not origin or not allows(cors.get("AllowOrigins", ()), origin):
        return []
    anyone = "*" in cors.get("AllowOrigins", ()) and not cors.get("AllowCredentials")
    made = [("Access-Control-Allow-Origin", "*" if anyone else origin)]
    if not anyone:
        made.append(("Vary", "Origin"))
    if cors.get("AllowCredentials"):
        made.append(("Access-Control-Allow-Credentials", "true"))
    if cors.get("ExposeHeaders"):
        made.append(("Access-Control-Expose-Headers", ",".join(cors["ExposeHeaders"])))
    return made


def preflight(cors: Mapping[str, Any], origin: str, method: str) -> list[tuple[str, str]]:
    """Headers that answer a browser's question before it sends the request; none if it may not send it."""
    made = cors_headers(cors, origin)
    methods = cors.get("AllowMethods", ())
    if not made or not allows(methods, method):
        return []
    made.append(("Access-Control-Allow-Methods", ",".join(methods)))
    if cors.get("AllowHeaders"):
        made.append(("Access-Control-Allow-Headers", ",".join(cors["AllowHeaders"])))
    if cors.get("MaxAge"):
        made.append(("Access-Control-Max-Age", str(cors["MaxAge"])))
    return made


def allows(patterns: Sequence[str], text: str) -> bool:
    """Whether a list of origins or methods, in which ``*`` stands for any, has this one."""
    return any(p == "*" or p.lower() == text.lower() or _fits(p.lower(), text.lower()) for p in patterns)


def _fits(pattern: str, text: str) -> bool:
    before, star, after = pattern.partition("*")
    return bool(star) and len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)

# SPDX-License-Identifier: Apache-2.0
"""Cross-origin resource sharing: its configuration, the answer to preflights, and headers of answers to browsers.

Source: Amazon S3 User Guide, "Using cross-origin resource sharing (CORS)"; Fetch Standard, "CORS protocol".
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, settings, tables
from cloudchamber.services.s3.errors import (
    BadRequest,
    CorsForbidden,
    InvalidRequest,
    MalformedXML,
    NoSuchCORSConfiguration,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.wire.http import HttpRequest

    Request = Mapping[str, Any]
    Rule = Mapping[str, Any]

RULES_MAX = 100
ID_MAX = 255
_METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_REFUSED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)


@operation("PutBucketCors", needs=needs.on_bucket("s3:PutBucketCORS"))
async def put_bucket_cors(call: Call, request: Request) -> dict[str, Any]:
    """Set the rules; in force for the next call. Source: Amazon S3 API Reference, PutBucketCors."""
    bucket = checks.bucket(call, request)
    rules: list[Rule] = request["CORSConfiguration"].get("CORSRules", [])
    if not 1 <= len(rules) <= RULES_MAX:
        raise MalformedXML()
    for rule in rules:
        _check(rule)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "cors", rules))
    return {}


def _check(rule: Rule) -> None:
    methods, origins = rule.get("AllowedMethods") or (), rule.get("AllowedOrigins") or ()
    if not methods or not origins or len(rule.get("ID", "")) > ID_MAX:
        raise MalformedXML()
    for method in methods:
        if method not in _METHODS:
            raise InvalidRequest(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
    for name, member in (("AllowedOrigin", origins), ("AllowedHeader", rule.get("AllowedHeaders") or ())):
        for value in member:
            if value.count("*") > 1:
                raise InvalidRequest(f'{name} "{value}" can not have more than one wildcard.')
    for value in rule.get("ExposeHeaders") or ():
        if "*" in value:
            raise InvalidRequest(f'ExposeHeader "{value}" contains wildcard. We currently do not support wildcard '
                                 "for ExposeHeader.")  # fmt: skip


@operation("GetBucketCors", needs=needs.on_bucket("s3:GetBucketCORS"))
async def get_bucket_cors(call: Call, request: Request) -> dict[str, Any]:
    """The rules as they were put. Source: Amazon S3 API Reference, GetBucketCors."""
    bucket = checks.bucket(call, request)
    rules = settings.get(call, bucket.name, "cors")
    if rules is None:
        raise NoSuchCORSConfiguration(BucketName=bucket.name)
    return {"CORSRules": rules}


@operation("DeleteBucketCors", needs=needs.on_bucket("s3:PutBucketCORS"))
async def delete_bucket_cors(call: Call, request: Request) -> dict[str, Any]:
    """Remove the rules. Source: Amazon S3 API Reference, DeleteBucketCors."""
    bucket = checks.bucket(call, request)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "cors", None))
    return {}


# Browsers ------------------------------------------------------------------------------------------------------------


def preflight(doors: Doors, request: HttpRequest, bucket: str, key: str) -> list[tuple[str, str]]:
    """Headers of the answer to an ``OPTIONS`` request, which nobody signs.

    Raises:
        BadRequest: it is no preflight. CorsForbidden: no rule of the bucket lets it.
    """
    origin = request.headers.get("origin")
    if not origin:
        raise BadRequest("Insufficient information. Origin request header needed.", headers={"Connection": "close"})
    method = request.headers.get("access-control-request-method")
    kind = "OBJECT" if key else "BUCKET"
    verb = method or "OPTIONS"
    known, rules = _rules(doors, bucket)
    if not known:
        raise CorsForbidden("CORSResponse: Bucket not found", Method=verb, ResourceType="BUCKET")
    if not rules:
        text = "CORSResponse: CORS is not enabled for this bucket."
        raise CorsForbidden(text, Method=verb, ResourceType="BUCKET")
    if not method:
        raise BadRequest("Invalid Access-Control-Request-Method: null")
    wanted = _listed(request.headers.get("access-control-request-headers"))
    found = _matching(rules, origin, method, wanted)
    if found is None:
        raise CorsForbidden(_REFUSED, Method=verb, ResourceType=kind)
    return _headers(found, origin, wanted)


def cross_origin(doors: Doors, request: HttpRequest, bucket: str) -> list[tuple[str, str]]:
    """Headers that let a page of another origin read an answer; none where no rule does."""
    origin = request.headers.get("origin")
    rules = _rules(doors, bucket)[1]
    if not rules:
        return []
    method = request.headers.get("access-control-request-method") or request.method
    wanted = _listed(request.headers.get("access-control-request-headers"))
    found = _matching(rules, origin, method, wanted)
    return [] if found is None else _headers(found, origin, wanted)


def _rules(doors: Doors, bucket: str) -> tuple[bool, Sequence[Rule]]:
    """Whether there is such a bucket, and its rules."""
    known = doors.database.peek(lambda db: tables.find_bucket(db, bucket)) is not None
    text = doors.database.peek(lambda db: settings.text(db, bucket, "cors")) if known else None
    return known, _parsed(text) if text else ()


@lru_cache(256)
def _parsed(text: str) -> Sequence[Rule]:
    return json.loads(text)


def _listed(text: str) -> list[str]:
    return [part.strip().lower() for part in text.split(",") if part.strip()]


def _fits(pattern: str, value: str) -> bool:
    first, star, last = pattern.partition("*")
    if not star:
        return pattern == value
    return len(value) >= len(first) + len(last) and value.startswith(first) and value.endswith(last)


def _matching(rules: Sequence[Rule], origin: str, method: str, wanted: list[str]) -> Rule | None:
    for rule in rules:
        if method not in rule["AllowedMethods"] or not any(_fits(one, origin) for one in rule["AllowedOrigins"]):
            continue
        allowed = [one.lower() for one in rule.get("AllowedHeaders") or ()]
        if all(any(_fits(one, name) for one in allowed) for name in wanted):
            return rule
    return None


def _headers(rule: Rule, origin: str, wanted: list[str]) -> list[tuple[str, str]]:
    anybody = "*" in rule["AllowedOrigins"]
    headers = [
        ("Access-Control-Allow-Origin", "*" if anybody else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])),
    ]
    if wanted:
        headers.append(("Access-Control-Allow-Headers", ", ".join(wanted)))
    if rule.get("ExposeHeaders"):
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule["ExposeHeaders"])))
    if "MaxAgeSeconds" in rule:
        headers.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    if not anybody:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return [*headers, _VARY]

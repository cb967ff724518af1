# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber invoke` and `cloudchamber watch`: real events for functions, and code that is live as it is written."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from cloudchamber import packaging
from cloudchamber.base import ids
from cloudchamber.base.clock import SystemClock, iso
from cloudchamber.base.errors import ChamberError
from cloudchamber.client import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cloudchamber.client import Client

KINDS = ("s3:put", "s3:delete", "url", "schedule")
_WATCH_S = 0.2
_FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")


@dataclass(frozen=True, slots=True)
class Run:
    """How one invocation ended; `error` is empty for success."""

    payload: str
    error: str
    version: str
    log: str


def event(client: Client, kind: str, options: Mapping[str, str]) -> dict[str, Any]:
    """An event as the service itself would write it: `s3:put` of an object that is there, with its size and ETag.

    Raises:
        ChamberError: an option is missing, or the object is not there.
    """
    if kind.startswith("s3:"):
        return _s3(client, kind, options)
    if kind == "url":
        return _url(client, options)
    now = iso(SystemClock().now())[:19] + "Z"
    account, region = client.about["account"], client.about["region"]
    return {
        "version": "0",
        "id": ids.request_id(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": now,
        "region": region,
        "resources": [f"arn:aws:events:{region}:{account}:rule/{options.get('rule') or 'invoke'}"],
        "detail": {},
    }


def _s3(client: Client, kind: str, options: Mapping[str, str]) -> dict[str, Any]:
    bucket, key = options.get("bucket", ""), options.get("key", "")
    if not bucket or not key:
        raise ChamberError(f"the event {kind} needs --bucket and --key")
    described: dict[str, Any] = {}
    if kind == "s3:put":
        try:
            found = client.ask("s3", "HeadObject", Bucket=bucket, Key=key)
        except Refused as error:
            raise ChamberError(
                f"there is no object {key!r} in the bucket {bucket!r} ({error.code})",
                "the event describes a real object: put it first, or name another",
            ) from error
        described = {"size": found["ContentLength"], "eTag": str(found["ETag"]).strip('"')}
        if found.get("VersionId", "null") != "null":
            described["versionId"] = found["VersionId"]
    owner = client.ask("s3", "ListBuckets")["Owner"]["ID"]
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": client.about["region"],
        "eventTime": iso(SystemClock().now()),
        "eventName": "ObjectCreated:Put" if kind == "s3:put" else "ObjectRemoved:Delete",
        "userIdentity": {"principalId": f"AWS:{client.about['account']}"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": ids.hex_token(8).upper(), "x-amz-id-2": ids.token(24)},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "cloudchamber-invoke",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": owner}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {"key": quote_plus(key, safe="/"), **described, "sequencer": ids.hex_token(9).upper()},
        },
    }
    return {"Records": [record]}


def _url(client: Client, options: Mapping[str, str]) -> dict[str, Any]:
    path, _, query = options.get("path", "/").partition("?")
    method, now = options.get("method", "GET").upper(), SystemClock().now()
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "localhost", "user-agent": "cloudchamber-invoke"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "invoke",
            "domainName": "localhost",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "cloudchamber-invoke",
            },
            "requestId": ids.request_id(),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if query:
        made["queryStringParameters"] = {
            name: value for name, _, value in (part.partition("=") for part in query.split("&"))
        }
    if options.get("body"):
        made["body"] = options["body"]
    return made


def invoke(client: Client, name: str, payload: bytes, *, qualifier: str = "", asynchronous: bool = False) -> Run:
    """Run a function as the account's root.

    Raises:
        Refused: Lambda's error.
    """
    more = {"Qualifier": qualifier} if qualifier else {}
    kind = "Event" if asynchronous else "RequestResponse"
    answer = client.ask(
        "lambda", "Invoke", FunctionName=name, Payload=payload, InvocationType=kind, LogType="Tail", **more
    )
    given = answer.get("Payload") or b""
    text = given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
    log = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")
    return Run(text, str(answer.get("FunctionError", "")), str(answer.get("ExecutedVersion", "")), log)


# -- code as it is written ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watched:
    """One function of a stack, and the local code that it is made of."""

    logical_id: str
    function: str
    path: Path
    python: str = ""


def watched(client: Client, template: Path, stack: str) -> list[Watched]:
    """The functions of a deployed template whose code lies beside it.

    Raises:
        ChamberError: the stack is not deployed, or has no such function.
    """
    try:
        listed = client.ask("cloudformation", "ListStackResources", StackName=stack)["StackResourceSummaries"]
    except Refused as error:
        raise ChamberError(f"there is no stack {stack}: {error.message}", "'cloudchamber up' deploys it") from error
    physical = {row["LogicalResourceId"]: str(row.get("PhysicalResourceId", "")) for row in listed}
    found = [
        Watched(ref.resource, physical[ref.resource], ref.path, ref.python)
        for ref in packaging.references(template)
        if ref.kind in _FUNCTIONS and physical.get(ref.resource)
    ]
    if not found:
        raise ChamberError(f"{template} has no function with local code that is deployed in {stack}")
    return found


def stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file of a folder changes: names, sizes and times."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    seen: list[tuple[str, int, int]] = []
    for file in files:
        if "__pycache__" in file.parts:
            continue
        try:
            about = file.stat()
        except OSError:
            continue  # it went while we looked
        seen.append((str(file), about.st_size, about.st_mtime_ns))
    return tuple(seen)


def changes(found: list[Watched]) -> Iterator[Watched]:
    """Functions whose code changed on disk since this was called, one after the other, for ever."""
    return _changed({each: stamp(each.path) for each in found})


def _changed(known: dict[Watched, object]) -> Iterator[Watched]:
    found = list(known)
    while True:
        time.sleep(_WATCH_S)
        for each in found:
            now = stamp(each.path)
            if now != known[each]:
                known[each] = now
                yield each


def bring(client: Client, each: Watched, tell: Callable[[str], None]) -> None:
    """Build a function's code and put it in place: the next invocation runs it.

    Raises:
        ChamberError: it cannot be built.
        Refused: Lambda's or S3's error.
    """
    made = packaging.archive(each.path, client.state / "cache", tell, each.python)
    bucket = f"cloudchamber-assets-{client.about['account']}-{client.about['region']}"
    key = f"code/{made.name}"
    client.put_object(bucket, key, made)
    client.ask("lambda", "UpdateFunctionCode", FunctionName=each.function, S3Bucket=bucket, S3Key=key)


def read_payload(text: str) -> bytes:
    """A payload from the command line: JSON, or ``@file``.

    Raises:
        ChamberError: it is not JSON.
    """
    from pathlib import Path

    try:
        data = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        json.loads(data or b"{}")
    except OSError as error:
        raise ChamberError(f"cannot read {text[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise ChamberError(f"the payload is not JSON: {error}", "for example --payload '{\"a\": 1}'") from error
    return data or b"{}"

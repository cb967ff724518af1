# SPDX-License-Identifier: Apache-2.0
"""The instance metadata service, version 2. Who asks is known by the socket: each instance has a listener of its own.

Source: Amazon EC2 User Guide, Instance metadata and user data (categories, IMDSv2, responses and error messages).
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.services.ec2 import disks, metadata, names, nets, tables, views
from cloudchamber.services.ec2.identity import Signer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors

_log = logging.getLogger(__name__)
_HEAD_MAX = 16 * 1024
_IDLE_S = 60.0
_TOKENS_MAX = 500
_CONNECTIONS_MAX = 64
_TTL_MAX_S = 21600
_RENEW_BEFORE_S = 1200
_VERSIONS = (
    "latest",
    "1.0",
    "2009-04-04",
    "2016-09-02",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2022-09-24",
    "2024-04-11",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply of the service."""

    status: int
    body: bytes = b""
    kind: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


class Imds:
    """Answers every instance on its own listener."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._tokens: dict[str, dict[str, float]] = {}
        self._credentials: dict[tuple[str, str], dict[str, Any]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._signer = Signer(doors.folder / "ec2" / "identity", doors.clock)

    async def serve(self, listener: socket.socket, instance_id: str) -> asyncio.Server:
        """Answer on a listening socket of one instance."""

        opened = 0

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            try:
                while opened <= _CONNECTIONS_MAX and await self._exchange(reader, writer, instance_id):
                    pass
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError, ValueError):
                pass
            finally:
                opened -= 1
                writer.close()

        return await asyncio.start_server(connection, sock=listener, limit=_HEAD_MAX)

    def forget(self, instance_id: str) -> None:
        """Drop what is kept for an instance that is gone."""
        self._tokens.pop(instance_id, None)
        self._locks.pop(instance_id, None)
        self._credentials = {k: v for k, v in self._credentials.items() if k[0] != instance_id}

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, instance_id: str) -> bool:
        async with asyncio.timeout(_IDLE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
        given = headers.get("content-length") or "0"
        length = int(given) if given.isascii() and given.isdigit() and len(given) < 8 else _HEAD_MAX + 1
        known = len(words) == 3 and words[2].startswith("HTTP/1.") and "transfer-encoding" not in headers
        if not known or length > _HEAD_MAX:
            _write(writer, "GET", _error(400), keep=False)
            await writer.drain()
            return False
        method, target, _ = words
        await reader.readexactly(length)
        answer = await self._answer(instance_id, method, target, headers)
        keep = headers.get("connection", "").lower() != "close"
        _write(writer, method, answer, keep=keep)
        await writer.drain()
        return keep

    async def _answer(self, instance_id: str, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        path = unquote(target.partition("?")[0])
        if row is None or row.http_endpoint == "disabled":
            return _error(403)
        if method == "PUT":
            return self._token(row, path, headers)
        if path.rstrip("/") == "/latest/api/token":
            return _error(405, headers=(("Allow", "OPTIONS, PUT"),))
        if method not in ("GET", "HEAD"):
            return _error(405, headers=(("Allow", "OPTIONS, GET, HEAD, PUT"),))
        given = headers.get("x-aws-ec2-metadata-token")
        if given is None and row.http_tokens == "required":
            return _error(401)
        if given is not None and self._tokens.get(row.id, {}).get(given, 0.0) < self._doors.clock.monotonic():
            return _error(401)
        return await self._look(row, path)

    def _token(self, row: tables.Instance, path: str, headers: Mapping[str, str]) -> Answer:
        if path.rstrip("/") != "/latest/api/token":
            return _error(405 if path.startswith("/latest") else 404)
        if "x-forwarded-for" in headers:
            return _error(403)
        text = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not text.isdigit() or not 1 <= int(text) <= _TTL_MAX_S:
            return _error(400)
        token = ids.token(40)
        now = self._doors.clock.monotonic()
        tokens = self._tokens.setdefault(row.id, {})
        if len(tokens) >= _TOKENS_MAX:
            del tokens[min(tokens, key=tokens.__getitem__)]
        tokens[token] = now + int(text)
        return Answer(200, token.encode(), headers=(("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", text),))

    async def _look(self, row: tables.Instance, path: str) -> Answer:
        steps = [step for step in path.split("/") if step]
        if not steps:
            return Answer(200, "\n".join(_VERSIONS).encode())
        if steps[0] not in _VERSIONS:
            return _error(404)
        steps = steps[1:]
        if steps[:3] == ["meta-data", "iam", "security-credentials"] and len(steps) == 4:
            return await self._role_credentials(row, steps[3])
        found: Any = self._tree(row)
        for step in steps:
            found = cast("dict[str, Any]", found).get(step) if isinstance(found, dict) else None
            if found is None:
                return _error(404)
        if callable(found):
            found = await asyncio.to_thread(found)
        if isinstance(found, dict):
            return Answer(200, metadata.listing(cast("dict[str, Any]", found)).encode())
        if isinstance(found, bytes):
            return Answer(200, found, "application/octet-stream")
        return Answer(200, str(found).encode(), "application/json" if str(found).startswith("{") else "text/plain")

    def _role(self, row: tables.Instance) -> str:
        """ARN of the role in the instance's profile, as it is now; empty for none."""
        if not row.profile_arn:
            return ""
        roles = self._doors.identities.profile_roles(row.account, row.profile_arn)
        return roles[0] if roles else ""

    async def _role_credentials(self, row: tables.Instance, name: str) -> Answer:
        role = self._role(row)
        if not role or role.rsplit("/", 1)[-1] != name:
            return _error(404)
        async with self._locks.setdefault(row.id, asyncio.Lock()):
            body = self._credentials.get((row.id, role))
            if body is None or body["renew_at"] <= self._doors.clock.now().timestamp():
                body = await self._assume(row, role)
                self._credentials = {k: v for k, v in self._credentials.items() if k[0] != row.id}
                self._credentials[row.id, role] = body
        shown = {k: v for k, v in body.items() if k != "renew_at"}
        return Answer(200, json.dumps(shown, indent=2).encode(), "text/plain")

    async def _assume(self, row: tables.Instance, role: str) -> dict[str, Any]:
        now = self._doors.clock.now()
        stamp = "%Y-%m-%dT%H:%M:%SZ"
        who = service_principal("ec2.amazonaws.com", row.account, row.arn)
        try:
            answer = await self._doors.ask(
                "sts",
                "AssumeRole",
                {"RoleArn": role, "RoleSessionName": row.id, "DurationSeconds": 3600},
                principal=replace(who, extra=_of_session(row)),
                region=row.region,
            )
        except ServiceError as error:
            _log.warning("%s may not assume %s: %s", row.id, role, error.message)
            return {
                "Code": "AssumeRoleUnauthorizedAccess",
                "Message": f"EC2 cannot assume the role {role.rsplit('/', 1)[-1]}. Please see documentation at "
                "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc.",
                "LastUpdated": now.strftime(stamp),
                "renew_at": now.timestamp() + 5,
            }
        keys = answer["Credentials"]
        return {
            "Code": "Success",
            "LastUpdated": now.strftime(stamp),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime(stamp),
            "renew_at": keys["Expiration"].timestamp() - _RENEW_BEFORE_S,
        }

    def _tree(self, row: tables.Instance) -> dict[str, Any]:
        def look(db: tables.Reader) -> metadata.Facts:
            found = [tables.group(db, one) for one in row.groups]
            vpc = nets.find(db, nets.Vpc, row.vpc_id)
            return metadata.Facts(
                tuple(one.name for one in found if one is not None),
                views.public(row, views.region(db, row.account, row.region, 0.0)),
                nets.find(db, nets.Subnet, row.subnet_id),
                vpc.cidr if vpc is not None else "",
                tables.tags(db, row.id),
                tuple(volume.device for volume in disks.of_instance(db, row.id)),
            )

        facts = self._doors.database.read(look)
        role = self._role(row)
        return metadata.tree(row, facts, role.rsplit("/", 1)[-1], self._doors.clock.now(), self._signer)


def _error(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    phrase = HTTPStatus(status).phrase
    page = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" '
        'lang="en">\n'
        f" <head>\n  <title>{status} - {phrase}</title>\n </head>\n <body>\n  <h1>{status} - {phrase}</h1>\n "
        f"</body>\n</html>\n"
    )
    return Answer(status, page.encode(), "text/html", headers)


def _write(writer: asyncio.StreamWriter, method: str, answer: Answer, *, keep: bool) -> None:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.body)}",
        "Server: EC2ws",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if method == "HEAD" else answer.body))


def _of_session(row: tables.Instance) -> dict[str, tuple[str, ...]]:
    """Condition keys that an instance's credentials carry, wherever they are used.

    Source: IAM User Guide, "AWS global condition context keys", `aws:Ec2InstanceSourceVpc`; Service Authorization
    Reference, Amazon EC2, `ec2:SourceInstanceARN`.
    """
    return {
        "ec2:SourceInstanceARN": (row.arn,),
        "aws:Ec2InstanceSourceVpc": (row.vpc_id or names.vpc_id(row.account, row.region),),
        "aws:Ec2InstanceSourcePrivateIPv4": (row.private_ip,),
    }

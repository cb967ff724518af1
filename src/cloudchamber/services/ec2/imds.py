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
from cloudchamber.services.ec2 import catalog, names, nets, tables, views

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
        method, target, _ = lines[0].split(" ", 2)
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
        length = int(headers.get("content-length") or 0)
        if length > _HEAD_MAX or "transfer-encoding" in headers:
            return False
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
        if isinstance(found, dict):
            return Answer(200, _listing(cast("dict[str, Any]", found)).encode())
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
        def look(db: tables.Reader) -> tuple[dict[str, Any], dict[str, str]]:
            found = [tables.group(db, one) for one in row.groups]
            groups = [one.name for one in found if one is not None]
            outside = views.public(row, views.region(db, row.account, row.region, 0.0))
            subnet, vpc = nets.find(db, nets.Subnet, row.subnet_id), nets.find(db, nets.Vpc, row.vpc_id)
            cidr = vpc.cidr if vpc is not None else ""
            return _meta_data(row, groups, outside, subnet, cidr), tables.tags(db, row.id)

        meta, tags = self._doors.database.read(look)
        tree: dict[str, Any] = {
            "dynamic": {"instance-identity": {"document": _document(row)}},
            "meta-data": meta,
        }
        if row.user_data:
            tree["user-data"] = row.user_data
        role = self._role(row)
        if row.profile_arn:
            info = {
                "Code": "Success",
                "LastUpdated": self._doors.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                "InstanceProfileArn": row.profile_arn,
                "InstanceProfileId": row.profile_id,
            }
            iam: dict[str, Any] = {"info": json.dumps(info, indent=2)}
            if role:
                iam["security-credentials"] = {role.rsplit("/", 1)[-1]: ""}
            meta["iam"] = iam
        if row.public_key:
            meta["public-keys"] = PublicKeys({"0": {"openssh-key": row.public_key}}, row.key_name)
        if row.metadata_tags == "enabled":
            meta["tags"] = {"instance": tags}
        return tree


class PublicKeys(dict[str, Any]):
    """`public-keys`, which is listed with the name of each key: ``0=my-key``."""

    def __init__(self, keys: Mapping[str, Any], name: str) -> None:
        super().__init__(keys)
        self.name = name


def _meta_data(
    row: tables.Instance, groups: list[str], outside: views.Public | None, subnet: nets.Subnet | None, vpc_cidr: str
) -> dict[str, Any]:
    dns, mac = names.private_dns(row.private_ip, row.region), names.mac(row.private_ip)
    interface: dict[str, Any] = {
        "device-number": "0",
        "interface-id": row.eni_id,
        "local-hostname": dns,
        "local-ipv4s": row.private_ip,
        "mac": mac,
        "owner-id": row.account,
        "security-group-ids": "\n".join(row.groups),
        "security-groups": "\n".join(groups),
        "subnet-id": row.subnet_id,
        "subnet-ipv4-cidr-block": subnet.cidr if subnet else "",
        "vpc-id": row.vpc_id,
        "vpc-ipv4-cidr-block": vpc_cidr,
        "vpc-ipv4-cidr-blocks": vpc_cidr,
    }
    public: dict[str, Any] = {}
    if outside is not None:
        interface["ipv4-associations"] = {outside.address: row.private_ip}
        interface["public-ipv4s"] = public["public-ipv4"] = outside.address
        if outside.name:
            interface["public-hostname"] = public["public-hostname"] = outside.name
    return {
        **public,
        "ami-id": row.image_id,
        "ami-launch-index": str(row.launch_index),
        "ami-manifest-path": "(unknown)",
        "hostname": dns,
        "instance-action": "none",
        "instance-id": row.id,
        "instance-life-cycle": "on-demand",
        "instance-type": row.type,
        "local-hostname": dns,
        "local-ipv4": row.private_ip,
        "mac": mac,
        "network": {"interfaces": {"macs": {mac: interface}}},
        "placement": {
            "availability-zone": row.zone,
            "availability-zone-id": subnet.zone_id if subnet else "",
            "region": row.region,
        },
        "profile": "default-hvm",
        "reservation-id": row.reservation_id,
        "security-groups": "\n".join(groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }


def _document(row: tables.Instance) -> str:
    document = {
        "accountId": row.account,
        "architecture": catalog.TYPES[row.type].architecture,
        "availabilityZone": row.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": row.image_id,
        "instanceId": row.id,
        "instanceType": row.type,
        "kernelId": None,
        "pendingTime": tables.moment(row.started_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "privateIp": row.private_ip,
        "ramdiskId": None,
        "region": row.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def _listing(tree: Mapping[str, Any]) -> str:
    if isinstance(tree, PublicKeys):
        return "\n".join(f"{number}={tree.name}" for number in tree)
    return "\n".join(f"{name}/" if isinstance(value, dict) else name for name, value in tree.items())


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

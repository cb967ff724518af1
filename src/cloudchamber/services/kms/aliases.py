# SPDX-License-Identifier: Apache-2.0
"""Aliases: names of keys. Source: AWS KMS Developer Guide, "Aliases in AWS KMS"."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.kms import needs, tables
from cloudchamber.services.kms.errors import (
    AlreadyExistsException,
    InvalidAliasNameException,
    NotFoundException,
    ValidationException,
)
from cloudchamber.services.kms.keys import key_of, own_key
from cloudchamber.services.kms.tables import Alias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

_NAME = re.compile(r"alias/[a-zA-Z0-9/_-]{1,250}")


def _name(request: Request) -> str:
    name = request["AliasName"]
    if not name.startswith("alias/"):
        raise ValidationException("Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/"
                                  "kms/latest/developerguide/kms-alias.html")  # fmt: skip
    if not _NAME.fullmatch(name) or name.startswith("alias/aws/"):
        raise InvalidAliasNameException(f"{name} is not a valid alias name")
    return name


@operation("CreateAlias", needs=needs.on_alias("CreateAlias", target=True))
async def create_alias(call: Call, request: Request) -> dict[str, Any]:
    """Name a key. Source: AWS Key Management Service API Reference, CreateAlias."""
    name = _name(request)
    key = own_key(call, request["TargetKeyId"])
    now = call.now.timestamp()

    def change(tx: Any) -> None:
        if tables.alias(tx, call.account, call.region, name) is not None:
            raise AlreadyExistsException(f"An alias with the name {_arn(call, name)} already exists")
        tables.put_alias(tx, Alias(call.account, call.region, name, key.id, now, now))

    await call.doors.database.write(change)
    return {}


def _arn(call: Call, name: str) -> Arn:
    return Arn("kms", call.region, call.account, name)


@operation("UpdateAlias", needs=needs.on_alias("UpdateAlias", target=True))
async def update_alias(call: Call, request: Request) -> dict[str, Any]:
    """Let a name mean another key. Source: AWS Key Management Service API Reference, UpdateAlias."""
    name = _name(request)
    key = own_key(call, request["TargetKeyId"])

    def change(tx: Any) -> None:
        old = tables.alias(tx, call.account, call.region, name)
        if old is None:
            raise NotFoundException(f"Alias {_arn(call, name)} is not found.")
        made = Alias(call.account, call.region, name, key.id, old.created, call.now.timestamp())
        tables.put_alias(tx, made)

    await call.doors.database.write(change)
    return {}


@operation("DeleteAlias", needs=needs.on_alias("DeleteAlias", target=False))
async def delete_alias(call: Call, request: Request) -> dict[str, Any]:
    """Forget a name. Source: AWS Key Management Service API Reference, DeleteAlias."""
    name = _name(request)

    def change(tx: Any) -> None:
        if not tables.remove_alias(tx, call.account, call.region, name):
            raise NotFoundException(f"Alias {_arn(call, name)} is not found.")

    await call.doors.database.write(change)
    return {}


@operation("ListAliases", needs=needs.anywhere("ListAliases"))
async def list_aliases(call: Call, request: Request) -> dict[str, Any]:
    """Aliases of the account, or of one key. Source: AWS Key Management Service API Reference, ListAliases."""
    key = key_of(call, request["KeyId"]).id if request.get("KeyId") else ""
    limit, after = int(request.get("Limit", 50)), request.get("Marker", "")
    found = call.doors.database.read(lambda db: tables.aliases(db, call.account, call.region, key, after, limit + 1))
    shown = found[:limit]
    response: dict[str, Any] = {"Aliases": [_told(one) for one in shown], "Truncated": len(found) > limit}
    if len(found) > limit:
        response["NextMarker"] = shown[-1].name
    return response


def _told(one: Alias) -> dict[str, Any]:
    return {
        "AliasName": one.name,
        "AliasArn": one.arn,
        "TargetKeyId": one.key,
        "CreationDate": datetime.fromtimestamp(one.created, UTC),
        "LastUpdatedDate": datetime.fromtimestamp(one.updated, UTC),
    }

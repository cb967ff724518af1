# SPDX-License-Identifier: Apache-2.0
"""The public access block of an account: S3 takes the stricter of it and the bucket's own, switch by switch.

Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "Configuring block public access
settings for your account".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.s3control.errors import (
    AccountForbidden,
    InvalidRequest,
    NoSuchPublicAccessBlockConfiguration,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def own_account(call: Call, request: Request) -> str:
    """The account that a request names: it must be the caller's.

    Raises:
        AccountForbidden
    """
    if request["AccountId"] != call.account:
        raise AccountForbidden("Access Denied")
    return call.account


def _needs_get(call: Call, request: Request) -> Iterable[Need]:
    yield Need("s3:GetAccountPublicAccessBlock", "*")


def _needs_put(call: Call, request: Request) -> Iterable[Need]:
    yield Need("s3:PutAccountPublicAccessBlock", "*")


@operation("PutPublicAccessBlock", needs=_needs_put)
async def put_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """Set the four switches of the account; absent ones are off.

    Raises:
        InvalidRequest: none is named. AccountForbidden: another account's.

    Source: Amazon S3 API Reference, S3 Control, PutPublicAccessBlock.
    """
    account = own_account(call, request)
    given: Request = request["PublicAccessBlockConfiguration"]
    if not any(name in given for name in SWITCHES):
        raise InvalidRequest("Must specify at least one configuration.")
    value = json.dumps({name: bool(given.get(name, False)) for name in SWITCHES})
    await call.doors.parts["s3"].block_account(account, value)
    return {}


@operation("GetPublicAccessBlock", needs=_needs_get)
async def get_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """The four switches. Source: Amazon S3 API Reference, S3 Control, GetPublicAccessBlock."""
    account = own_account(call, request)
    kept = call.doors.parts["s3"].account_block(account)
    if kept is None:
        raise NoSuchPublicAccessBlockConfiguration(
            "The public access block configuration was not found", AccountId=account
        )
    return {"PublicAccessBlockConfiguration": json.loads(kept)}


@operation("DeletePublicAccessBlock", needs=_needs_put)
async def delete_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """Switch all four off. Source: Amazon S3 API Reference, S3 Control, DeletePublicAccessBlock."""
    await call.doors.parts["s3"].block_account(own_account(call, request), None)
    return {}

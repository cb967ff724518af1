# SPDX-License-Identifier: Apache-2.0
"""Accounts, the organization and issuers' keys, for the command line: AWS's API has no operations for them here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.body import read_all
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.body import Body
    from cloudchamber.contract.accounts import Account, Accounts

ASKED_OCTETS_MAX = 4 * 1024 * 1024


async def answer(accounts: Accounts, what: str, body: Body | None) -> Any:
    """What `GET` (no body) or `POST api/accounts/<what>` answers.

    Raises:
        ServiceError: what was asked for is not right.
    """
    if body is None:
        return accounts.shown() if what == "organization" else [_told(one) for one in accounts.all()]
    try:
        read: object = json.loads(await read_all(body, ASKED_OCTETS_MAX))
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValidationError("the request is no JSON, or too long") from error
    if not isinstance(read, dict):
        raise ValidationError("the request is no JSON object")
    asked = cast("Mapping[str, Any]", read)
    if what == "organization":
        return await accounts.apply(asked)
    if what == "keys":
        keys = asked.get("Keys")
        if not isinstance(keys, dict):
            raise ValidationError("Keys must be a JWKS")
        jwks = cast("Mapping[str, Any]", keys)
        return {"Keys": await accounts.keep_keys(str(asked.get("Issuer", "")), jwks)}
    made = await accounts.add(str(asked.get("Name", "")), str(asked.get("Email", "")))
    return {**_told(made.account), "AccessKeyId": made.access_key_id, "SecretAccessKey": made.secret_key}


def _told(account: Account) -> dict[str, Any]:
    told: dict[str, Any] = {"Id": account.id, "Name": account.name, "CanonicalId": account.canonical_id}
    if account.email:
        told["Email"] = account.email
    return told | ({"Created": iso(account.created)} if account.created is not None else {})

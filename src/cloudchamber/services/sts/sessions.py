# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials of users, and who the caller is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.identity import Principal
from cloudchamber.contract.operation import Need, nothing, operation
from cloudchamber.services.sts import passed
from cloudchamber.services.sts.assume import HOUR_S, check_mfa, credentials, refuse
from cloudchamber.services.sts.errors import (
    AccessDenied,
    InvalidAuthorizationMessageException,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call

LONGEST_S = 36 * HOUR_S
USUAL_S = 12 * HOUR_S


@operation("GetCallerIdentity", needs=nothing)
async def get_caller_identity(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Who calls; nobody can be denied this. Source: AWS STS API Reference, GetCallerIdentity."""
    who = call.principal
    return {"UserId": who.user_id or who.account, "Account": who.account, "Arn": who.arn}


@operation("GetSessionToken", needs=nothing)
async def get_session_token(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Temporary credentials of the calling user itself.

    Raises:
        AccessDenied: the caller has temporary credentials already, or a code of an MFA device is wrong.

    Source: AWS STS API Reference, GetSessionToken.
    """
    who = _long_term(call, "GetSessionToken")
    refuse(request)
    if await check_mfa(call, request):
        who = replace(who, mfa_at=call.now)
    lifetime_s = _lifetime(who, request)
    who = replace(who, tags={})  # Why: a session has the tags that its user has when it calls
    return {"Credentials": credentials(call.doors.identities.issue(who, call.now, lifetime_s))}


def _federation_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    arn = f"arn:aws:sts::{call.account}:federated-user/{request['Name']}"
    tags = passed.tags(request.get("Tags", ()), (), call.principal)
    yield Need("sts:GetFederationToken", arn, tags.context())
    if tags.passed:
        yield Need("sts:TagSession", arn, tags.context())


@operation("GetFederationToken", needs=_federation_needs)
async def get_federation_token(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials for somebody whom the calling user vouches for: at most the user's permissions, and only those that
    the session policies allow too.

    Raises:
        AccessDenied: the caller has temporary credentials.

    Source: AWS STS API Reference, GetFederationToken.
    """
    who = _long_term(call, "GetFederationToken")
    refuse(request)
    name: str = request["Name"]
    passed.check_tags(request.get("Tags", ()), (), who)
    tags = passed.tags(request.get("Tags", ()), (), who)
    session = Principal(
        "federated-user",
        who.account,
        f"arn:aws:sts::{who.account}:federated-user/{name}",
        f"{who.account}:{name}",
        who.arn,
        session_policies=passed.policies(call.doors.identities, request, who.account),
        tags=tags.passed,
    )
    size = passed.packed_size(session.session_policies, tags.passed)
    credential = call.doors.identities.issue(session, call.now, _lifetime(who, request))
    return {
        "Credentials": credentials(credential),
        "FederatedUser": {"FederatedUserId": session.user_id, "Arn": session.arn},
        "PackedPolicySize": size or 0,
    }


@operation("GetAccessKeyInfo", needs=lambda call, request: (Need("sts:GetAccessKeyInfo", "*"),))
async def get_access_key_info(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The account of an access key. Source: AWS STS API Reference, GetAccessKeyInfo."""
    owner = call.doors.identities.owner(request["AccessKeyId"])
    if owner is None:
        raise ValidationError(f"The access key {request['AccessKeyId']} does not exist")
    return {"Account": owner}


@operation("DecodeAuthorizationMessage", needs=lambda call, request: (Need("sts:DecodeAuthorizationMessage", "*"),))
async def decode_authorization_message(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The story behind a refusal of EC2's.

    Raises:
        InvalidAuthorizationMessageException: the message was not made here, or was changed.

    Source: AWS STS API Reference, DecodeAuthorizationMessage.
    """
    words = call.doors.identities.unseal(request["EncodedMessage"])
    if words is None:
        raise InvalidAuthorizationMessageException("Message is invalid or has been tampered with")
    return {"DecodedMessage": words}


def _long_term(call: Call, action: str) -> Principal:
    """The calling user.

    Raises:
        AccessDenied: the credentials are temporary ones.
    """
    who = call.principal
    if who.kind not in ("user", "root") or who.issued_at is not None:
        raise AccessDenied(f"Cannot call {action} with session credentials")
    return who


def _lifetime(who: Principal, request: Mapping[str, Any]) -> int:
    longest_s, usual_s = (HOUR_S, HOUR_S) if who.kind == "root" else (LONGEST_S, USUAL_S)
    return min(int(request.get("DurationSeconds", usual_s)), longest_s)

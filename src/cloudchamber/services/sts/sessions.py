# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials and who the caller is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.identity import Credential, Principal
from cloudchamber.contract.operation import Need, nothing, operation
from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError
from cloudchamber.services.sts.errors import (
    AccessDenied,
    InvalidAuthorizationMessageException,
    MalformedPolicyDocument,
    PackedPolicyTooLarge,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

HOUR_S = 3600
CHAINED_MAX_S = HOUR_S
PACKED_MAX = 2048
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


def _assume_role_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """AssumeRole; tags and a source identity are permissions of their own, asked of the same trust policy."""
    context: dict[str, ContextValue] = {"sts:RoleSessionName": request["RoleSessionName"]}
    if "ExternalId" in request:
        context["sts:ExternalId"] = request["ExternalId"]
    if "SourceIdentity" in request:
        context["sts:SourceIdentity"] = request["SourceIdentity"]
    tags = request.get("Tags", ())
    if tags:
        context["aws:TagKeys"] = tuple(tag["Key"] for tag in tags)
        if request.get("TransitiveTagKeys"):
            context["sts:TransitiveTagKeys"] = tuple(request["TransitiveTagKeys"])
        for tag in tags:
            context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    role = request["RoleArn"]
    yield Need("sts:AssumeRole", role, context)
    if tags:
        yield Need("sts:TagSession", role, context)
    if "SourceIdentity" in request:
        yield Need("sts:SetSourceIdentity", role, context)


@operation("AssumeRole", needs=_assume_role_needs)
async def assume_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials of a role for whoever its trust policy names.

    Raises:
        AccessDenied: the trust policy does not name the caller, the caller is the root user, or there is no such role.
        ValidationError: the session lasts longer than the role, or role chaining, allows.

    Source: AWS STS API Reference, AssumeRole.
    """
    _refuse(request)
    arn: str = request["RoleArn"]
    limit = call.doors.identities.session_limit(arn)
    if limit is None or call.principal.kind == "root":
        # Why: AWS tells nobody whether a role exists, and lets no root user assume one
        raise AccessDenied(
            "Roles may not be assumed by root accounts."
            if limit is not None
            else f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    role_id, longest_s = limit
    session: str = request["RoleSessionName"]
    if not _SESSION_NAME.fullmatch(session):
        raise ValidationError(
            f"1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: [\w+=,.@-]*"
        )
    lifetime_s = int(request.get("DurationSeconds", HOUR_S))
    if lifetime_s > longest_s:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if call.principal.kind == "assumed-role" and lifetime_s > CHAINED_MAX_S:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    account = Arn.parse(arn).account
    name = arn.rsplit("/", 1)[-1]
    principal = Principal(
        "assumed-role",
        account,
        f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
        f"{role_id}:{session}",
        arn,
        session_policies=_session_policies(call, request),
        tags=_role_tags(call, arn) | {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())},
        source_identity=request.get("SourceIdentity", call.principal.source_identity),
    )
    credential = call.doors.identities.issue(principal, call.now, lifetime_s)
    told: dict[str, Any] = {
        "Credentials": _credentials(credential),
        "AssumedRoleUser": {"AssumedRoleId": principal.user_id, "Arn": principal.arn},
    }
    if principal.session_policies or request.get("Tags"):
        size = sum(map(len, principal.session_policies)) + sum(len(str(tag)) for tag in request.get("Tags", ()))
        told["PackedPolicySize"] = min(100, 1 + size * 100 // (2 * PACKED_MAX))
    if principal.source_identity:
        told["SourceIdentity"] = principal.source_identity
    return told


@operation("GetCallerIdentity", needs=nothing)
async def get_caller_identity(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Who calls; nobody can be denied this. Source: AWS STS API Reference, GetCallerIdentity."""
    who = call.principal
    return {"UserId": who.user_id or who.account, "Account": who.account, "Arn": who.arn}


@operation("GetSessionToken", needs=nothing)
async def get_session_token(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Temporary credentials of the calling user itself.

    Raises:
        AccessDenied: the caller has temporary credentials already.

    Source: AWS STS API Reference, GetSessionToken.
    """
    who = call.principal
    if who.kind not in ("user", "root") or who.issued_at is not None:
        raise AccessDenied("Cannot call GetSessionToken with session credentials")
    _refuse(request)
    longest_s, usual_s = (HOUR_S, HOUR_S) if who.kind == "root" else (36 * HOUR_S, 12 * HOUR_S)
    lifetime_s = min(int(request.get("DurationSeconds", usual_s)), longest_s)
    return {"Credentials": _credentials(call.doors.identities.issue(who, call.now, lifetime_s))}


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


def _refuse(request: Mapping[str, Any]) -> None:
    """Refuse what would change the session and is not carried out.

    Raises:
        AccessDenied: a code of an MFA device; there are none. ValidationError: any other, by name.
    """
    if "SerialNumber" in request or "TokenCode" in request:
        raise AccessDenied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    for name in ("ProvidedContexts", "MinimumSessionTokenSize"):
        if request.get(name):
            raise ValidationError(f"{name} is not supported by this STS endpoint.")


def _session_policies(call: Call, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Texts of the session policies that a request passes.

    Raises:
        MalformedPolicyDocument: one is no policy.
        PackedPolicyTooLarge: they are too large.
    """
    texts: list[str] = []
    if "Policy" in request:
        try:
            check.identity(request["Policy"])
        except PolicyError as error:
            raise MalformedPolicyDocument(str(error)) from error
        if len(request["Policy"]) > PACKED_MAX:
            raise PackedPolicyTooLarge("Serialized token too large for session")
        texts.append(request["Policy"])
    for named in request.get("PolicyArns", ()):
        text = call.doors.identities.managed_document(named.get("arn", ""))
        if text is None:
            raise MalformedPolicyDocument(f"The policy is not in the valid JSON format. Policy: {named.get('arn', '')}")
        texts.append(text)
    return tuple(texts)


def _role_tags(call: Call, arn: str) -> dict[str, str]:
    facts = call.doors.services["iam"].facts(call.doors, arn)
    return dict(facts.tags) if facts is not None else {}


def _credentials(credential: Credential) -> dict[str, Any]:
    return {
        "AccessKeyId": credential.access_key_id,
        "SecretAccessKey": credential.secret_key,
        "SessionToken": credential.session_token,
        "Expiration": credential.expires_at,
    }

# SPDX-License-Identifier: Apache-2.0
"""AssumeRole, and what every way to a role's session has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.identity import Credential, Principal
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.sts import passed
from cloudchamber.services.sts.errors import AccessDenied, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue
    from cloudchamber.services.sts.passed import Tags

HOUR_S = 3600
CHAINED_MAX_S = HOUR_S
_WRONG_CODE = "MultiFactorAuthentication failed with invalid MFA one time pass code. "


def _assume_role_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """AssumeRole; tags and a source identity are permissions of their own, asked of the same trust policy."""
    role = role_arn(request)
    who = call.principal
    tags = passed.tags(request.get("Tags", ()), request.get("TransitiveTagKeys", ()), who)
    context: dict[str, ContextValue] = {"sts:RoleSessionName": request["RoleSessionName"], **tags.context()}
    for member in ("ExternalId", "SourceIdentity"):
        if member in request:
            context[f"sts:{member}"] = request[member]
    if "SerialNumber" in request and call.doors.identities.mfa_shows(
        who, request["SerialNumber"], request.get("TokenCode", ""), call.now
    ):
        context |= {"aws:MultiFactorAuthPresent": "true", "aws:MultiFactorAuthAge": "0"}
    yield Need("sts:AssumeRole", role, context)
    if tags.passed:
        yield Need("sts:TagSession", role, context)
    if "SourceIdentity" in request or who.source_identity:
        yield Need("sts:SetSourceIdentity", role, context)


@operation("AssumeRole", needs=_assume_role_needs)
async def assume_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials of a role for whoever its trust policy names.

    Raises:
        AccessDenied: the trust policy does not name the caller, the caller is the root user, there is no such role, or
            a code of an MFA device is wrong.
        ValidationError: the session lasts longer than the role, or role chaining, allows.

    Source: AWS STS API Reference, AssumeRole.
    """
    refuse(request)
    who, arn = call.principal, role_arn(request)
    passed.check_tags(request.get("Tags", ()), request.get("TransitiveTagKeys", ()), who)
    if who.kind == "root":
        raise AccessDenied("Roles may not be assumed by root accounts.")
    if call.doors.identities.session_limit(arn) is None:
        # Why: AWS tells nobody whether a role exists
        raise _denied(call, arn)
    lifetime_s = lifetime(call, request, arn)
    if who.kind == "assumed-role" and lifetime_s > CHAINED_MAX_S:
        raise ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    source_identity = request.get("SourceIdentity", who.source_identity)
    if source_identity.lower().startswith("aws:"):
        raise ValidationError(f"SourceIdentity {source_identity} begins with aws:, which is reserved.")
    if who.source_identity and source_identity != who.source_identity:
        raise AccessDenied(
            f"User: {who.arn} is not authorized to perform: sts:SetSourceIdentity on resource: {arn}: the source "
            f"identity of a session cannot be changed."
        )
    tags = passed.tags(request.get("Tags", ()), request.get("TransitiveTagKeys", ()), who)
    await check_mfa(call, request)
    session = session_of(call, request, request["RoleSessionName"], tags, source_identity=source_identity)
    return answer(call, session, lifetime_s, tags)


def _denied(call: Call, arn: str) -> AccessDenied:
    return AccessDenied(f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}")


def role_arn(request: Mapping[str, Any]) -> str:
    """The role that a request names.

    Raises:
        ValidationError: it is no ARN.
    """
    text: str = request["RoleArn"]
    try:
        arn = Arn.parse(text)
    except ValueError:
        raise ValidationError(f"{text} is invalid") from None
    if not (arn.partition and arn.service and arn.resource):
        raise ValidationError(f"{text} is invalid")
    return text


def lifetime(call: Call, request: Mapping[str, Any], arn: str) -> int:
    """How long a role's session is to last, in seconds.

    Raises:
        ValidationError: longer than the role allows.
    """
    limit = call.doors.identities.session_limit(arn)
    lifetime_s = int(request.get("DurationSeconds", HOUR_S))
    if limit is not None and lifetime_s > limit[1]:
        raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    return lifetime_s


def session_of(
    call: Call,
    request: Mapping[str, Any],
    name: str,
    tags: Tags,
    *,
    source_identity: str = "",
    federated: str = "",
    extra: Mapping[str, tuple[str, ...]] | None = None,
) -> Principal:
    """The principal of a role's session, as the request wants it."""
    arn: str = request["RoleArn"]
    account, role = Arn.parse(arn).account, arn.rsplit("/", 1)[-1]
    limit = call.doors.identities.session_limit(arn)
    if limit is None:
        raise AccessDenied(
            f"User: {call.principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    return Principal(
        "assumed-role",
        account,
        f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
        f"{limit[0]}:{name}",
        arn,
        session_policies=passed.policies(call.doors.identities, request, account),
        tags=tags.passed,
        source_identity=source_identity,
        transitive_tags=tags.transitive,
        federated=federated,
        # Why: what a service says of the session that it opens (which instance, which function) holds as long as it
        extra=extra or (call.principal.extra if call.principal.kind == "service" else {}),
    )


def answer(call: Call, session: Principal, lifetime_s: int, tags: Tags) -> dict[str, Any]:
    """Issue a role session's credentials and tell them."""
    size = passed.packed_size(session.session_policies, tags.passed)
    credential = call.doors.identities.issue(session, call.now, lifetime_s)
    told: dict[str, Any] = {
        "Credentials": credentials(credential),
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
    }
    if size is not None:
        told["PackedPolicySize"] = size
    if session.source_identity:
        told["SourceIdentity"] = session.source_identity
    return told


async def check_mfa(call: Call, request: Mapping[str, Any]) -> bool:
    """Whether an MFA code was given; it is used up.

    Raises:
        AccessDenied: it is wrong, or the device is not the caller's. ValidationError: one of the two is missing.
    """
    given = [name for name in ("SerialNumber", "TokenCode") if name in request]
    if not given:
        return False
    if len(given) == 1:
        raise ValidationError("Both an MFA serial number and a code, or neither, must be given.")
    who = call.principal
    if not await call.doors.identities.mfa_accept(who, request["SerialNumber"], request["TokenCode"], call.now):
        raise AccessDenied(_WRONG_CODE)
    return True


def refuse(request: Mapping[str, Any]) -> None:
    """Refuse what would change the session and is not carried out.

    Raises:
        ValidationError: by its name.
    """
    for name in ("ProvidedContexts", "MinimumSessionTokenSize"):
        if request.get(name):
            raise ValidationError(f"{name} is not supported by this STS endpoint.")


def credentials(credential: Credential) -> dict[str, Any]:
    """As the API writes them."""
    return {
        "AccessKeyId": credential.access_key_id,
        "SecretAccessKey": credential.secret_key,
        "SessionToken": credential.session_token,
        "Expiration": credential.expires_at,
    }

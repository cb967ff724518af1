# SPDX-License-Identifier: Apache-2.0
"""AssumeRoleWithWebIdentity: a role's credentials for whom an OpenID Connect provider vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.operation import Need, each_by_itself, operation
from cloudchamber.services.sts import passed, tokens
from cloudchamber.services.sts.assume import answer, lifetime, refuse, role_arn, session_of
from cloudchamber.services.sts.errors import AccessDenied, InvalidIdentityToken, ValidationError
from cloudchamber.services.sts.issuers import Issuers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue
    from cloudchamber.services.sts.passed import Tags

_ACTION = "sts:AssumeRoleWithWebIdentity"


@operation("AssumeRoleWithWebIdentity", needs=each_by_itself)
async def assume_role_with_web_identity(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials of a role for the bearer of a token that its trust policy accepts. The call needs no signature.

    Raises:
        InvalidIdentityToken: the token is none, not signed by a provider of the role's account, or not meant for it.
        ExpiredTokenException: it is over. IDPRejectedClaim: its session tags are none.
        IDPCommunicationError: the provider's keys cannot be fetched.
        AccessDenied: the role's trust policy does not accept it, or there is no such role.

    Source: AWS STS API Reference, AssumeRoleWithWebIdentity.
    """
    refuse(request)
    arn = role_arn(request)
    if "ProviderId" in request:
        raise ValidationError("ProviderId is for OAuth 2.0 access tokens, which this STS endpoint does not accept.")
    account = Arn.parse(arn).account
    token = tokens.read(request["WebIdentityToken"])
    provider = call.doors.identities.oidc_provider(account, token.name)
    if provider is None:
        raise InvalidIdentityToken(f"No OpenIDConnect provider found in your account for {token.issuer}")
    keys = await call.doors.part("sts", Issuers).keys(call, token.name, token.key_id)
    claims = tokens.verify(token, keys, provider.client_ids, call.now)
    call.note(provider=provider.arn, subject=claims.subject)
    bearer = Principal(
        "federated-user", account, provider.arn, claims.subject, federated=provider.arn, extra=claims.keys
    )
    passed.check_tags(claims.tags, claims.transitive, bearer)
    tags = passed.tags(claims.tags, claims.transitive, bearer)
    permit(call, Vouched(bearer, arn, _ACTION, request["RoleSessionName"], claims.source_identity, tags))
    session = session_of(
        call, request, request["RoleSessionName"], tags,
        source_identity=claims.source_identity, federated=provider.arn, extra=claims.keys,
    )  # fmt: skip
    told = answer(call, session, lifetime(call, request, arn), tags)
    return {
        **told,
        "SubjectFromWebIdentityToken": claims.subject,
        "Provider": provider.arn,
        "Audience": claims.audience,
    }


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom a provider vouches for, and what they ask of a role's trust policy."""

    bearer: Principal
    role: str
    action: str
    session_name: str
    source_identity: str
    tags: Tags


def permit(call: Call, asked: Vouched) -> None:
    """Ask the role's trust policy.

    Raises:
        AccessDenied: it says no, or there is no role.
    """
    context: dict[str, ContextValue] = {
        "sts:RoleSessionName": asked.session_name,
        "aws:FederatedProvider": asked.bearer.federated,
        **asked.bearer.extra,
        **asked.tags.context(),
    }
    if asked.source_identity:
        context["sts:SourceIdentity"] = asked.source_identity
    if call.headers is not None:
        context["aws:SourceIp"] = call.peer
    actions = {
        asked.action: True,
        "sts:TagSession": bool(asked.tags.passed),
        "sts:SetSourceIdentity": bool(asked.source_identity),
    }
    for action in (name for name, needed in actions.items() if needed):
        try:
            if call.doors.identities.session_limit(asked.role) is None:
                raise AccessDenied(asked.role)
            call.doors.parts["front"].permit(
                asked.bearer, Need(action, asked.role, context), call.trace, service="sts",
                name=f"{action[4:]} (trust policy)", peer=call.peer,
            )  # fmt: skip
        except AccessDenied as error:
            # Why: AWS tells a bearer of a token neither who it is nor whether the role exists
            raise AccessDenied(f"Not authorized to perform {action}") from error

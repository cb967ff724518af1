# SPDX-License-Identifier: Apache-2.0
"""AssumeRoleWithSAML: a role's credentials for whom a SAML provider vouches for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.operation import each_by_itself, operation
from cloudchamber.services.sts import assertions, passed
from cloudchamber.services.sts.assume import answer, lifetime, refuse, role_arn, session_of
from cloudchamber.services.sts.errors import AccessDenied, ExpiredTokenException, InvalidIdentityToken
from cloudchamber.services.sts.federate import Vouched, permit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.sts.assertions import Assertion

_ACTION = "sts:AssumeRoleWithSAML"
_SESSION_NAME = re.compile(r"[a-zA-Z_0-9+=,.@-]{2,64}")


@operation("AssumeRoleWithSAML", needs=each_by_itself)
async def assume_role_with_saml(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Credentials of a role for the bearer of an assertion that its trust policy accepts. The call needs no signature.

    Raises:
        InvalidIdentityToken: the assertion is none, not signed by the provider, or not meant for AWS.
        ExpiredTokenException: it is older than five minutes, or over. IDPRejectedClaim: its session tags are none.
        AccessDenied: it does not name this role and provider, or the trust policy does not accept it.

    Source: AWS STS API Reference, AssumeRoleWithSAML.
    """
    refuse(request)
    arn, provider = role_arn(request), role_arn({"RoleArn": request["PrincipalArn"]})
    account = Arn.parse(arn).account
    metadata = call.doors.identities.saml_metadata(account, provider)
    if metadata is None:
        raise InvalidIdentityToken("Specified provider doesn't exist")
    said = await asyncio.to_thread(assertions.read, request["SAMLAssertion"], metadata, call.now)
    _check_names(said)
    if (arn, provider) not in said.roles:
        raise AccessDenied(f"Not authorized to perform {_ACTION}")
    qualifier = _qualifier(said.issuer, account, provider)
    keys = {
        "saml:aud": (said.recipient,), "saml:iss": (said.issuer,), "saml:sub": (said.subject,),
        "saml:sub_type": (said.subject_type,), "saml:namequalifier": (qualifier,),
        "saml:doc": (f"{account}/{provider.rsplit('/', 1)[-1]}",),
    }  # fmt: skip
    call.note(provider=provider, subject=said.subject)
    bearer = Principal("federated-user", account, provider, said.subject, federated=provider, extra=keys)
    passed.check_tags(said.tags, said.transitive, bearer)
    tags = passed.tags(said.tags, said.transitive, bearer)
    permit(call, Vouched(bearer, arn, _ACTION, said.session_name, said.source_identity, tags))
    session = session_of(
        call, request, said.session_name, tags,
        source_identity=said.source_identity, federated=provider, extra=keys,
    )  # fmt: skip
    lifetime_s = lifetime(call, request, arn)
    if said.ends_at is not None:
        lifetime_s = min(lifetime_s, int((said.ends_at - call.now).total_seconds()))
        if lifetime_s <= 0:
            raise ExpiredTokenException("Response has expired")
    return {
        **answer(call, session, lifetime_s, tags),
        "Subject": said.subject,
        "SubjectType": said.subject_type,
        "Issuer": said.issuer,
        "Audience": said.recipient,
        "NameQualifier": qualifier,
    }


def _check_names(said: Assertion) -> None:
    """Source: IAM User Guide, "Troubleshoot SAML federation with IAM"."""
    if not said.session_name:
        raise InvalidIdentityToken("RoleSessionName is required in AuthnResponse")
    if not _SESSION_NAME.fullmatch(said.session_name):
        raise InvalidIdentityToken("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
    source = said.source_identity
    if source and (not _SESSION_NAME.fullmatch(source) or source.lower().startswith("aws:")):
        raise InvalidIdentityToken('Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with "aws:"')


def _qualifier(issuer: str, account: str, provider: str) -> str:
    """A value that is the provider's alone. Source: AWS STS API Reference, AssumeRoleWithSAML, NameQualifier."""
    words = f"{issuer}{account}/{provider.rsplit('/', 1)[-1]}"
    return base64.b64encode(hashlib.sha1(words.encode(), usedforsecurity=False).digest()).decode()

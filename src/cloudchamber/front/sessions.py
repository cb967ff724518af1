# SPDX-License-Identifier: Apache-2.0
"""What temporary credentials of users may never call, whatever their policies say.

Source: IAM User Guide, "Compare AWS STS credentials"; AWS STS API Reference, GetSessionToken and GetFederationToken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.errors import AccessDenied
from cloudchamber.wire import errors

if TYPE_CHECKING:
    from cloudchamber.contract.identity import Principal

_OF_SESSION = frozenset(("AssumeRole", "GetCallerIdentity"))
_OF_FEDERATED = frozenset(("GetCallerIdentity",))


def check_session(who: Principal, service: str, operation: str) -> None:
    """Refuse what the caller's kind of session may not call: IAM without an MFA code, and most of STS.

    Raises:
        InvalidClientTokenId: an operation of IAM. AccessDenied: one of STS.
    """
    federated = who.kind == "federated-user" and bool(who.entity_arn)
    if not federated and (who.kind not in ("user", "root") or who.issued_at is None):
        return
    if service == "iam" and (federated or who.mfa_at is None):
        raise errors.InvalidClientTokenId("The security token included in the request is invalid")
    if service == "sts" and operation not in (_OF_FEDERATED if federated else _OF_SESSION):
        raise AccessDenied(f"Cannot call {operation} with session credentials")

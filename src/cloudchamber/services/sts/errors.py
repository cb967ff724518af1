# SPDX-License-Identifier: Apache-2.0
"""Errors of STS. Source: AWS STS API Reference, errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import AccessDenied, ServiceError, ValidationError

__all__ = [
    "AccessDenied",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "IDPRejectedClaim",
    "InvalidAuthorizationMessageException",
    "InvalidIdentityToken",
    "InvalidParameterValue",
    "MalformedPolicyDocument",
    "PackedPolicyTooLarge",
    "ValidationError",
]


class MalformedPolicyDocument(ServiceError):
    """The session policy is no policy."""

    code = "MalformedPolicyDocument"
    status = 400


class PackedPolicyTooLarge(ServiceError):
    """Session policies and tags together are too large."""

    code = "PackedPolicyTooLarge"
    status = 400


class InvalidParameterValue(ServiceError):
    """Session tags that contradict each other or the caller's session."""

    code = "InvalidParameterValue"
    status = 400


class InvalidAuthorizationMessageException(ServiceError):
    """The message was not made here, or was changed."""

    code = "InvalidAuthorizationMessageException"
    status = 400


class InvalidIdentityToken(ServiceError):
    """The web identity token is none, or not one of that provider's."""

    code = "InvalidIdentityToken"
    status = 400


class ExpiredTokenException(ServiceError):
    """The web identity token has expired."""

    code = "ExpiredTokenException"
    status = 400


class IDPRejectedClaim(ServiceError):
    """The identity provider's claims are not accepted."""

    code = "IDPRejectedClaim"
    status = 403


class IDPCommunicationError(ServiceError):
    """The identity provider could not be reached."""

    code = "IDPCommunicationError"
    status = 400

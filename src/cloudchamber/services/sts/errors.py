# SPDX-License-Identifier: Apache-2.0
"""Errors of STS. Source: AWS STS API Reference, errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import AccessDenied, ServiceError, ValidationError

__all__ = [
    "AccessDenied",
    "InvalidAuthorizationMessageException",
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


class InvalidAuthorizationMessageException(ServiceError):
    """The message was not made here, or was changed."""

    code = "InvalidAuthorizationMessageException"
    status = 400

# SPDX-License-Identifier: Apache-2.0
"""Errors of IAM. Source: IAM API Reference, errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class NoSuchEntity(ServiceError):
    """It names an entity that does not exist."""

    code = "NoSuchEntity"
    status = 404


class EntityAlreadyExists(ServiceError):
    """It would create what exists."""

    code = "EntityAlreadyExists"
    status = 409


class DeleteConflict(ServiceError):
    """It would delete what still has something attached."""

    code = "DeleteConflict"
    status = 409


class LimitExceeded(ServiceError):
    """It would go beyond an account's quota."""

    code = "LimitExceeded"
    status = 409


class MalformedPolicyDocument(ServiceError):
    """The policy's text is no policy; the message says why."""

    code = "MalformedPolicyDocument"
    status = 400


class InvalidInput(ServiceError):
    """An input parameter is invalid or out of range."""

    code = "InvalidInput"
    status = 400


class InvalidClientTokenId(ServiceError):
    """The access key does not exist, or its token was changed. Source: Common Errors."""

    code = "InvalidClientTokenId"
    status = 403


class ExpiredToken(ServiceError):
    """The session is over. Source: Common Errors."""

    code = "ExpiredToken"
    status = 403

# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's errors. Source: AWS CloudFormation API Reference, Errors of each operation."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError, ValidationError

__all__ = [
    "AlreadyExistsException",
    "ChangeSetNotFound",
    "InsufficientCapabilitiesException",
    "InvalidChangeSetStatus",
    "LimitExceededException",
    "TokenAlreadyExistsException",
    "TransformFailed",
    "ValidationError",
]


class AlreadyExistsException(ServiceError):
    """The stack, or the change set, exists already."""

    code = "AlreadyExistsException"
    status = 400


class ChangeSetNotFound(ServiceError):
    """No such change set."""

    code = "ChangeSetNotFound"
    status = 404


class InvalidChangeSetStatus(ServiceError):
    """The change set is not in a state that allows this."""

    code = "InvalidChangeSetStatus"
    status = 400


class InsufficientCapabilitiesException(ServiceError):
    """The template makes IAM resources, or is transformed, and the request did not acknowledge that."""

    code = "InsufficientCapabilitiesException"
    status = 400


class LimitExceededException(ServiceError):
    """A quota is reached."""

    code = "LimitExceededException"
    status = 400


class TokenAlreadyExistsException(ServiceError):
    """The client request token was used for another action."""

    code = "TokenAlreadyExistsException"
    status = 400


class TransformFailed(ValidationError):
    """A transform refused the template; a change set shows this as its reason."""

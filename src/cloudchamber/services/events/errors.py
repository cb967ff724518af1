# SPDX-License-Identifier: Apache-2.0
"""EventBridge's errors. Source: Amazon EventBridge API Reference, the errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class ValidationException(ServiceError):
    """A parameter is not valid, or asks for something that is not built here."""

    code = "ValidationException"
    status = 400


class ResourceNotFoundException(ServiceError):
    """The rule or the event bus does not exist."""

    code = "ResourceNotFoundException"
    status = 400


class LimitExceededException(ServiceError):
    """More than there may be."""

    code = "LimitExceededException"
    status = 400

# SPDX-License-Identifier: Apache-2.0
"""Parameter Store's error codes. Source: Systems Manager API Reference, PutParameter, GetParameter."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class ParameterNotFound(ServiceError):
    """No such parameter."""

    code = "ParameterNotFound"
    status = 400


class ParameterVersionNotFound(ServiceError):
    """The parameter has another version."""

    code = "ParameterVersionNotFound"
    status = 400


class ParameterAlreadyExists(ServiceError):
    """The name is taken, and the request does not say to overwrite it."""

    code = "ParameterAlreadyExists"
    status = 400


class ParameterLimitExceeded(ServiceError):
    """A quota is reached."""

    code = "ParameterLimitExceeded"
    status = 400


class HierarchyLevelLimitExceededException(ServiceError):
    """A name has more than 15 levels."""

    code = "HierarchyLevelLimitExceededException"
    status = 400


class UnsupportedParameterType(ServiceError):
    """The kind of parameter is not built here."""

    code = "UnsupportedParameterType"
    status = 400


class InvalidResourceId(ServiceError):
    """What shall have tags is not there."""

    code = "InvalidResourceId"
    status = 400


class InvalidResourceType(ServiceError):
    """Only parameters have tags here."""

    code = "InvalidResourceType"
    status = 400


class InvalidNextToken(ServiceError):
    """No token of ours."""

    code = "InvalidNextToken"
    status = 400


class TooManyTagsError(ServiceError):
    """More than 50 tags."""

    code = "TooManyTagsError"
    status = 400


class ValidationException(ServiceError):
    """Not a valid request."""

    code = "ValidationException"
    status = 400

# SPDX-License-Identifier: Apache-2.0
"""Errors of Secrets Manager. Source: AWS Secrets Manager API Reference, Errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class ResourceNotFoundException(ServiceError):
    """Secrets Manager can't find the resource that you asked for."""

    code = "ResourceNotFoundException"
    status = 400


class ResourceExistsException(ServiceError):
    """A resource with the ID you requested already exists."""

    code = "ResourceExistsException"
    status = 400


class InvalidParameterException(ServiceError):
    """The parameter name or value is invalid."""

    code = "InvalidParameterException"
    status = 400


class InvalidRequestException(ServiceError):
    """A parameter value is not valid for the current state of the resource."""

    code = "InvalidRequestException"
    status = 400


class MalformedPolicyDocumentException(ServiceError):
    """The resource policy has syntax errors."""

    code = "MalformedPolicyDocumentException"
    status = 400


class LimitExceededException(ServiceError):
    """The request failed because it would exceed one of the Secrets Manager quotas."""

    code = "LimitExceededException"
    status = 400


class InvalidNextTokenException(ServiceError):
    """The NextToken value is invalid."""

    code = "InvalidNextTokenException"
    status = 400

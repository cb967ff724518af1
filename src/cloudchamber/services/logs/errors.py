# SPDX-License-Identifier: Apache-2.0
"""CloudWatch Logs' errors. Source: CloudWatch Logs API Reference."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class InvalidParameterException(ServiceError):
    """A parameter is not valid, or asks for what is not built here."""

    code = "InvalidParameterException"
    status = 400


class ResourceNotFoundException(ServiceError):
    """The group or stream does not exist."""

    code = "ResourceNotFoundException"
    status = 400


class ResourceAlreadyExistsException(ServiceError):
    """The group or stream exists."""

    code = "ResourceAlreadyExistsException"
    status = 400


class TooManyTagsException(ServiceError):
    """A group can have 50 tags."""

    code = "TooManyTagsException"
    status = 400


class ValidationException(ServiceError):
    """Parameters that exclude each other."""

    code = "ValidationException"
    status = 400

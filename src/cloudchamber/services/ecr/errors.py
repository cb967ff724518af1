# SPDX-License-Identifier: Apache-2.0
"""ECR's error codes. Source: Amazon ECR API Reference, errors of each operation."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class InvalidParameterException(ServiceError):
    """A parameter is invalid, or not supported here."""

    code = "InvalidParameterException"
    status = 400


class InvalidTagParameterException(ServiceError):
    """A tag is invalid."""

    code = "InvalidTagParameterException"
    status = 400


class TooManyTagsException(ServiceError):
    """More than 50 tags."""

    code = "TooManyTagsException"
    status = 400


class LimitExceededException(ServiceError):
    """A quota is reached."""

    code = "LimitExceededException"
    status = 400


class RepositoryAlreadyExistsException(ServiceError):
    """The name is taken."""

    code = "RepositoryAlreadyExistsException"
    status = 400


class RepositoryNotFoundException(ServiceError):
    """No such repository."""

    code = "RepositoryNotFoundException"
    status = 400


class RepositoryPolicyNotFoundException(ServiceError):
    """The repository has no policy."""

    code = "RepositoryPolicyNotFoundException"
    status = 400


class LifecyclePolicyNotFoundException(ServiceError):
    """The repository has no lifecycle policy."""

    code = "LifecyclePolicyNotFoundException"
    status = 400

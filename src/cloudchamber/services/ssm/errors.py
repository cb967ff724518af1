# SPDX-License-Identifier: Apache-2.0
"""Parameter Store's error codes. Source: Systems Manager API Reference, GetParameter."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class ParameterNotFound(ServiceError):
    """No such parameter."""

    code = "ParameterNotFound"
    status = 400


class ValidationException(ServiceError):
    """Not a valid request."""

    code = "ValidationException"
    status = 400

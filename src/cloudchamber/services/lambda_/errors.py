# SPDX-License-Identifier: Apache-2.0
"""Lambda's errors, with their status and the `Type` member that says whose fault it was.

Source: AWS Lambda API Reference, the errors of each action.
"""

from __future__ import annotations

from typing import ClassVar

from cloudchamber.base.errors import ServiceError


class LambdaError(ServiceError):
    """An error of Lambda: its body carries `Type`."""

    fault: ClassVar[str] = "User"

    def __init__(self, message: str = "", **members: str) -> None:
        super().__init__(message, headers=None, **({"Type": self.fault} if self.fault else {}), **members)


class InvalidParameterValueException(LambdaError):
    """One of the parameters is not valid, or asks for something that is not built here."""

    code = "InvalidParameterValueException"
    status = 400


class LimitInvalidException(InvalidParameterValueException):
    """One of the parameters is against a limit of the account; these come without `Type` (as recorded on AWS)."""

    fault = ""


class ResourceConflictException(LambdaError):
    """It exists already, or is in a state that does not allow this."""

    code = "ResourceConflictException"
    status = 409


class ResourceNotFoundException(LambdaError):
    """The resource named in the request does not exist."""

    code = "ResourceNotFoundException"
    status = 404


class PreconditionFailedException(LambdaError):
    """`RevisionId` is not the current one."""

    code = "PreconditionFailedException"
    status = 412


class PolicyLengthExceededException(LambdaError):
    """The function policy would be longer than 20 KB."""

    code = "PolicyLengthExceededException"
    status = 400


class TooManyRequestsException(LambdaError):
    """No environment may be started for this request now; `Reason` says which limit."""

    code = "TooManyRequestsException"
    status = 429


class InvalidRequestContentException(LambdaError):
    """The payload is not JSON."""

    code = "InvalidRequestContentException"
    status = 400


class RequestEntityTooLargeException(LambdaError):
    """The request is longer than the operation takes (6 MB to invoke, 50 MB of code)."""

    code = "RequestEntityTooLargeException"
    status = 413


class RequestTooLargeException(LambdaError):
    """The payload is longer than the invocation type takes."""

    code = "RequestTooLargeException"
    status = 413


class RecursiveInvocationException(LambdaError):
    """The function has been run too often on one chain of calls."""

    code = "RecursiveInvocationException"
    status = 400


class AccessDeniedException(LambdaError):
    """The caller may not read the code's object."""

    code = "AccessDeniedException"
    status = 403


class ServiceException(LambdaError):
    """Something broke on our side."""

    code = "ServiceException"
    status = 500
    fault = "Service"


class ProvisionedConcurrencyConfigNotFoundException(LambdaError):
    """The version or alias has no provisioned concurrency."""

    code = "ProvisionedConcurrencyConfigNotFoundException"
    status = 404

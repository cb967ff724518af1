# SPDX-License-Identifier: Apache-2.0
"""The two kinds of error: one for the client of a service, one for the person at the machine."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class ServiceError(Exception):
    """An error that AWS documents; it reaches the client as AWS would write it.

    Subclasses set `code`, `status` and `fault`; a service keeps its own in `errors.py`.
    `members` are further elements of the error body, such as `BucketName`.
    `headers` go onto the HTTP reply.
    """

    code: ClassVar[str] = "InternalFailure"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, headers: Mapping[str, str] | None = None, **members: str) -> None:
        super().__init__(message)
        self.message = message
        self.members: Mapping[str, str] = MappingProxyType(members)
        self.headers: Mapping[str, str] = MappingProxyType(dict(headers or {}))


class InternalFailure(ServiceError):
    """Something broke on our side; the log says what."""

    code = "InternalFailure"
    status = 500


class ServiceUnavailable(ServiceError):
    """This machine cannot take it now (a full disk); nothing was kept. Source: S3, "Error responses"."""

    code = "ServiceUnavailable"
    status = 503


class ValidationError(ServiceError):
    """The input does not satisfy the constraints of the service. Source: Common Errors."""

    code = "ValidationError"
    status = 400


class AccessDenied(ServiceError):
    """IAM said no. Front adds who, what, on which resource and why. Source: Common Errors."""

    code = "AccessDenied"
    status = 403


class ChamberError(Exception):
    """Something about this machine stands in the way; `hint` says what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

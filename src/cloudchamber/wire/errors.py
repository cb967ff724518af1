# SPDX-License-Identifier: Apache-2.0
"""Errors of the protocol layer itself, before any service is asked.

Source: "Common Errors" of each service's API reference; Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError, ValidationError


class InvalidAction(ServiceError):
    """Query and EC2: the action does not exist, or we do not offer it."""

    code = "InvalidAction"
    status = 400


class UnknownOperationException(ServiceError):
    """JSON: the target does not exist, or we do not offer it."""

    code = "UnknownOperationException"
    status = 400


class RestUnknownOperation(UnknownOperationException):
    """REST-JSON: no operation has that method and path."""

    status = 404


class OperationNotImplemented(ServiceError):
    """S3: a header, parameter or operation that is not implemented."""

    code = "NotImplemented"
    status = 501


class MethodNotAllowed(ServiceError):
    """S3: the method means nothing on this resource."""

    code = "MethodNotAllowed"
    status = 405


class InvalidURI(ServiceError):
    """S3: the path is not percent-encoded UTF-8."""

    code = "InvalidURI"
    status = 400


class MalformedXML(ServiceError):
    """S3: the body is not XML of the form that the operation wants."""

    code = "MalformedXML"
    status = 400


class MissingRequestBodyError(ServiceError):
    """S3: an XML body is required and none came."""

    code = "MissingRequestBodyError"
    status = 400


class InvalidArgument(ServiceError):
    """S3: a parameter or header has a wrong form."""

    code = "InvalidArgument"
    status = 400


class MalformedQueryString(ServiceError):
    """Query: the form cannot be read."""

    code = "MalformedQueryString"
    status = 400


class MalformedInput(ServiceError):
    """Query: a value is not of its parameter's type."""

    code = "MalformedInput"
    status = 400


class SerializationException(ServiceError):
    """JSON: the body is not JSON, or a value is not of its member's type."""

    code = "SerializationException"
    status = 400


class MissingParameter(ServiceError):
    """EC2: a required parameter is absent."""

    code = "MissingParameter"
    status = 400


class InvalidParameterValue(ServiceError):
    """EC2: a value is out of its range."""

    code = "InvalidParameterValue"
    status = 400


class InvalidParameterException(ServiceError):
    """CloudWatch Logs: a value breaks a constraint."""

    code = "InvalidParameterException"
    status = 400


class ValidationException(ServiceError):
    """JSON services: a value breaks a constraint."""

    code = "ValidationException"
    status = 400


__all__ = [
    "InvalidAction",
    "InvalidArgument",
    "InvalidParameterException",
    "InvalidParameterValue",
    "InvalidURI",
    "MalformedInput",
    "MalformedQueryString",
    "MalformedXML",
    "MethodNotAllowed",
    "MissingParameter",
    "MissingRequestBodyError",
    "OperationNotImplemented",
    "RestUnknownOperation",
    "SerializationException",
    "UnknownOperationException",
    "ValidationError",
    "ValidationException",
]

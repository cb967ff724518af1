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


class BadDigest(ServiceError):
    """S3: `Content-MD5` or a checksum is another than that of the body."""

    code = "BadDigest"
    status = 400


class InvalidDigest(ServiceError):
    """S3: `Content-MD5` is no MD5."""

    code = "InvalidDigest"
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


class InvalidRequest(ServiceError):
    """S3: the request cannot be understood as a whole."""

    code = "InvalidRequest"
    status = 400


class AuthorizationHeaderMalformed(ServiceError):
    """S3: the Authorization header has a wrong form."""

    code = "AuthorizationHeaderMalformed"
    status = 400


class AuthorizationQueryParametersError(ServiceError):
    """S3: the parameters of a presigned URL have a wrong form."""

    code = "AuthorizationQueryParametersError"
    status = 400


class InvalidAccessKeyId(ServiceError):
    """S3: nobody has that access key."""

    code = "InvalidAccessKeyId"
    status = 403


class SignatureDoesNotMatch(ServiceError):
    """The signature is not the one that the secret key makes."""

    code = "SignatureDoesNotMatch"
    status = 403


class InvalidSignatureException(ServiceError):
    """JSON: the signature is not the one that the secret key makes, or is too old."""

    code = "InvalidSignatureException"
    status = 403


class RequestTimeTooSkewed(ServiceError):
    """S3: the request was signed more than 15 minutes ago, or in the future."""

    code = "RequestTimeTooSkewed"
    status = 403


class XAmzContentSHA256Mismatch(ServiceError):
    """S3: the body is not the one that was signed."""

    code = "XAmzContentSHA256Mismatch"
    status = 400


class IncompleteBody(ServiceError):
    """S3: the body ended too early, went on too long, or its chunks have a wrong form."""

    code = "IncompleteBody"
    status = 400


class MalformedTrailerError(ServiceError):
    """S3: the trailing headers have a wrong form."""

    code = "MalformedTrailerError"
    status = 400


class MissingContentLength(ServiceError):
    """S3: the length of the body must be said."""

    code = "MissingContentLength"
    status = 411


class MissingAuthenticationToken(ServiceError):
    """The request is not signed."""

    code = "MissingAuthenticationToken"
    status = 403


class MissingAuthenticationTokenException(ServiceError):
    """JSON: the request is not signed."""

    code = "MissingAuthenticationTokenException"
    status = 403


class IncompleteSignature(ServiceError):
    """Something is missing in the signature, or has a wrong form."""

    code = "IncompleteSignature"
    status = 400


class IncompleteSignatureException(ServiceError):
    """JSON: something is missing in the signature, or has a wrong form."""

    code = "IncompleteSignatureException"
    status = 400


class InvalidClientTokenId(ServiceError):
    """Nobody has that access key."""

    code = "InvalidClientTokenId"
    status = 403


class UnrecognizedClientException(ServiceError):
    """JSON: nobody has that access key."""

    code = "UnrecognizedClientException"
    status = 403


class AuthFailure(ServiceError):
    """EC2: nobody has that access key."""

    code = "AuthFailure"
    status = 401


class ExpiredToken(ServiceError):
    """The session token is too old."""

    code = "ExpiredToken"
    status = 403


class ExpiredTokenException(ServiceError):
    """JSON: the session token is too old."""

    code = "ExpiredTokenException"
    status = 403


class S3ExpiredToken(ExpiredToken):
    """S3: the session token is too old."""

    status = 400


class RequestExpired(ServiceError):
    """EC2: the session token is too old."""

    code = "RequestExpired"
    status = 400


class JsonInvalidSignatureException(InvalidSignatureException):
    """As `InvalidSignatureException`, in services of JSON 1.0 and 1.1, which answer 400."""

    status = 400


class JsonUnrecognizedClientException(UnrecognizedClientException):
    """As `UnrecognizedClientException`, in services of JSON 1.0 and 1.1, which answer 400."""

    status = 400


class JsonExpiredTokenException(ExpiredTokenException):
    """As `ExpiredTokenException`, in services of JSON 1.0 and 1.1, which answer 400."""

    status = 400


class JsonMissingAuthenticationTokenException(MissingAuthenticationTokenException):
    """As `MissingAuthenticationTokenException`, in services of JSON 1.0 and 1.1, which answer 400."""

    status = 400


class InvalidToken(ServiceError):
    """S3: the session token is not one of ours."""

    code = "InvalidToken"
    status = 400


class EntityTooLarge(ServiceError):
    """S3: the file of a form is longer than its policy allows."""

    code = "EntityTooLarge"
    status = 400


class EntityTooSmall(ServiceError):
    """S3: the file of a form is shorter than its policy demands."""

    code = "EntityTooSmall"
    status = 400


class InvalidPolicyDocument(ServiceError):
    """S3: the policy of a form has a wrong form."""

    code = "InvalidPolicyDocument"
    status = 400


class MalformedPOSTRequest(ServiceError):
    """S3: the body is no multipart/form-data."""

    code = "MalformedPOSTRequest"
    status = 400


class MaxPostPreDataLengthExceeded(ServiceError):
    """S3: the fields before the file are too long."""

    code = "MaxPostPreDataLengthExceeded"
    status = 400


class PreconditionFailed(ServiceError):
    """S3: what the request presumes does not hold."""

    code = "PreconditionFailed"
    status = 412


__all__ = [
    "AuthFailure",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "EntityTooLarge",
    "EntityTooSmall",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteBody",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidAction",
    "InvalidArgument",
    "InvalidClientTokenId",
    "InvalidParameterException",
    "InvalidParameterValue",
    "InvalidPolicyDocument",
    "InvalidRequest",
    "InvalidSignatureException",
    "InvalidToken",
    "InvalidURI",
    "JsonExpiredTokenException",
    "JsonInvalidSignatureException",
    "JsonMissingAuthenticationTokenException",
    "JsonUnrecognizedClientException",
    "MalformedInput",
    "MalformedPOSTRequest",
    "MalformedQueryString",
    "MalformedTrailerError",
    "MalformedXML",
    "MaxPostPreDataLengthExceeded",
    "MethodNotAllowed",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "MissingContentLength",
    "MissingParameter",
    "MissingRequestBodyError",
    "OperationNotImplemented",
    "PreconditionFailed",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RestUnknownOperation",
    "S3ExpiredToken",
    "SerializationException",
    "SignatureDoesNotMatch",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
    "XAmzContentSHA256Mismatch",
]

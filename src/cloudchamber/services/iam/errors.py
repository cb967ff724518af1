# SPDX-License-Identifier: Apache-2.0
"""Errors of IAM. Source: IAM API Reference, errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class NoSuchEntity(ServiceError):
    """It names an entity that does not exist."""

    code = "NoSuchEntity"
    status = 404


class EntityAlreadyExists(ServiceError):
    """It would create what exists."""

    code = "EntityAlreadyExists"
    status = 409


class DeleteConflict(ServiceError):
    """It would delete what still has something attached."""

    code = "DeleteConflict"
    status = 409


class LimitExceeded(ServiceError):
    """It would go beyond an account's quota."""

    code = "LimitExceeded"
    status = 409


class MalformedPolicyDocument(ServiceError):
    """The policy's text is no policy; the message says why."""

    code = "MalformedPolicyDocument"
    status = 400


class InvalidInput(ServiceError):
    """An input parameter is invalid or out of range."""

    code = "InvalidInput"
    status = 400


class InvalidClientTokenId(ServiceError):
    """The access key does not exist, or its token was changed. Source: Common Errors."""

    code = "InvalidClientTokenId"
    status = 403


class ExpiredToken(ServiceError):
    """The session is over. Source: Common Errors."""

    code = "ExpiredToken"
    status = 403


class InvalidAuthenticationCode(ServiceError):
    """The codes of an MFA device did not match."""

    code = "InvalidAuthenticationCode"
    status = 403


class PasswordPolicyViolation(ServiceError):
    """The password does not meet the account's password policy."""

    code = "PasswordPolicyViolation"
    status = 400


class EntityTemporarilyUnmodifiable(ServiceError):
    """It is being changed at this moment."""

    code = "EntityTemporarilyUnmodifiable"
    status = 409


class InvalidUserType(ServiceError):
    """The caller is no IAM user."""

    code = "InvalidUserType"
    status = 400


class ReportNotPresent(ServiceError):
    """There is no credential report."""

    code = "ReportNotPresent"
    status = 410


class ReportExpired(ServiceError):
    """The credential report is older than four hours."""

    code = "ReportExpired"
    status = 410


class InvalidPublicKey(ServiceError):
    """The text is no public key that IAM takes."""

    code = "InvalidPublicKey"
    status = 400


class UnrecognizedPublicKeyEncoding(ServiceError):
    """The public key is neither in the form of OpenSSH nor PEM."""

    code = "UnrecognizedPublicKeyEncoding"
    status = 400


class DuplicateSSHPublicKey(ServiceError):
    """The user has that key already."""

    code = "DuplicateSSHPublicKey"
    status = 400


class MalformedCertificate(ServiceError):
    """The text is no X.509 certificate in PEM."""

    code = "MalformedCertificate"
    status = 400


class InvalidCertificate(ServiceError):
    """The certificate cannot be used."""

    code = "InvalidCertificate"
    status = 400


class DuplicateCertificate(ServiceError):
    """The same certificate is in use already."""

    code = "DuplicateCertificate"
    status = 409


class KeyPairMismatch(ServiceError):
    """The private key does not belong to the certificate."""

    code = "KeyPairMismatch"
    status = 400


class UnmodifiableEntity(ServiceError):
    """Only the service that the role belongs to can change it."""

    code = "UnmodifiableEntity"
    status = 400


class PolicyNotAttachable(ServiceError):
    """The policy is for service-linked roles only."""

    code = "PolicyNotAttachable"
    status = 400

# SPDX-License-Identifier: Apache-2.0
"""Errors of KMS. Source: AWS Key Management Service API Reference, Errors of each action."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class _KmsError(ServiceError):
    status = 400


class NotFoundException(_KmsError):
    """The key or alias is not there."""

    code = "NotFoundException"


class DisabledException(_KmsError):
    """The key is disabled."""

    code = "DisabledException"


class KMSInvalidStateException(_KmsError):
    """The key's state does not let it be done."""

    code = "KMSInvalidStateException"


class AlreadyExistsException(_KmsError):
    """The alias exists."""

    code = "AlreadyExistsException"


class InvalidAliasNameException(_KmsError):
    """No alias may have the name."""

    code = "InvalidAliasNameException"


class InvalidArnException(_KmsError):
    """The ARN names no key or alias."""

    code = "InvalidArnException"


class InvalidCiphertextException(_KmsError):
    """It was not encrypted by this key with this context, or was changed since."""

    code = "InvalidCiphertextException"


class IncorrectKeyException(_KmsError):
    """Another key encrypted it."""

    code = "IncorrectKeyException"


class MalformedPolicyDocumentException(_KmsError):
    """The key policy is not one."""

    code = "MalformedPolicyDocumentException"


class UnsupportedOperationException(_KmsError):
    """KMS could; this chamber cannot, or the key is not of that kind."""

    code = "UnsupportedOperationException"


class ValidationException(_KmsError):
    """The input does not fit."""

    code = "ValidationException"


class DryRunOperationException(_KmsError):
    """It would have succeeded; `DryRun` was given."""

    code = "DryRunOperationException"


class TagException(_KmsError):
    """A tag is none."""

    code = "TagException"


class InvalidMarkerException(_KmsError):
    """The marker is not one of ours."""

    code = "InvalidMarkerException"

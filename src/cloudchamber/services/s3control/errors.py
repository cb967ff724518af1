# SPDX-License-Identifier: Apache-2.0
"""Errors of S3 Control. Source: Amazon S3 API Reference, "Error responses"; words as AWS was recorded."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class AccountForbidden(ServiceError):
    """The account that is named is not the caller's."""

    code = "AccessDenied"
    status = 403


class InvalidRequest(ServiceError):
    """The request makes no sense."""

    code = "InvalidRequest"
    status = 400


class InvalidTag(ServiceError):
    """A tag is not valid, or comes twice."""

    code = "InvalidTag"
    status = 400


class NoSuchPublicAccessBlockConfiguration(ServiceError):
    """Nobody has set the account's switches."""

    code = "NoSuchPublicAccessBlockConfiguration"
    status = 404


class NoSuchResource(ServiceError):
    """There is no such bucket."""

    code = "NoSuchResource"
    status = 404

# SPDX-License-Identifier: Apache-2.0
"""Error codes. Source: EC2 Instance Connect API Reference, SendSSHPublicKey."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class InvalidArgsException(ServiceError):
    """A value that is none."""

    code = "InvalidArgsException"
    status = 400


class EC2InstanceNotFoundException(ServiceError):
    """No such instance."""

    code = "EC2InstanceNotFoundException"
    status = 400


class EC2InstanceStateInvalidException(ServiceError):
    """The instance does not run."""

    code = "EC2InstanceStateInvalidException"
    status = 400

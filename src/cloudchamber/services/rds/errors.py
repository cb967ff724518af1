# SPDX-License-Identifier: Apache-2.0
"""RDS's errors. Source: Amazon RDS API Reference, the Errors section of each action, and Common Errors."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class DBInstanceAlreadyExists(ServiceError):
    """The user already has a DB instance with the given identifier."""

    code = "DBInstanceAlreadyExists"
    status = 400


class DBInstanceNotFound(ServiceError):
    """`DBInstanceIdentifier` does not refer to an existing DB instance."""

    code = "DBInstanceNotFound"
    status = 404


class InvalidDBInstanceState(ServiceError):
    """The DB instance is not in a valid state."""

    code = "InvalidDBInstanceState"
    status = 400


class InvalidParameterValue(ServiceError):
    """An invalid or out-of-range value was supplied."""

    code = "InvalidParameterValue"
    status = 400


class InvalidParameterCombination(ServiceError):
    """Parameters that must not be used together, or that are not available for this engine."""

    code = "InvalidParameterCombination"
    status = 400


class MissingParameter(ServiceError):
    """A required parameter is missing."""

    code = "MissingParameter"
    status = 400


class InstanceQuotaExceeded(ServiceError):
    """The request would result in more DB instances than allowed."""

    code = "InstanceQuotaExceeded"
    status = 400


class DBParameterGroupNotFound(ServiceError):
    """`DBParameterGroupName` does not refer to an existing DB parameter group."""

    code = "DBParameterGroupNotFound"
    status = 404


class DBSubnetGroupNotFound(ServiceError):
    """`DBSubnetGroupName` does not refer to an existing DB subnet group."""

    code = "DBSubnetGroupNotFoundFault"
    status = 404


class OptionGroupNotFound(ServiceError):
    """The specified option group could not be found."""

    code = "OptionGroupNotFoundFault"
    status = 404


class DBSubnetGroupAlreadyExists(ServiceError):
    """`DBSubnetGroupName` is already used by an existing DB subnet group."""

    code = "DBSubnetGroupAlreadyExists"
    status = 400


class DBSubnetGroupDoesNotCoverEnoughAZs(ServiceError):
    """Subnets must cover at least two Availability Zones."""

    code = "DBSubnetGroupDoesNotCoverEnoughAZs"
    status = 400


class DBSubnetGroupQuotaExceeded(ServiceError):
    """More DB subnet groups than allowed."""

    code = "DBSubnetGroupQuotaExceeded"
    status = 400


class InvalidDBSubnetGroupState(ServiceError):
    """The DB subnet group cannot be deleted because it is in use."""

    code = "InvalidDBSubnetGroupStateFault"
    status = 400


class InvalidSubnet(ServiceError):
    """A subnet is invalid, or several are not in one VPC."""

    code = "InvalidSubnet"
    status = 400

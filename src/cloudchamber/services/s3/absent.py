# SPDX-License-Identifier: Apache-2.0
"""What no bucket here has, because it cannot be set yet: asked for it, S3 says that it is not there.

These answers are true, and clients that look before they act (Terraform, CDK) go on. Setting any of it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs
from cloudchamber.services.s3.errors import (
    ReplicationConfigurationNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]


@operation("GetBucketReplication", needs=needs.on_bucket("s3:GetReplicationConfiguration"))
async def get_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketReplication."""
    checks.bucket(call, request)
    raise ReplicationConfigurationNotFoundError()

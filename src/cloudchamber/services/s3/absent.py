# SPDX-License-Identifier: Apache-2.0
"""What no bucket here has, because it cannot be set yet: asked for it, S3 says that it is not there.

These answers are true, and clients that look before they act (Terraform, CDK) go on. Setting any of it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs
from cloudchamber.services.s3.errors import (
    NoSuchWebsiteConfiguration,
    ReplicationConfigurationNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]


@operation("GetBucketWebsite", needs=needs.on_bucket("s3:GetBucketWebsite"))
async def get_bucket_website(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketWebsite."""
    raise NoSuchWebsiteConfiguration(BucketName=checks.bucket(call, request).name)


@operation("GetBucketReplication", needs=needs.on_bucket("s3:GetReplicationConfiguration"))
async def get_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketReplication."""
    checks.bucket(call, request)
    raise ReplicationConfigurationNotFoundError()


@operation("GetBucketLogging", needs=needs.on_bucket("s3:GetBucketLogging"))
async def get_bucket_logging(call: Call, request: Request) -> dict[str, Any]:
    """Off. Source: Amazon S3 API Reference, GetBucketLogging."""
    checks.bucket(call, request)
    return {}


@operation("GetBucketAccelerateConfiguration", needs=needs.on_bucket("s3:GetAccelerateConfiguration"))
async def get_bucket_accelerate_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Never set. Source: Amazon S3 API Reference, GetBucketAccelerateConfiguration."""
    checks.bucket(call, request)
    return {}


@operation("GetBucketRequestPayment", needs=needs.on_bucket("s3:GetBucketRequestPayment"))
async def get_bucket_request_payment(call: Call, request: Request) -> dict[str, Any]:
    """The owner pays. Source: Amazon S3 API Reference, GetBucketRequestPayment."""
    checks.bucket(call, request)
    return {"Payer": "BucketOwner"}

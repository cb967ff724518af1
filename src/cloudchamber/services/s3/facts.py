# SPDX-License-Identifier: Apache-2.0
"""What S3 says of a bucket or an object to whoever decides: its owner and the bucket policy in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.s3.bucket_policy import restricted
from cloudchamber.services.s3.names import split_arn

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and bucket policy. Source: Amazon S3 User Guide, "Bucket policies" and "Block public access settings"."""
    bucket, _ = split_arn(arn)
    row = doors.database.peek(
        lambda db: db.execute(
            "SELECT account, policy, public_access_block FROM s3_buckets WHERE name = ?", (bucket,)
        ).fetchone()
    )
    if row is None:
        return None
    account, policy, block = row
    if not policy:
        return Facts(account)
    if block and '"RestrictPublicBuckets": true' in block:
        policy = restricted(policy)
    return Facts(account, policy, f"bucket policy of {bucket}")

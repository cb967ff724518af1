# SPDX-License-Identifier: Apache-2.0
"""Amazon S3."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.s3 import (
    absent,
    buckets,
    configuration,
    copying,
    listing,
    notifications,
    objects,
    uploads,
)
from cloudchamber.services.s3.facts import facts
from cloudchamber.services.s3.part import S3Part
from cloudchamber.services.s3.resources import BUCKET, BUCKET_POLICY

SERVICE = service(
    "s3",
    buckets,
    configuration,
    objects,
    copying,
    listing,
    uploads,
    notifications,
    absent,
    resources=(BUCKET, BUCKET_POLICY),
    part=S3Part,
    facts=facts,
)

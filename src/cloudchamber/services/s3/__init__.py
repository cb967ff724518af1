# SPDX-License-Identifier: Apache-2.0
"""Amazon S3."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.s3 import (
    absent,
    access,
    buckets,
    configuration,
    copying,
    listing,
    notifications,
    objects,
    tagging,
    uploads,
    versioning,
)
from cloudchamber.services.s3.facts import facts
from cloudchamber.services.s3.part import S3Part
from cloudchamber.services.s3.resources import BUCKET, BUCKET_POLICY

SERVICE = service(
    "s3",
    buckets,
    configuration,
    access,
    objects,
    copying,
    listing,
    uploads,
    notifications,
    tagging,
    versioning,
    absent,
    resources=(BUCKET, BUCKET_POLICY),
    part=S3Part,
    facts=facts,
)

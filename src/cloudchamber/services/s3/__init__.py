# SPDX-License-Identifier: Apache-2.0
"""Amazon S3."""

from __future__ import annotations

from cloudchamber.contract.service import CrossOrigin, service
from cloudchamber.services.s3 import (
    access,
    buckets,
    configuration,
    copying,
    cors,
    keeping,
    lifecycle,
    listing,
    logs,
    notifications,
    object_lock,
    objects,
    replication,
    restoring,
    tables,
    tagging,
    uploads,
    versioning,
    website,
)
from cloudchamber.services.s3.encryption import new_key
from cloudchamber.services.s3.facts import facts
from cloudchamber.services.s3.part import S3Part
from cloudchamber.services.s3.resources import BUCKET, BUCKET_POLICY

SERVICE = service(
    "s3",
    buckets,
    configuration,
    access,
    cors,
    keeping,
    logs,
    website,
    objects,
    copying,
    lifecycle,
    listing,
    uploads,
    notifications,
    object_lock,
    replication,
    restoring,
    tagging,
    versioning,
    resources=(BUCKET, BUCKET_POLICY),
    part=S3Part,
    facts=facts,
    cross_origin=CrossOrigin(cors.preflight, cors.cross_origin),
    served=logs.served,
    busy=tables.BUSY,
    remembered=tables.REMEMBERED,
    policies=(("s3_buckets", "policy"),),
    shared={"s3/key": new_key},
)

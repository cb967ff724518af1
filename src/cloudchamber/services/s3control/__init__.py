# SPDX-License-Identifier: Apache-2.0
"""Amazon S3 Control: what S3 is told of a whole account, and tags of buckets by their ARN."""

from cloudchamber.contract.service import service
from cloudchamber.services.s3control import public_access, tags

SERVICE = service("s3control", public_access, tags, shared={})

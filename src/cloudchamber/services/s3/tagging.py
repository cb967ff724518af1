# SPDX-License-Identifier: Apache-2.0
"""Tags of objects and of their versions. Source: Amazon S3 User Guide, "Categorizing your objects using tags"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, lookup, needs, versions
from cloudchamber.services.s3.errors import NoSuchKey
from cloudchamber.services.s3.names import tag_set, tags_of_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Object

    Request = Mapping[str, Any]


def told_version(found: Object) -> dict[str, Any]:
    """`VersionId`, where the bucket has or had versioning."""
    return {"VersionId": found.version} if found.versioned else {}


async def _retag(call: Call, request: Request, tags: Mapping[str, str], method: str) -> dict[str, Any]:
    bucket = checks.bucket(call, request)
    found = await lookup.existing(call, request, method=method, strict=True)
    value = json.dumps(tags) if tags else None
    await call.doors.database.write(lambda tx: versions.change(tx, bucket.name, found, "tags", value))
    return told_version(found)


@operation("PutObjectTagging", needs=needs.put_object_tagging)
async def put_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Replace an object's tags. Source: Amazon S3 API Reference, PutObjectTagging."""
    return await _retag(call, request, tags_of_set(request["Tagging"]["TagSet"], 10), "PUT")


@operation("GetObjectTagging", needs=needs.on_object("s3:GetObjectTagging"))
async def get_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """An object's tags. Source: Amazon S3 API Reference, GetObjectTagging."""
    checks.bucket(call, request)
    try:
        found = await lookup.existing(call, request, strict=True)
    except NoSuchKey:  # Why: so S3 names it here, and only here
        raise NoSuchKey(Key=f"{request['Bucket']}/{request['Key']}") from None
    return {**told_version(found), "TagSet": tag_set(dict(sorted(found.tag_values.items())))}


@operation("DeleteObjectTagging", needs=needs.on_object("s3:DeleteObjectTagging"))
async def delete_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Remove an object's tags. Source: Amazon S3 API Reference, DeleteObjectTagging."""
    return await _retag(call, request, {}, "DELETE")

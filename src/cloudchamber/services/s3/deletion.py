# SPDX-License-Identifier: Apache-2.0
"""What a deletion does, inside its transaction. Source: Amazon S3 User Guide, "Deleting Amazon S3 objects"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import conditions, events, object_lock, replication, tables, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.events import Sequencer
    from cloudchamber.services.s3.tables import Bucket
    from cloudchamber.store.database import Tx


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion did."""

    told: dict[str, Any]
    """Members of the response."""
    gone: list[str]
    """Blobs to delete after the commit."""
    emitted: int


def delete(
    tx: Tx,
    call: Call,
    sequencer: Sequencer,
    bucket: Bucket,
    key: str,
    version: str | None,
    request: Mapping[str, Any],
) -> Deleted:
    """Delete the current object (with versions: put a delete marker on top), or one version for good.

    Raises:
        PreconditionFailed, NoSuchKey: `IfMatch` of the request did not hold.
        AccessForbidden: Object Lock protects the version.
    """
    if version is None:
        found = tables.find_object(tx, bucket.name, key)
    else:
        found = versions.find(tx, bucket.name, key, version)
    if "IfMatch" in request:
        conditions.check_write(found, key, {"IfMatch": request["IfMatch"]})
    if version is None and bucket.versioning:
        tables.cross_uploads(tx, bucket.name, key)
        seq, modified = sequencer.number(), int(call.now.timestamp())
        to = replication.targets(bucket, key, 0, {}, marker=True)
        state = replication.pending(to)
        made, gone = versions.mark(tx, bucket, key, old=found, seq=seq, modified=modified, replication=state)
        replication.order(tx, bucket, key, made, to)
        described = {"eTag": events.EMPTY, "versionId": made}
        emitted = events.emit_matching(tx, call, sequencer, bucket, "ObjectRemoved:DeleteMarkerCreated", key, described)
        return Deleted({"DeleteMarker": True, "VersionId": made}, gone, emitted + len(to))
    told: dict[str, Any] = {"VersionId": version} if version is not None and bucket.versioning else {}
    if found is None:
        return Deleted(told, [], 0)
    if found.marker:
        told["DeleteMarker"] = True
    object_lock.check_delete(found, call.now, bypass=bool(request.get("BypassGovernanceRetention")))
    gone = versions.remove(tx, bucket.name, found)
    tables.cross_uploads(tx, bucket.name, key)
    named = {"versionId": found.version} if bucket.versioning else {}
    emitted = events.emit_matching(tx, call, sequencer, bucket, "ObjectRemoved:Delete", key, named)
    return Deleted(told, gone, emitted)

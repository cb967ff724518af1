# SPDX-License-Identifier: Apache-2.0
"""What makes the copies that replication ordered: at least once, as the role that the configuration names.

A copy has its source's version id, and so its place among the versions of its key; made twice, it is there once.

Source: Amazon S3 User Guide, "Setting up permissions for live replication", "Getting replication status information".
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.contract.operation import Need
from cloudchamber.services.s3 import events, labels, peers, tables, versions
from cloudchamber.services.s3.names import bucket_arn, object_arn
from cloudchamber.services.s3.replication import COMPLETED, FAILED, PENDING, REPLICA
from cloudchamber.store.outbox import Retry
from cloudchamber.track.track import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.services.s3.encryption import Keeper
    from cloudchamber.services.s3.events import Sequencer
    from cloudchamber.services.s3.peers import Peer
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.blobs import Blobs
    from cloudchamber.store.database import Tx
    from cloudchamber.store.outbox import Message

    Order = Mapping[str, Any]

TRIES_MAX = 3
_RETRY_S = 1.0
_RETRY_MAX_S = 300.0

_log = logging.getLogger(__name__)


class Replicator:
    """Makes the copies of all buckets."""

    def __init__(self, doors: Doors, blobs: Blobs, keeper: Keeper, sequencer: Sequencer) -> None:
        self._doors = doors
        self._keeper = keeper
        self._sender = peers.Sender(blobs, keeper, doors.clock)
        self._blobs = blobs
        self._sequencer = sequencer

    async def deliver(self, message: Message) -> None:
        """Make one copy."""
        order = message.payload
        look = versions.find
        found = self._doors.database.read(
            lambda db: look(db, order["bucket"], order["key"], order["version"], body=True)
        )
        if found is None:  # deleted for good meanwhile: there is nothing to copy
            return
        try:
            await self._allowed(order, found)
            peer = self._elsewhere(order["to"])
            if peer is None:
                await self._copy(order, found)
            else:
                await self._send(order, found, peer, message.attempts)
        except ServiceError as error:
            if message.attempts < TRIES_MAX:  # roles and policies may be about to be made
                raise Retry(_RETRY_S * 2**message.attempts) from error
            _log.warning("not replicated: %s/%s: %s %s", order["bucket"], order["key"], error.code, error.message)
            await self._doors.database.write(lambda tx: _tell(tx, order, FAILED))

    def _elsewhere(self, bucket: str) -> Peer | None:
        """Where a bucket is that this chamber has not."""
        if self._doors.database.peek(lambda db: tables.find_bucket(db, bucket)) is not None:
            return None
        return peers.read(self._doors.folder).get(bucket)

    async def _send(self, order: Order, found: Object, peer: Peer, attempts: int) -> None:
        """Make a copy in another chamber: again and again while nobody answers there."""
        if found.stored.get("sse") is not None:
            raise AccessDenied("what is under a key of KMS or of a customer is not copied to other chambers")
        try:
            await asyncio.to_thread(self._sender.send, order["to"], peer, found, order.get("class", ""))
        except peers.PeerSilent as error:
            _log.info("%s: replication waits: %s", order["to"], error)
            raise Retry(min(_RETRY_MAX_S, _RETRY_S * 2 ** min(attempts, 10))) from error
        except (peers.PeerRefused, OSError, ValueError) as error:  # octets that are broken, or what HTTP cannot say
            raise AccessDenied(str(error)) from error
        await self._doors.database.write(lambda tx: _tell(tx, order, COMPLETED))

    async def _allowed(self, order: Order, found: Object) -> None:
        """Become the role, and ask for each permission that the copy needs."""
        source, target = object_arn(order["bucket"], order["key"]), object_arn(order["to"], order["key"])
        wanted = [Need("s3:GetObjectVersionForReplication", source)]
        if found.marker:
            wanted = [Need("s3:ReplicateDelete", target)]
        else:
            wanted.append(Need("s3:ReplicateObject", target))
        if found.tags:
            wanted += [Need("s3:GetObjectVersionTagging", source), Need("s3:ReplicateTags", target)]
        trace = Trace.begin(int(self._doors.clock.now().timestamp()))
        role = await self._role(order, trace)
        for need in wanted:
            self._doors.parts["front"].permit(role, need, trace, service="s3", name="replication")

    async def _role(self, order: Order, trace: Trace) -> Principal:
        who = service_principal("s3.amazonaws.com", order["account"], bucket_arn(order["bucket"]))
        asked = {"RoleArn": order["role"], "RoleSessionName": "s3-replication"}
        answer = await self._doors.ask("sts", "AssumeRole", asked, principal=who, trace=trace, region=order["region"])
        given = answer["Credentials"]
        now = self._doors.clock.now()
        return self._doors.identities.credential(given["AccessKeyId"], given["SessionToken"], now).principal

    async def _link(self, order: Order, found: Object, blob: str) -> str:
        target = self._doors.database.read(lambda db: tables.bucket(db, order["to"]))
        return await self._blobs.link(blob, labels.of_version(self._doors, self._keeper, target, found))

    async def _copy(self, order: Order, found: Object) -> None:
        blob = await self._link(order, found, found.blob) if found.blob is not None else None
        cause = events.Cause.of_service(self._doors.clock.now())

        def change(tx: Tx) -> tuple[bool, int]:
            target = tables.bucket(tx, order["to"])
            if target.versioning != versions.ENABLED:
                raise AccessDenied("the destination bucket keeps no versions")
            now = versions.find(tx, order["bucket"], order["key"], order["version"])
            made = now is not None and versions.insert(
                tx, target.name, now, found.data, blob, REPLICA, order.get("class", "")
            )
            emitted = 0
            if made and not found.marker:
                described = {"size": found.size, "eTag": found.etag, "versionId": found.version}
                emitted = events.emit_matching(
                    tx, cause, self._sequencer, target, "ObjectCreated:Put", found.key, described
                )
            _tell(tx, order, COMPLETED)
            return made, emitted

        try:
            made, emitted = await self._doors.database.write(change)
        except ServiceError:
            self._blobs.delete([blob] if blob is not None else [])
            raise
        if not made and blob is not None:
            self._blobs.delete([blob])
        if emitted:
            self._doors.outbox.nudge()


def _tell(tx: Tx, order: Order, status: str) -> None:
    """Write the outcome of one copy; the version is COMPLETED when all of its copies are, FAILED when one has."""
    found = versions.find(tx, order["bucket"], order["key"], order["version"])
    if found is None or not found.replication:
        return
    state: dict[str, Any] = json.loads(found.replication)
    state["of"] = {**state.get("of", {}), order["to"]: status}
    outcomes = set(state["of"].values())
    state["status"] = FAILED if FAILED in outcomes else PENDING if PENDING in outcomes else COMPLETED
    versions.change(tx, order["bucket"], found, "replication", json.dumps(state))

# SPDX-License-Identifier: Apache-2.0
"""The live side of S3: its blobs, its key for encryption at rest, its sequencer, and the delivery of notifications."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied, ChamberError, ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.services.s3 import replication, tables, website
from cloudchamber.services.s3.access_log import AccessLog
from cloudchamber.services.s3.belonging import belong, belong_together
from cloudchamber.services.s3.encryption import Keeper
from cloudchamber.services.s3.events import TOPIC, Sequencer
from cloudchamber.services.s3.recent import Recent
from cloudchamber.services.s3.replicator import Replicator
from cloudchamber.services.s3.scrub import Scrubber
from cloudchamber.services.s3.sweeper import Sweeper
from cloudchamber.store.outbox import Retry
from cloudchamber.store.room import Room
from cloudchamber.track.track import Trace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Tx
    from cloudchamber.store.outbox import Message

REFUSALS_MAX = 3
"""How often a delivery that the function's policy or absence refuses is tried again before it is dropped."""
_RETRY_MAX_S = 300.0
_LOOK_S = 1.0
_SWEEP_S = 3600.0

_log = logging.getLogger(__name__)


class S3Part:
    """One for the chamber."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        folder = doors.folder / "s3"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.blobs = doors.open_blobs(folder / "blobs")
        self.blobs.room = self.room = doors.database.room or Room(doors.folder)
        self.keeper = Keeper(folder / "key")
        self.recent = Recent(doors.database)
        self.sequencer = Sequencer(doors.clock)
        self.log = AccessLog(doors)
        self.payers: frozenset[str] = frozenset()
        """Buckets whose requesters pay."""
        self.sweeper = Sweeper(doors, self.blobs, self.sequencer)
        self.restore_s = doors.restore_s
        self._replicator = Replicator(doors, self.blobs, self.keeper, self.sequencer)
        self.scrubber = Scrubber(doors, self.blobs, self.keeper, folder)
        self._sweep: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to deliver, and sweep what a crash left."""
        self._doors.outbox.subscribe(TOPIC, self._deliver)
        self._doors.outbox.subscribe(replication.TOPIC, self._replicator.deliver)
        self._doors.parts["front"].answer(website.claims, website.Websites(self._doors))
        self.read_settings()
        if self._doors.database.shared:
            await belong_together(self._doors.database, self.blobs)
        else:
            self.scrubber.known_state = await belong(self._doors.database, self._doors.folder / "s3")
        self._sweep = asyncio.create_task(self._keep_up(), name="s3 sweep")
        self.log.start()
        self.sweeper.start()
        self.scrubber.start()

    async def _keep_up(self) -> None:
        """Sweep what a crash left. Where others share the state, follow them: one sweeps, again and again."""
        database = self._doors.database
        if not database.shared:
            if self.scrubber.known_state:
                await self.blobs.sweep(self._known)
            return
        seen, due = -1, 0.0
        while True:
            now = self._doors.clock.now().timestamp()
            try:
                if database.changes != seen:
                    seen = database.changes
                    self.read_settings()
                if database.leads and now >= due:
                    due = now + _SWEEP_S
                    await self.scrubber.sweep()
            except ChamberError as error:
                _log.warning("what other chambers changed, or left, is looked at later: %s", error.message)
            await asyncio.sleep(_LOOK_S)

    def read_settings(self) -> None:
        """Read again which buckets have an access log, and which let requesters pay."""
        sql = "SELECT bucket, name, value FROM s3_settings WHERE name IN ('logging', 'payer')"
        rows = self._doors.database.read(lambda db: db.execute(sql).fetchall())
        self.log.targets = {bucket: json.loads(value) for bucket, name, value in rows if name == "logging"}
        self.payers = frozenset(bucket for bucket, name, _ in rows if name == "payer")
        self.recent.forget()

    def alone(self, bucket: str) -> bool:
        """Whether nothing is done with what is read from a bucket but to send it."""
        return bucket not in self.log.targets and bucket not in self.payers

    async def stop(self) -> None:
        """Deliver what logs wait; stop sweeping; finish the writing of blobs."""
        await self.log.stop()
        await self.sweeper.stop()
        await self.scrubber.stop()
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.gather(self._sweep, return_exceptions=True)
        await self.blobs.close()

    # What S3 Control asks

    def account_block(self, account: str) -> str | None:
        """The public access block of an account, as JSON; None if nobody has set one."""
        sql = "SELECT block FROM s3_accounts WHERE account = ?"
        row = self._doors.database.read(lambda db: db.execute(sql, (account,)).fetchone())
        return None if row is None else row[0]

    async def block_account(self, account: str, value: str | None) -> None:
        """Set it; None removes it."""

        def change(tx: Tx) -> None:
            if value is None:
                tx.execute("DELETE FROM s3_accounts WHERE account = ?", (account,))
            else:
                tx.execute("INSERT OR REPLACE INTO s3_accounts (account, block) VALUES (?, ?)", (account, value))

        await self._doors.database.write(change)

    def bucket_tags(self, bucket: str, account: str) -> dict[str, str] | None:
        """Tags of an account's bucket; None if it has no such bucket."""
        found = self._doors.database.read(lambda db: tables.find_bucket(db, bucket))
        return json.loads(found.tags or "{}") if found is not None and found.account == account else None

    async def retag_bucket(
        self, bucket: str, account: str, tags: Mapping[str, str], remove: frozenset[str], limit: int
    ) -> bool | None:
        """Set and remove single tags of an account's bucket; False: there is none, None: there would be too many."""

        def change(tx: Tx) -> bool | None:
            found = tables.find_bucket(tx, bucket)
            if found is None or found.account != account:
                return False
            old: dict[str, str] = json.loads(found.tags or "{}")
            made = {name: value for name, value in {**old, **tags}.items() if name not in remove}
            if len(made) > limit:
                return None
            tables.configure_bucket(tx, bucket, "tags", json.dumps(made))
            return True

        return await self._doors.database.write(change)

    def status(self) -> list[Mapping[str, Any]]:
        """How many buckets there are, and how much room is left on the disk."""
        count = self._doors.database.read(lambda db: db.execute("SELECT count(*) FROM s3_buckets").fetchone()[0])
        word, detail = self.room.state()
        return [
            {"kind": "s3", "id": "buckets", "state": "available", "detail": f"{count} buckets"},
            {"kind": "s3", "id": "disk", "state": word, "detail": detail},
        ]

    def scrub(self, bucket: str, octets_per_s: float) -> AsyncIterator[Mapping[str, Any]]:
        """Look at everything that is stored; see `contract.service.Scrubbing`."""
        return self.scrubber.run(bucket, octets_per_s)

    async def put_aside(self, *, discard: bool) -> list[dict[str, Any]]:
        """What scrubs put aside; `discard` forgets what was mended since."""
        if discard:
            await self.scrubber.discard()
        return self.scrubber.listed()

    def _known(self, blobs: Any) -> set[str]:
        return self._doors.database.read(lambda db: tables.known_blobs(db, blobs))

    async def _deliver(self, message: Message) -> None:
        """Hand one event to its function, as S3 does: asynchronously, so that Lambda retries what fails there."""
        payload = message.payload
        account = payload.get("account", self._doors.account)  # Why: messages of older versions did not say
        principal = service_principal("s3.amazonaws.com", account, payload["bucket_arn"])
        request = {
            "FunctionName": payload["function_arn"],
            "InvocationType": "Event",
            "Payload": payload["event"].encode(),
        }
        try:
            await self._doors.ask(
                "lambda",
                "Invoke",
                request,
                principal=principal,
                trace=Trace.parse(payload["trace"]),
                region=payload["region"],
            )
        except ServiceError as error:
            # Why: a refusal is not mended by waiting for ever; anything else is ours or Lambda's trouble and passes.
            final = isinstance(error, AccessDenied) or error.status == 404
            if final and message.attempts >= REFUSALS_MAX:
                _log.warning("dropped an event for %s: %s %s", payload["function_arn"], error.code, error.message)
                return
            raise Retry(min(_RETRY_MAX_S, 1.0 * 2 ** min(message.attempts, 10))) from error


def live(doors: Doors) -> S3Part:
    """The chamber's S3."""
    return doors.part("s3", S3Part)

# SPDX-License-Identifier: Apache-2.0
"""The live side of volumes and snapshots: folders follow their rows, and a row says `completed` only of a whole copy.

A volume is a folder, `ec2/volumes/<vol-id>`. While it is attached to an instance as a data volume it stands in
`ec2/<instance-id>/mnt`, which the instance sees as `/mnt`: to attach and to detach is to rename, and a running instance
sees it at once. What is under way when the chamber dies is done again, or, where a moment is gone, ends as an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from cloudchamber.sandbox import etc, uids
from cloudchamber.services.ec2 import disks, folders

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.sandboxes import Sandbox
    from cloudchamber.store.database import Tx

_log = logging.getLogger(__name__)
_AGAIN_S = 5.0
_COPIES_AT_ONCE = 2


class Storage:
    """Folders of volumes and snapshots. `sandbox_of` gives the sandbox of a running instance."""

    def __init__(self, doors: Doors, sandbox_of: Callable[[str], Sandbox | None]) -> None:
        self._doors = doors
        self._sandbox_of = sandbox_of
        self._home = doors.folder / "ec2"
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, int] = {}
        self._progress: dict[str, int] = {}
        self._interrupted: set[str] = set()
        self._copies = asyncio.Semaphore(_COPIES_AT_ONCE)
        self._stopping = False

    # Life

    async def start(self) -> None:
        """Go on with what was under way; what cannot be had any more is an error."""
        for name in ("volumes", "snapshots"):
            (self._home / name).mkdir(mode=0o700, parents=True, exist_ok=True)

        def change(tx: Tx) -> list[disks.Volume]:
            for row in disks.everything(tx, disks.Snapshot):
                if row.state == "pending" and not row.at_reboot and not row.source:
                    self._note_interrupted(tx, row)
                    self._lost(tx, row.id, "the chamber ended while it was taken")
            return disks.everything(tx, disks.Volume)

        rows = await self._doors.database.write(change)
        for row in rows:
            earlier = self._home / row.instance_id / "vol"  # where a root was before volumes had rows
            if row.is_root and folders.is_folder(earlier) and not folders.is_folder(self._bare(row.id)):
                earlier.rename(self._bare(row.id))
        for row in rows:
            if row.state in ("creating", "deleting") or row.attachment in ("attaching", "detaching"):
                self.wake(row.id)
        for row in self._doors.database.read(lambda db: disks.everything(db, disks.Snapshot)):
            if row.state == "pending" and row.source:
                self._begin(self._copy_of(row.id))
        self._begin(self._collect())

    def _note_interrupted(self, tx: Tx, row: disks.Snapshot) -> None:
        volume = disks.find(tx, disks.Volume, row.volume_id)
        if volume is not None and volume.instance_id:
            self._interrupted.add(volume.instance_id)

    async def found_again(self, instance_id: str, sandbox: Sandbox) -> None:
        """An instance was attached to after a restart: let it go on if a snapshot had stopped it."""
        if instance_id in self._interrupted:
            self._interrupted.discard(instance_id)
            await sandbox.thaw()

    async def stop(self) -> None:
        """Break off copies; instances that wait for one go on."""
        self._stopping = True
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the edge of a task nobody awaits: the log has the story
            _log.exception("work on volumes failed")

    def _lock(self, identifier: str) -> asyncio.Lock:
        return self._locks.setdefault(identifier, asyncio.Lock())

    def _now(self) -> float:
        return self._doors.clock.now().timestamp()

    # Places

    def _bare(self, volume_id: str) -> Path:
        return self._home / "volumes" / volume_id

    def root(self, volume_id: str) -> Path:
        """The folder of a volume that an instance boots from."""
        return self._bare(volume_id)

    def data(self, instance_id: str) -> Path:
        """The folder that an instance sees as /mnt."""
        return self._home / instance_id / "mnt"

    def _place(self, row: disks.Volume) -> Path:
        if row.instance_id and not row.is_root:
            inside = self.data(row.instance_id) / row.id
            if folders.is_folder(inside):
                return inside
        return self._bare(row.id)

    def _snapshot(self, snapshot_id: str) -> Path:
        return self._home / "snapshots" / snapshot_id

    def is_there(self, row: disks.Volume) -> bool:
        """Whether a volume's folder is where it belongs."""
        return folders.is_folder(self._place(row))

    def progress(self, snapshot_id: str) -> int:
        """How much of a snapshot is done, in percent."""
        return self._progress.get(snapshot_id, 0)

    def is_held(self, instance_id: str) -> bool:
        """Whether an instance stands still for a copy."""
        return instance_id in self._held

    # Volumes

    def wake(self, volume_id: str) -> None:
        """Bring a volume to what its row says, soon."""
        if not self._stopping:
            self._begin(self.settle(volume_id))

    async def ready(self, instance_id: str) -> disks.Volume:
        """Bring all volumes of an instance to where they belong; gives its root.

        Raises:
            OSError: it has no root volume, or a volume could not be made.
        """
        data = self.data(instance_id)
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        for row in self._of(instance_id):
            await self.settle(row.id)
        rows = self._of(instance_id)
        failed = next((row.id for row in rows if row.state == "error"), "")
        root = next((row for row in rows if row.is_root), None)
        if failed or root is None:
            raise OSError(f"its volume {failed} could not be made" if failed else "it has no root volume")
        if not folders.is_folder(self._bare(root.id)):
            raise OSError(f"the folder of its root volume {root.id} is gone")
        return root

    def _of(self, instance_id: str) -> list[disks.Volume]:
        return self._doors.database.read(lambda db: disks.of_instance(db, instance_id))

    async def settle(self, volume_id: str) -> None:
        """Bring one volume to what its row says."""
        async with self._lock(volume_id):
            row = self._doors.database.read(lambda db: disks.find(db, disks.Volume, volume_id))
            if row is None:
                return
            try:
                await self._settled(row)
            except OSError as error:
                _log.error("%s (%s, %s): %s", row.id, row.state, row.attachment or "not attached", error)
                if row.state == "creating":
                    await self._change(row.id, state="error")
                else:
                    asyncio.get_running_loop().call_later(_AGAIN_S, self.wake, row.id)

    async def _settled(self, row: disks.Volume) -> None:
        if row.state == "creating":
            await self._make(row)
            await self._change(row.id, state="in-use" if row.instance_id else "available")
            self._begin(self._collect())
        if row.state == "deleting":
            await asyncio.to_thread(folders.remove, self._place(row))
            await self._doors.database.write(lambda tx: disks.delete(tx, disks.Volume, row.id))
        elif row.attachment == "attaching":
            await self._move_in(row)
            await self._change(row.id, attachment="attached")
        elif row.attachment == "detaching":
            await self._move_out(row)
            await self._change(
                row.id, state="available", instance_id="", device="", attachment="", attached=0, delete_on_termination=0
            )

    async def _change(self, volume_id: str, **values: object) -> None:
        await self._doors.database.write(lambda tx: disks.update(tx, disks.Volume, volume_id, **values))

    async def _make(self, row: disks.Volume) -> None:
        place = self._place(row)
        if folders.is_folder(place):
            return
        if row.snapshot_id and folders.is_folder(self._snapshot(row.snapshot_id)):
            await self._copy(self._snapshot(row.snapshot_id), self._bare(row.id))
        elif row.snapshot_id:
            raise OSError(f"the files of {row.snapshot_id} are gone")
        else:
            self._bare(row.id).mkdir(mode=0o755)

    async def _move_in(self, row: disks.Volume) -> None:
        if row.is_root:
            return
        data, bare = self.data(row.instance_id), self._bare(row.id)
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not folders.is_folder(bare):
            return
        await asyncio.to_thread(self._own, bare, row.instance_id)
        # Why: an ordinary user's instance may have put something of its own in this place.
        await asyncio.to_thread(folders.remove, data / row.id)
        bare.rename(data / row.id)

    def _own(self, folder: Path, instance_id: str) -> None:
        """Give a volume's files to the range of user ids that the instance has, where it has one."""
        root = next((row for row in self._of(instance_id) if row.is_root), None)
        if os.geteuid() != 0 or root is None or not folders.is_folder(self._bare(root.id)):
            return
        first = self._bare(root.id).stat().st_uid
        if first >= uids.FIRST:
            etc.change_owner(folder, lambda uid, gid: (uids.shifted(uid, first), uids.shifted(gid, first)))

    async def _move_out(self, row: disks.Volume) -> None:
        inside, bare = self.data(row.instance_id) / row.id, self._bare(row.id)
        if row.is_root or folders.is_folder(bare):
            return
        if folders.is_folder(inside):
            inside.rename(bare)
        else:
            _log.error("%s: its instance removed it from /mnt: it is empty now", row.id)
            bare.mkdir(mode=0o755)

    async def release(self, instance_id: str) -> None:
        """An instance was terminated: its volumes are deleted or let go, as each says.

        Raises:
            OSError: one of them is still in the instance's folder.
        """

        def change(tx: Tx) -> list[str]:
            rows = disks.of_instance(tx, instance_id)
            for row in rows:
                state = "deleting" if row.delete_on_termination else row.state
                disks.update(tx, disks.Volume, row.id, state=state, attachment="detaching")
            return [row.id for row in rows]

        for volume_id in await self._doors.database.write(change):
            await self.settle(volume_id)
        left = [row.id for row in self._of(instance_id)]
        if left:
            raise OSError(f"{', '.join(left)} could not be let go")

    # Copies

    async def hold(self, instance_id: str) -> None:
        """Let the processes of an instance stand still, until `let_go` was called as often."""
        if not instance_id:
            return
        self._held[instance_id] = self._held.get(instance_id, 0) + 1
        sandbox = self._sandbox_of(instance_id)
        if sandbox is not None and self._held[instance_id] == 1:
            try:
                await sandbox.freeze()
            except OSError as error:  # it is just ending; its volumes are copied as it leaves them
                _log.info("%s cannot be stopped for a copy: %s", instance_id, error)

    async def let_go(self, instance_id: str) -> None:
        """One of those who hold an instance is done."""
        if not instance_id:
            return
        self._held[instance_id] -= 1
        if self._held[instance_id]:
            return
        del self._held[instance_id]
        sandbox = self._sandbox_of(instance_id)
        if sandbox is not None:
            with contextlib.suppress(OSError):  # it has ended
                await sandbox.thaw()

    @contextlib.asynccontextmanager
    async def unread(self, instance_id: str) -> AsyncGenerator[None]:
        """No copy is made of the volumes of an instance meanwhile; those that are being made are waited for."""
        async with contextlib.AsyncExitStack() as stack:
            for row in sorted(self._of(instance_id), key=lambda one: one.id):
                await stack.enter_async_context(self._lock(row.id))
            yield

    async def take(self, instance_id: str, snapshot_ids: Sequence[str]) -> None:
        """Begin to take snapshots of volumes of one instance (or, empty, of none), all of this moment."""
        await self.hold(instance_id)
        self._begin(self._taken(instance_id, snapshot_ids))

    async def _taken(self, instance_id: str, snapshot_ids: Sequence[str]) -> None:
        try:
            for snapshot_id in snapshot_ids:
                await self._take(snapshot_id)
        finally:
            await self.let_go(instance_id)

    async def due(self, instance_id: str) -> None:
        """Take the snapshots that waited for the instance to be down."""
        for row in self._doors.database.read(lambda db: disks.due_at_reboot(db, instance_id)):
            await self._take(row.id)

    async def _take(self, snapshot_id: str) -> None:
        row = self._doors.database.read(lambda db: disks.find(db, disks.Snapshot, snapshot_id))
        if row is None or row.state != "pending":
            return
        async with self._lock(row.volume_id):
            volume = self._doors.database.read(lambda db: disks.find(db, disks.Volume, row.volume_id))
            source = self._place(volume) if volume is not None else self._bare(row.volume_id)
            await self._finish(row.id, source)

    async def _copy_of(self, snapshot_id: str) -> None:
        """Make a snapshot that is a copy of another one."""
        row = self._doors.database.read(lambda db: disks.find(db, disks.Snapshot, snapshot_id))
        if row is not None and row.state == "pending":
            await self._finish(row.id, self._snapshot(row.source))
            await self._collect()

    def copy(self, snapshot_id: str) -> None:
        """Begin to copy the snapshot that a new one names as its source."""
        self._begin(self._copy_of(snapshot_id))

    async def _finish(self, snapshot_id: str, source: Path) -> None:
        try:
            octets = await self._copy(source, self._snapshot(snapshot_id), snapshot_id)
        except OSError as error:
            _log.error("%s could not be taken: %s", snapshot_id, error)
            reason = str(error)
            await self._doors.database.write(lambda tx: self._lost(tx, snapshot_id, reason))
        else:
            now = self._now()

            def done(tx: Tx) -> None:
                disks.update(
                    tx, disks.Snapshot, snapshot_id, state="completed", progress=100, completed=now, octets=octets
                )

            await self._doors.database.write(done)
        finally:
            self._progress.pop(snapshot_id, None)

    def _lost(self, tx: Tx, snapshot_id: str, reason: str) -> None:
        disks.update(tx, disks.Snapshot, snapshot_id, state="error", message=reason[:255])

    async def _copy(self, source: Path, target: Path, snapshot_id: str = "") -> int:
        async with self._copies:
            return await asyncio.to_thread(self._copied, source, target, snapshot_id)

    def _copied(self, source: Path, target: Path, snapshot_id: str) -> int:
        whole = max(1, folders.size(source)) if snapshot_id else 1

        def told(octets: int) -> None:
            if self._stopping:
                raise OSError("the chamber is stopping")
            if snapshot_id:
                self._progress[snapshot_id] = min(99, octets * 100 // whole)

        return folders.Copy(told).make(source, target)

    def forget(self) -> None:
        """Snapshots or volumes were deleted: remove files that nobody needs, soon."""
        self._begin(self._collect())

    async def _collect(self) -> None:
        needed = self._doors.database.read(disks.needed_snapshots)
        for folder in sorted((self._home / "snapshots").iterdir()):
            if folder.name.removesuffix(".part") not in needed:
                await asyncio.to_thread(folders.remove, folder)

# SPDX-License-Identifier: Apache-2.0
"""The live side of EC2: makes reality follow the rows, and the rows follow reality.

Each instance is brought to what its row says by one task at a time, so a chamber that died at any moment goes on where
it was. A running instance outlives the chamber; its calls wait in the listeners' backlogs and go on after a restart.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import platform
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.sandbox.spec import Exit, Listener
from cloudchamber.services.ec2 import (
    boot,
    catalog,
    errors,
    folders,
    host,
    lifecycle,
    nets,
    tables,
    truststore,
    user_data,
)
from cloudchamber.services.ec2.datagrams import Datagrams
from cloudchamber.services.ec2.entrance import Entrance
from cloudchamber.services.ec2.filters import Filters
from cloudchamber.services.ec2.health import Checks
from cloudchamber.services.ec2.imds import Imds
from cloudchamber.services.ec2.opened import Closed, Open
from cloudchamber.services.ec2.resolver import Resolver
from cloudchamber.services.ec2.ssh import Ssh
from cloudchamber.services.ec2.storage import Storage
from cloudchamber.services.ec2.traffic import Traffic
from cloudchamber.services.ec2.web import Web
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.sandboxes import Sandbox
    from cloudchamber.sandbox.spec import SandboxSpec
    from cloudchamber.store.database import Tx

_log = logging.getLogger(__name__)
_STOP_GRACE_S = 10.0
_AGAIN_S = 5.0
"""When an end that failed is tried again."""
_REBOOT_EXIT = 64
"""Exit code by which the first process asks to be started again (`reboot` inside)."""
_WALLS = ("ns-root", "ns-user")
"""Sandbox modes in which an instance has files, processes and ports of its own."""


class Endpoint(Protocol):
    """A database's endpoint: a loopback address and port, the same inside and outside."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...


class Compute:
    """Instances of this chamber. Others may use `may_reach`, `endpoint_added` and `endpoint_removed`."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._folder = doors.folder / "ec2"
        self._open: dict[str, Open] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._side: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._imds = Imds(doors)
        self._truststore = truststore.Truststore(doors)
        self._filters = Filters(doors)
        self._furnished: set[tuple[str, str]] = set()
        self._resolver = Resolver(doors)
        self.ssh = Ssh(doors, self._folder, self.sandbox)
        self._traffic = Traffic(doors, self, self._filters, self.ssh)
        self._datagrams = Datagrams(doors, self, self._filters)
        self._entrance = Entrance(doors, self, self.ssh)
        self.web = Web(doors, self)
        self.storage = Storage(doors, self.sandbox)
        self.checks = Checks()

    async def start(self) -> None:
        """Find running instances again, finish what was under way, open the HTTPS front."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        places = self._doors.database.read(tables.places) | {(self._doors.account, self._doors.region)}
        for account, region in places:
            await self.ensure_defaults(account, region)
        await self.storage.start()
        await self.web.start()
        restarted = host.restarted(self._folder / "boot-id")
        for row in self._doors.database.read(tables.all_instances):
            if row.state in ("running", "stopping"):
                await self._find_again(row, restarted)
            self.wake(row.id)

    async def stop(self) -> None:
        """Let go of instances; they run on."""
        self._stopping = True
        tasks = [*self._busy.values(), *self._side]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._resolver.stop()
        await self.storage.stop()
        for opened in self._open.values():
            opened.close()
        self._entrance.stop()
        self.ssh.stop()
        await self.web.stop()

    async def halt(self) -> None:
        """End running instances with the chamber; they boot again at its next start, as after a host's maintenance."""
        rows = [r for r in self._doors.database.read(tables.all_instances) if r.state == "running"]

        def change(tx: Tx) -> None:
            for row in rows:
                tables.update_instance(tx, row.id, rebooting=True)

        self._stopping = True
        await self._doors.database.write(change)
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        await asyncio.gather(*(self._end(row) for row in rows))

    def status(self) -> list[Mapping[str, Any]]:
        """One row for each instance, and one for the HTTPS front."""
        rows: list[Mapping[str, Any]] = [{"kind": "https", "id": self.web.url, "state": "listening", "detail": ""}]
        for row in self._doors.database.read(tables.all_instances):
            detail = self.web.address_of(row.id) if row.state == "running" else row.reason
            killed = opened.killed if (opened := self._open.get(row.id)) is not None else 0
            if killed:
                detail += f" (the memory limit killed {killed} of its processes)"
            rows.append(
                {
                    "kind": "instance",
                    "id": row.id,
                    "state": row.state,
                    "detail": " ".join([row.type, row.private_ip, *self._entrance.at(row.id), detail]),
                    "url": self.web.address_of(row.id) if row.state == "running" else "",
                }
            )
        return rows

    async def ensure_defaults(self, account: str, region: str) -> None:
        """Make the default VPC of a region with all that is in it, once."""
        place = (account, region)
        if place in self._furnished:
            return
        if not self._doors.database.read(lambda db: nets.have_defaults(db, account, region)):
            await self._doors.database.write(lambda tx: nets.make_defaults(tx, account, region))
        self._furnished.add(place)

    # What operations ask

    def check_walls(self) -> None:
        """Refuse to run instances where sandboxes share this machine's files and ports.

        Raises:
            UnsupportedOperation: the sandbox mode has no namespaces.
        """
        mode = self._doors.sandboxes.mode
        if mode not in _WALLS:
            raise errors.UnsupportedOperation(
                "Instances need Linux namespaces, with files and ports of their own; the sandbox mode here is "
                f"'{mode}'. 'cloudchamber doctor' says why, and the command that allows them."
            )

    def wake(self, instance_id: str) -> None:
        """Bring an instance to what its row says, soon."""
        if self._stopping:
            return
        if instance_id in self._busy:
            self._again.add(instance_id)
            return
        task = asyncio.create_task(self._settle(instance_id), name=f"ec2 {instance_id}")
        self._busy[instance_id] = task
        task.add_done_callback(lambda _: self._settled(instance_id))

    def sandbox(self, instance_id: str) -> Sandbox | None:
        """The sandbox of a running instance."""
        opened = self._open.get(instance_id)
        return opened.sandbox if opened else None

    def console(self, instance_id: str, limit: int = 65536) -> bytes:
        """The end of what an instance wrote to its console, running or not."""
        opened = self._open.get(instance_id)
        if opened is not None:
            return opened.sandbox.console(limit)
        try:
            with (self._folder / instance_id / "console.log").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
                return file.read(limit)
        except OSError:
            return b""

    def placed(self, instance_id: str, account: str, region: str) -> tuple[str, bool] | None:
        """Zone of an instance of an account and region, and whether it runs; None if there is none."""
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None or (row.account, row.region) != (account, region) or row.state == "terminated":
            return None
        return row.zone, instance_id in self._open

    def public_parameters(self) -> dict[str, tuple[str, str]]:
        """Systems Manager's public parameters that name images: name -> image id, creation date."""
        machine = catalog.architecture(platform.machine())
        created = {image.id: image.created for image in catalog.images(machine)}
        return {name: (image, created[image]) for name, image in catalog.parameters(machine).items()}

    def used_elsewhere(self, group_id: str) -> bool:
        """Whether another service (databases) uses a security group."""
        asked = getattr(self._doors.parts.get("rds"), "uses_group", None)
        return bool(asked(group_id)) if asked is not None else False

    async def rules_changed(self) -> None:
        """Groups, rules or members changed: returns when every running instance's packet filter follows."""
        self.addresses_changed()
        await self._filters.apply({one: opened.sandbox for one, opened in self._open.items()})
        front = self._doors.parts["front"]
        for instance_id, opened in list(self._open.items()):
            row = self._doors.database.read(lambda db, one=instance_id: tables.instance(db, one))
            if row is not None:
                refuse = None if self._filters.lets_out(row) else partial(self._filters.no_services, row)
                await opened.lead_to_services(partial(front.serve, peer=row.private_ip), refuse)

    def addresses_changed(self) -> None:
        """Public addresses are somebody else's now: what listens there follows."""
        self._entrance.follow(list(self._open))

    # What the databases ask

    def may_reach(self, source: str, group_ids: Sequence[str], port: int) -> tuple[bool, str]:
        """Whether security groups let `source` connect to TCP `port` of a member of `group_ids`, and by which rule.

        `source` is an instance id or an IP address; addresses of instances count as those instances.
        """
        return self._filters.may_reach(source, group_ids, port)

    def endpoint_added(self, endpoint: Endpoint) -> None:
        """A database has an endpoint: running instances get a listener for it."""
        for instance_id in list(self._open):
            self._aside(self._add_endpoint(instance_id, endpoint))

    def endpoint_removed(self, endpoint: Endpoint) -> None:
        """A database is gone: connections to its address are refused from now on."""
        name = _listener_name(endpoint)
        for opened in self._open.values():
            served = opened.served.pop(name, None)
            if served is not None:
                served.close()
            listener = opened.sandbox.listeners.get(name)
            if listener is not None and listener.fileno() >= 0:
                opened.served[f"{name} closed"] = Closed(listener.dup())

    # Reality

    def _aside(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    def _settled(self, instance_id: str) -> None:
        self._busy.pop(instance_id, None)
        if instance_id in self._again:
            self._again.discard(instance_id)
            self.wake(instance_id)

    async def _settle(self, instance_id: str) -> None:
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None:
            return
        try:
            if row.state == "pending":
                await self._launch(row)
            elif row.state == "stopping":
                await self._end(row)
                await self._happened(row.id, "gone", of="stopping", ended_at=self._now())
            elif row.state == "shutting-down":
                await self._end(row, grace_s=2.0)
                await self.storage.release(row.id)
                await self._remove(self._folder / row.id)
                await self._happened(row.id, "gone", of="shutting-down", ended_at=self._now())
                self._imds.forget(row.id)
                await self.rules_changed()
                await self._forget()
            elif row.state == "running" and row.rebooting:
                await self._end(row)
                await self.storage.due(row.id)
                await self._launch(row)
        except Exception:  # noqa: BLE001 - the edge of a task nobody awaits: the log has the story, the row the outcome
            _log.exception("%s could not be brought to what follows %s", instance_id, row.state)
            if row.state in ("stopping", "shutting-down"):
                asyncio.get_running_loop().call_later(_AGAIN_S, self.wake, instance_id)
                return
            await self._happened(instance_id, "failed", code="Server.InternalError", reason="Internal error on launch")

    @staticmethod
    async def _remove(folder: Path) -> None:
        try:
            await asyncio.to_thread(folders.remove, folder)
        except OSError as error:
            _log.error("%s: remove it by hand", error)

    async def _happened(
        self,
        instance_id: str,
        event: lifecycle.Event,
        *,
        of: lifecycle.State | None = None,
        code: str = "",
        reason: str = "",
        **values: object,
    ) -> None:
        """Record what happened to an instance, if its state allows that.

        `of` is the state that was brought to its end: one that was terminated while it was being stopped still has a
        folder to lose.
        """

        def change(tx: Tx) -> None:
            row = tables.instance(tx, instance_id)
            to = lifecycle.after(row.state, event) if row is not None else None
            if to is not None and row is not None and of in (None, row.state):
                given = {**values, "reason_code": code, "reason": f"{code}: {reason}"} if code else values
                tables.update_instance(tx, instance_id, state=to, **given)

        await self._doors.database.write(change)

    async def _forget(self) -> None:
        before = self._now() - tables.TERMINATED_VISIBLE_S
        await self._doors.database.write(lambda tx: tables.forget_terminated(tx, before))

    def _now(self) -> float:
        return self._doors.clock.now().timestamp()

    async def _launch(self, row: tables.Instance) -> None:
        if row.id in self._open:
            return
        try:
            # Why: a chamber that died right after a launch left it running.
            sandbox = await self._doors.sandboxes.attach(self._folder / row.id) if not row.rebooting else None
            if sandbox is None:
                (self._folder / row.id).mkdir(mode=0o700, parents=True, exist_ok=True)
                root = self.storage.root((await self.storage.ready(row.id)).id)
                # Why aside: reading YAML takes its time.
                document = (await asyncio.to_thread(user_data.read, row.user_data)).packed()
                spec = self._spec(row, document, await asyncio.to_thread(self.ssh.host_line, row.id), root)
                async with self.storage.unread(row.id):
                    sandbox = await self._doors.sandboxes.launch(spec)
        except (OSError, TimeoutError) as error:
            _log.error("%s could not be launched: %s", row.id, error)
            await self._happened(
                row.id, "failed" if row.state == "pending" else "ended",
                code="Server.InternalError", reason=f"the sandbox could not be started: {error}",
                rebooting=False, ended_at=self._now(),
            )  # fmt: skip
            return
        try:
            await self._serve(row, sandbox)
        except Exception:
            # Why: what nobody serves must not run on behind a row that says it is stopped.
            self._open.pop(row.id, None)
            await sandbox.kill()
            raise
        await self._happened(row.id, "began", reason_code="", reason="", boots=row.boots + 1)
        if row.rebooting:
            await self._doors.database.write(lambda tx: tables.update_instance(tx, row.id, rebooting=False))
        _log.info("%s runs: %s", row.id, self.web.address_of(row.id))

    def _spec(self, row: tables.Instance, document: str, host_key: str, root: Path) -> SandboxSpec:
        subnet = self._doors.database.read(lambda db: nets.find(db, nets.Subnet, row.subnet_id))
        if subnet is None:
            raise OSError(f"its subnet {row.subnet_id} is gone")
        return boot.spec(
            self._doors, row, subnet, document, host_key, folder=self._folder / row.id, volume=root,
            rules=self._filters.of(row), further=[_listener(one) for one in self._endpoints()],
        )  # fmt: skip

    async def _serve(self, row: tables.Instance, sandbox: Sandbox) -> None:
        opened = self._open[row.id] = Open(sandbox)
        sandbox.on_kill(partial(self._killed, row, opened))
        if "imds" in sandbox.listeners:
            opened.served["imds"] = await self._imds.serve(sandbox.listeners["imds"], row.id)
        if "truststore" in sandbox.listeners:
            opened.served["truststore"] = await self._truststore.serve(sandbox.listeners["truststore"])
        # Why copies: who reads a socket must know when it is closed, and the sandbox closes its own at its end.
        if "names" in sandbox.listeners:
            opened.served["names"] = self._resolver.serve(sandbox.listeners["names"].dup(), row.id)
        if "outbound" in sandbox.listeners:
            opened.served["outbound"] = self._traffic.serve(sandbox.listeners["outbound"].dup(), row.id)
        if "datagrams" in sandbox.listeners:
            opened.served["datagrams"] = self._datagrams.serve(sandbox.listeners["datagrams"].dup(), row.id)
        await self.rules_changed()
        for endpoint in self._endpoints():
            await self._add_endpoint(row.id, endpoint)
        opened.watch = asyncio.create_task(self._watch(row.id, opened), name=f"watch {row.id}")

    def _endpoints(self) -> list[Endpoint]:
        asked = getattr(self._doors.parts.get("rds"), "endpoints", None)
        return list(asked()) if asked is not None else []

    async def _add_endpoint(self, instance_id: str, endpoint: Endpoint) -> None:
        opened = self._open.get(instance_id)
        name = _listener_name(endpoint)
        serve = getattr(self._doors.parts.get("rds"), "serve", None)
        if opened is None or name in opened.served or serve is None:
            return
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None:
            return
        try:
            listener: socket.socket | None = opened.sandbox.listeners.get(name)
            if listener is None:
                listener = await opened.sandbox.listen(_listener(endpoint))
            closed = opened.served.pop(f"{name} closed", None)
            if closed is not None:
                closed.close()
            # Why a copy: the database closes what it serves, and the listener must be there when it comes back.
            opened.served[name] = await _called(
                serve(listener.dup(), endpoint, peer_ip=row.private_ip, instance_id=instance_id)
            )
        except OSError as error:
            _log.error("%s cannot have a listener for %s:%s: %s", instance_id, endpoint.address, endpoint.port, error)

    def _killed(self, row: tables.Instance, opened: Open, count: int, text: str) -> None:
        """The memory limit killed processes of an instance that runs on: said on a track, and in the status."""
        opened.killed += count
        _log.warning("%s: %s (cloudchamber logs %s)", row.id, text, row.id)
        self._on_track(row, "out of memory", "OutOfMemory", killed=text)

    def _on_track(self, row: tables.Instance, name: str, error: str, **notes: str) -> None:
        now = self._now()
        segment = Segment(
            Trace.begin(int(now)).track_id, segment_id(), "", "ec2", name, now, now,
            status=500, error=error, resource=row.arn,
        )  # fmt: skip
        segment.notes.update(notes)
        self._doors.recorder.record(segment)

    async def _watch(self, instance_id: str, opened: Open) -> None:
        """See a sandbox end that nobody asked to end."""
        ended = await opened.sandbox.exited()
        if self._open.get(instance_id) is opened:
            self._open.pop(instance_id)
            self._filters.forget(instance_id)
            opened.watch = None
            opened.close()
            self.ssh.forget(instance_id)
            self.addresses_changed()
            await self._ended(instance_id, ended)

    async def _ended(self, instance_id: str, ended: Exit) -> None:
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None or row.state not in ("running", "pending"):
            return
        if ended.code == _REBOOT_EXIT and row.state == "running":
            await self._doors.database.write(lambda tx: tables.update_instance(tx, instance_id, rebooting=True))
        elif ended.code == 0:
            event: lifecycle.Event = "terminate" if row.shutdown_behavior == "terminate" else "ended"
            await self._happened(
                instance_id,
                event,
                code="Client.InstanceInitiatedShutdown",
                reason="Instance initiated shutdown",
                ended_at=self._now(),
            )
        else:
            why = (
                "out of memory" if ended.out_of_memory else ended.detail or f"its first process ended with {ended.code}"
            )
            _log.error("%s crashed: %s (cloudchamber logs %s)", instance_id, why, instance_id)
            self._on_track(row, "instance crashed", "Server.InternalError", why=why)
            await self._happened(
                instance_id,
                "ended",
                code="Server.InternalError",
                reason=f"the instance crashed: {why}",
                ended_at=self._now(),
            )
        self.wake(instance_id)

    async def _end(self, row: tables.Instance, grace_s: float = _STOP_GRACE_S) -> None:
        """End a sandbox because somebody asked for it; returns when nothing of it is left."""
        opened = self._open.pop(row.id, None)
        self._filters.forget(row.id)
        self.ssh.forget(row.id)
        if opened is not None:
            opened.close()
            self.addresses_changed()
            sandbox: Sandbox | None = opened.sandbox
        else:
            sandbox = await self._doors.sandboxes.attach(self._folder / row.id)
        if sandbox is not None:
            async with self.storage.unread(row.id):
                await sandbox.stop(grace_s)

    async def _find_again(self, row: tables.Instance, restarted: bool) -> None:
        """Attach to an instance after a restart of the chamber, or say what became of it."""
        sandbox = await self._doors.sandboxes.attach(self._folder / row.id)
        if sandbox is not None:
            await self.storage.found_again(row.id, sandbox)
            await self._serve(row, sandbox)
        elif row.state == "running" and restarted and row.auto_recovery != "disabled":
            # Why: nobody stopped it and it did not fail; AWS recovers an instance whose host went down, too.
            await self._doors.database.write(lambda tx: tables.update_instance(tx, row.id, rebooting=True))
        elif row.state == "running" and not row.rebooting:
            ended = self._doors.sandboxes.ended(self._folder / row.id) or Exit(
                -9, detail="it was gone when the chamber came back"
            )
            await self._ended(row.id, ended)


def _listener_name(endpoint: Endpoint) -> str:
    return f"rds-{endpoint.address}-{endpoint.port}"


def _listener(endpoint: Endpoint) -> Listener:
    return Listener(_listener_name(endpoint), endpoint.address, endpoint.port)


async def _called(result: Any) -> Any:
    """The result of a function that may be a coroutine function."""
    return await result if inspect.isawaitable(result) else result

# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds, wires, starts and stops everything."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cloudchamber import __version__, services
from cloudchamber.base import ids
from cloudchamber.base.clock import SystemClock, iso
from cloudchamber.base.errors import ChamberError
from cloudchamber.base.memory import give_back
from cloudchamber.console.app import Console
from cloudchamber.contract.call import Doors
from cloudchamber.contract.service import Outliving, discover
from cloudchamber.front.authority import Authority
from cloudchamber.front.listener import Listener
from cloudchamber.front.pipeline import Pipeline
from cloudchamber.sandbox.spawner import open_sandboxes
from cloudchamber.shell import ShellDoor
from cloudchamber.store import private
from cloudchamber.store.blobs import Blobs
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.store.outbox import BUSY, Outbox
from cloudchamber.store.shared_keys import share
from cloudchamber.track.recorder import Recorder

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudchamber.contract.service import Part, Service
    from cloudchamber.settings import Cluster, Settings

_log = logging.getLogger(__name__)
FILES_MAX = 65_536
SWITCH_S = 0.001
THREADS = 64
"""Of a chamber that shares its state: they wait for the store of blobs."""
_LOCAL = ("localhost", "s3.localhost", "localhost.localstack.cloud", "s3.localhost.localstack.cloud")
HTTPS_NAMES = (*_LOCAL, *(f"*.{name}" for name in _LOCAL), "127.0.0.1", "::1")
_LOCK_WAITS_S = (0.01, 0.04, 0.2)
"""Who only looks whether a chamber runs holds the lock for a moment."""


class Chamber:
    """A running system. `start` and `stop` once each; `doors` is what every service got."""

    doors: Doors
    endpoint: str

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._parts: dict[str, Any] = {}
        self._live: dict[str, Part] = {}
        self._lock: int | None = None
        self._apart: dict[str, Service] = {}
        self._where = ""
        """What this chamber shares with others; empty if nothing."""
        self._open_blobs: Callable[[Path], Blobs] = Blobs
        self._https: ssl.SSLContext | None = None

    async def start(self) -> None:
        """Start everything; returns when every part runs.

        Raises:
            ChamberError: another chamber has this state folder, or the port is taken.
        """
        folder = self.settings.state
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        await self._take_lock()
        # INVARIANT: the spawner starts before any secret is read into this process.
        self._sandboxes = open_sandboxes(folder / "sandbox", self.settings.mode or None)  # pyright: ignore[reportArgumentType] - checked there
        await self._sandboxes.start()
        found = discover(services)
        busy = BUSY.union(*(service.busy for service in found.values()))
        if self.settings.cluster is not None:
            found = self._join(self.settings.cluster, found, busy)
        else:
            remembered = frozenset[str]().union(*(service.remembered for service in found.values()))
            self._database = Database(folder / "chamber.db", busy, remembered)
        await migrate(self._database, {s.name: s.migrations for s in found.values() if s.migrations})
        if self.settings.cluster is not None:
            keys = {name: make for service in found.values() for name, make in (service.shared or {}).items()}
            await share(self._database, folder, self.settings.cluster.secret, keys)
        self._outbox = Outbox(self._database, self.clock)
        self._recorder = Recorder(folder / "tracks.db")
        pipeline = Pipeline()
        self._listener = Listener(pipeline)
        await self._listen()
        self._wire(found, pipeline)
        await self._outbox.start()
        self._parts["front"] = pipeline.part(self._listener)
        for name, service in found.items():
            if service.part is not None:
                self._parts[name] = self._live[name] = service.part(self.doors)
        await asyncio.gather(*(part.start() for part in self._live.values()))
        about = self._about()
        pipeline.inside = Console(self.doors, self._console_token(), about)
        self._shell = ShellDoor(folder, self.doors)
        self._shell.open()
        self._announce(about)

    async def stop(self) -> None:
        """Stop answering, end what runs (instances and databases come back at the next start), then the store."""
        (self.settings.state / "chamber.json").unlink(missing_ok=True)
        self._shell.close()
        await self._listener.close()
        for name in reversed(self._live):
            part = self._live[name]
            try:
                if isinstance(part, Outliving):
                    await part.halt()
                await part.stop()
            except Exception:  # noqa: BLE001 - the edge: the others must still be stopped
                _log.exception("stopping %s failed", name)
        await self._outbox.stop()
        await self._sandboxes.stop()
        self._recorder.close()
        await self._database.close()
        if self._lock is not None:
            os.close(self._lock)

    def _join(self, cluster: Cluster, found: dict[str, Service], busy: frozenset[str]) -> dict[str, Service]:
        """Use the state that several chambers share; the services that can."""
        from cloudchamber.store.blobs_s3 import StoredBlobs  # lazily: a chamber on its own needs none of it
        from cloudchamber.store.postgres import PostgresDatabase
        from cloudchamber.store.s3_client import Place, Store

        place = Place.of(cluster.blobs, *cluster.blobs_key)
        Store(place, self.clock, 1).check()
        self._database = PostgresDatabase(cluster.database, busy)
        self._where = f"rows on {self._database.home}, blobs on {place.endpoint}/{place.bucket}/{place.prefix}"
        self._open_blobs = lambda folder: StoredBlobs(folder, place, self.clock)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        self._apart = {name: service for name, service in found.items() if service.shared is None}
        return {name: service for name, service in found.items() if service.shared is not None}

    async def _take_lock(self) -> None:
        self._lock = os.open(self.settings.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for wait_s in (*_LOCK_WAITS_S, None):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if wait_s is None:
                    raise ChamberError(
                        f"a chamber runs on {self.settings.state} already",
                        "'cloudchamber status' shows it, 'stop' ends it",
                    ) from error
                await asyncio.sleep(wait_s)
            else:
                return

    async def _listen(self) -> None:
        port = self.settings.port
        for address in (self._more,) if self._more in ("0.0.0.0", "::") else ("127.0.0.1", self._more):
            if address:
                port = self._listen_on(address, port)
        self.endpoint = f"http://127.0.0.1:{port}"

    def _listen_on(self, address: str, port: int) -> int:
        try:
            return self._listener.listen(address, port, self._tls)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ChamberError(f"{address} is no address of this machine", "look at CLOUDCHAMBER_LISTEN") from error
            raise ChamberError(
                f"port {port} of {address} is taken", "stop what has it, or give another --port"
            ) from error

    @property
    def _more(self) -> str:
        """An address to answer on, besides the loopback's."""
        return self.settings.cluster.listen if self.settings.cluster is not None else ""

    def _tls(self) -> ssl.SSLContext:
        """For those who speak HTTPS to the API's port; made when somebody first does."""
        if self._https is None:
            self._https = self.doors.authority.https((*HTTPS_NAMES, self._more) if self._more else HTTPS_NAMES)
        return self._https

    def _wire(self, found: Mapping[str, Service], pipeline: Pipeline) -> None:
        make = found["iam"].identities
        if make is None:
            raise ChamberError("the iam service provides no identities")
        settings = self.settings
        identities = make(self._database, settings.state, settings.account, settings.root_key, self.clock)
        self.doors = Doors(
            account=settings.account,
            region=settings.region,
            endpoint=self.endpoint,
            folder=settings.state,
            clock=self.clock,
            database=self._database,
            outbox=self._outbox,
            recorder=self._recorder,
            sandboxes=self._sandboxes,
            authority=Authority(settings.state / "ca", self.clock),
            identities=identities,
            services=found,
            ask=pipeline.ask,
            parts=self._parts,
            https_port=settings.https_port,
            restore_s=settings.restore_s,
            legacy_buckets=settings.new_buckets == "legacy",
            encrypts_all=settings.encryption == "all",
            apart=self._apart,
            open_blobs=self._open_blobs,
        )
        pipeline.open(self.doors)

    def _console_token(self) -> str:
        """The console's token: made at first start, kept 0600."""
        path = self.settings.state / "console-token"
        return private.kept(path, lambda: ids.token().encode()).decode().strip()

    def _about(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "endpoint": self.endpoint,
            "region": self.settings.region,
            "account": self.settings.account,
            "sandbox_mode": self._sandboxes.mode,
            "limits_by": self._sandboxes.limits_by,
            "refused_modes": dict(self._sandboxes.refused),
            "not_blocked": list(self._sandboxes.not_blocked),
            "shared": self._where,
            "offers": sorted(self.doors.services),
            "root_key_given": self.settings.root_key is not None,
            "started": iso(self.clock.now()),
        }

    def _announce(self, about: dict[str, Any]) -> None:
        """Write down where this chamber is, for the command line."""
        if self.settings.root_key is not None:
            key, secret = self.settings.root_key
            given = {"AccessKeyId": key, "SecretAccessKey": secret}
            _write_private(self.settings.state / "root-given.json", json.dumps(given))
        _write_private(self.settings.state / "chamber.json", json.dumps(about, indent=1))
        _log.info("ready at %s, sandbox mode %s, IAM on", self.endpoint, self._sandboxes.mode)


def _write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by the owner only; good for this run, so not synced as a key is."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


async def run(settings: Settings) -> None:
    """Run a chamber until it is told to end (SIGTERM, SIGINT)."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    chamber = Chamber(settings)
    await chamber.start()
    await ended.wait()
    await chamber.stop()


def _allow_files() -> None:
    """Take as many descriptors as this user may have: connections of programs and sandboxes are many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def serve(settings: Settings) -> None:
    """Run a chamber in this process, on uvloop where it is installed."""
    _allow_files()
    give_back()
    # Why: a thread that commits or writes tracks holds the interpreter so long while requests wait; 5 ms is the default
    sys.setswitchinterval(SWITCH_S)
    try:
        import uvloop
    except ImportError:
        asyncio.run(run(settings))
        return
    uvloop.run(run(settings))

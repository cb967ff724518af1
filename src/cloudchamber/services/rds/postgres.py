# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL on this machine: one cluster and one server for each DB instance.

A folder of one instance: ``data`` (the cluster), ``s`` (its socket), ``log`` (its logs). A template cluster with
RDS's roles is made once; instances are copies of it, and one copy is kept ready.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError
from cloudchamber.services.rds import binaries
from cloudchamber.services.rds.control import ADMIN, Control, SqlError
from cloudchamber.services.rds.engine import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SOCKET = ".s.PGSQL.5432"
_UID_BASE = 0x70000000
"""User ids from here on belong to nobody (systemd, Users, Groups, UIDs and GIDs); each cluster has its own."""
_ROOM = Path("/mnt")
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_LAUNCHER = Path(__file__).with_name("launch.py")

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": "../s",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "wal_buffers": "1MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgresql.log.%Y-%m-%d-%H",
    "log_rotation_age": "60",
    "log_rotation_size": "10MB",
    "log_truncate_on_rotation": "off",
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "rds.force_ssl": "1",
}

# Why rds_superuser before rds_iam: its members hold rds_iam with ADMIN OPTION, which PostgreSQL counts as membership.
_HBA = f"""local all {ADMIN} trust
local all +rds_superuser scram-sha-256
local all +rds_iam trust
local all all scram-sha-256
"""

_ROLES = """
CREATE ROLE rds_superuser CREATEROLE CREATEDB;
CREATE ROLE rds_iam; CREATE ROLE rds_replication REPLICATION; CREATE ROLE rds_password;
GRANT pg_monitor, pg_signal_backend TO rds_superuser WITH ADMIN OPTION;
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
"""
_ROLES_15 = "GRANT pg_checkpoint TO rds_superuser WITH ADMIN OPTION;"
_ROLES_16 = """
GRANT pg_use_reserved_connections, pg_create_subscription TO rds_superuser WITH ADMIN OPTION;
GRANT rds_iam, rds_replication, rds_password TO rds_superuser WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
"""
_ROLES_17 = "GRANT pg_maintain TO rds_superuser WITH ADMIN OPTION;"


class LocalPostgres:
    """`Engine` over PostgreSQL's own programs. `folder` is private to us (0700 above it is fine)."""

    def __init__(self, folder: Path, explicit: Path | None = None) -> None:
        self._folder = folder
        self._explicit = explicit
        self._programs: binaries.Binaries | None = None
        self._ready = asyncio.Lock()
        self._spare: asyncio.Task[None] | None = None

    @property
    def version(self) -> str:
        """The real server's version; empty until `prepare`."""
        return self._programs.version if self._programs else ""

    async def prepare(self) -> None:
        """Find the programs, build the template, and begin a spare copy."""
        await self._find()
        async with self._ready:
            if not self._template.is_dir():
                await self._build_template()
        self._begin_spare()

    async def create(self, resource_id: str) -> None:
        """A copy of the template: the spare if it is ready."""
        if self._home(resource_id).is_dir():
            return
        await self.prepare()
        if self._spare is not None:
            await asyncio.wait([self._spare])
        spare = self._spare_home
        if spare.is_dir():
            spare.rename(self._home(resource_id))
            _sync_folder(self._folder)
        else:
            await asyncio.to_thread(self._copy, self._template, self._home(resource_id))
        self._begin_spare()

    async def start(self, resource_id: str, settings: Mapping[str, str]) -> None:
        """Start the server unless it runs, and wait until it takes connections."""
        await self._find()
        home = self._home(resource_id)
        if not (home / "data" / "PG_VERSION").exists():
            raise EngineError(f"{resource_id} has no cluster")
        if not self.running(resource_id):
            await asyncio.to_thread(self._configure, home, settings)
            await self._launch(
                home, [self._program("postgres"), "-D", str(self._inside(home) / "data")], home / "log" / "start.log"
            )
        await self._until_ready(resource_id)

    async def stop(self, resource_id: str) -> None:
        """Fast shutdown; immediate if that takes too long."""
        for number, wait_s in ((signal.SIGINT, _STOP_TIMEOUT_S), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
            if await self._signal(resource_id, number, wait_s):
                return
        raise EngineError(f"the server of {resource_id} does not end")

    async def destroy(self, resource_id: str) -> None:
        """Stop at once and remove the folder."""
        home = self._home(resource_id)
        if not home.is_dir():
            return
        for number in (signal.SIGQUIT, signal.SIGKILL):
            if await self._signal(resource_id, number, 10.0):
                break
        await asyncio.to_thread(shutil.rmtree, home)

    def running(self, resource_id: str) -> int:
        """The server's process id by ``postmaster.pid``, if that process really is this server; else 0."""
        data = self._home(resource_id) / "data"
        try:
            pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return 0
        return pid if _works_in(pid, data) else 0

    def watch(self, resource_id: str, ended: Callable[[], None]) -> Callable[[], None]:
        """Call `ended` when the process is gone."""
        loop = asyncio.get_running_loop()
        pid = self.running(resource_id)
        if not pid:
            return loop.call_soon(ended).cancel
        if sys.platform == "linux":
            try:
                handle = os.pidfd_open(pid)
            except OSError:
                return loop.call_soon(ended).cancel
            return _watch_handle(loop, handle, ended)
        return _watch_slowly(loop, lambda: bool(self.running(resource_id)), ended)

    def address(self, resource_id: str) -> Path:
        """The private socket."""
        return self._home(resource_id) / "s" / _SOCKET

    async def control(self, resource_id: str, database: str = "postgres") -> Control:
        """A session as the superuser."""
        return await Control.connect(self.address(resource_id), database)

    async def admit(self, resource_id: str, users: Mapping[str, bool]) -> None:
        """Rewrite ``pg_hba.conf`` with a line for each of `users` before the general ones, and let it be read."""
        lines = "".join(f'local all "{user}" {"trust" if free else "scram-sha-256"}\n' for user, free in users.items())
        home = self._home(resource_id)
        await asyncio.to_thread(_write_for_server, home / "data", "pg_hba.conf", lines + _HBA)
        control = await self.control(resource_id)
        try:
            await control.query("SELECT pg_reload_conf()")
        finally:
            await control.close()

    def log_tail(self, resource_id: str, octets: int = 4096) -> str:
        """The end of the newest log file."""
        files = sorted(self._home(resource_id).glob("log/*"), key=lambda file: file.stat().st_mtime)
        if not files:
            return ""
        with files[-1].open("rb") as file:
            file.seek(max(0, files[-1].stat().st_size - octets))
            return file.read().decode(errors="replace")

    async def _find(self) -> None:
        if self._programs is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._programs = await asyncio.to_thread(binaries.find, self._explicit)

    # -- folders

    def _home(self, resource_id: str) -> Path:
        return self._folder / resource_id

    @property
    def _template(self) -> Path:
        return self._folder / f"template-{self.version}"

    @property
    def _spare_home(self) -> Path:
        return self._folder / f"spare-{self.version}"

    def _inside(self, home: Path) -> Path:
        """Where a server sees its own folder."""
        return _ROOM / "home" if os.geteuid() == 0 else home

    def _program(self, name: str) -> str:
        programs = self._programs
        if programs is None:
            raise EngineError("the engine was not prepared")
        if os.geteuid() == 0 and programs.needed:
            return str(_ROOM / "programs" / programs.folder.relative_to(programs.needed[0].parent) / name)
        return str(programs.folder / name)

    def _begin_spare(self) -> None:
        if self._spare_home.is_dir() or (self._spare is not None and not self._spare.done()):
            return

        async def make() -> None:
            try:
                await asyncio.to_thread(self._copy, self._template, self._spare_home)
            except OSError:
                return  # a spare is a convenience; `create` copies by itself and says what is wrong

        self._spare = asyncio.create_task(make(), name="rds spare")

    def _copy(self, source: Path, target: Path) -> None:
        """Copy a cluster under a passing name, sync it, publish it by its name."""
        passing = target.with_name(f".{target.name}.{ids.letters(6)}")
        try:
            _make_home(passing)
            shutil.copytree(source / "data", passing / "data", copy_function=shutil.copyfile, symlinks=True)
            (passing / "data" / "postmaster.pid").unlink(missing_ok=True)
            _own(passing, _fresh_uid() if os.geteuid() == 0 else 0)
            _sync_tree(passing)
            passing.rename(target)
            _sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(passing, ignore_errors=True)
            raise

    def _configure(self, home: Path, settings: Mapping[str, str]) -> None:
        """Write the server's configuration whole, and remove logs older than three days, as RDS does."""
        merged = {**_SETTINGS, **settings}
        if (self._programs and self._programs.major) == 18:
            merged.setdefault("io_method", "sync")
        text = "".join(f"{key} = '{value}'\n" for key, value in merged.items())
        _write_for_server(home / "data", "postgresql.conf", text)
        _write_for_server(home / "data", "pg_hba.conf", _HBA)
        logs = sorted((home / "log").glob("postgresql.log.*"))
        for old in logs[: max(0, len(logs) - 72)]:
            old.unlink()

    # -- processes

    def _spec(self, home: Path, argv: list[str], log: str, detach: bool) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "argv": argv,
            "cwd": str(self._inside(home)),
            "environment": {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            "uid": 0,
            "mounts": [],
            "files": [],
            "log": log,
            "detach": detach,
        }
        if os.geteuid() == 0:
            uid = (home / "data").stat().st_uid
            names = home / "passwd"
            names.write_text(f"postgres:x:{uid}:{uid}::/:/bin/false\n")
            os.chmod(names, 0o644)
            needed = self._programs.needed if self._programs else ()
            spec["uid"] = uid
            spec["files"] = [[str(names), "/etc/passwd"]]
            spec["mounts"] = [[str(home), str(_ROOM / "home")]]
            spec["mounts"] += [[str(one), str(_ROOM / "programs" / one.name)] for one in needed]
        return spec

    async def _run(self, spec: dict[str, Any]) -> None:
        # Why a program of its own: it makes namespaces and forks, which a process with threads must not do itself.
        # Why not asyncio's subprocess: under uvloop the detached server keeps its pipe open, and the wait has no end.
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(spec)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", env={},
        )  # fmt: skip
        if done.returncode == 0:
            return
        said = done.stdout
        text = said.decode(errors="replace").strip()[-1000:]
        if "unshare:" in text:
            raise ChamberError(
                f"cannot start PostgreSQL as root here: {text}",
                "it needs a mount namespace (CAP_SYS_ADMIN); run the chamber as an ordinary user instead",
            )
        raise EngineError(text or f"exit status {done.returncode}")

    async def _launch(self, home: Path, argv: list[str], log: Path) -> None:
        await asyncio.to_thread(log.unlink, missing_ok=True)
        await self._run(self._spec(home, argv, str(log), detach=True))

    async def _until_ready(self, resource_id: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_TIMEOUT_S
        pause_s = 0.002
        began = loop.time()
        while loop.time() < deadline:
            try:
                control = await self.control(resource_id)
            except (OSError, EOFError, SqlError):
                # It writes its pid file within its first moments; gone after that means that it gave up.
                if loop.time() - began > 1.0 and not self.running(resource_id):
                    raise EngineError(f"the server ended: {self.log_tail(resource_id, 800)}") from None
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, 0.1)
            else:
                await control.close()
                return
        raise EngineError(f"the server takes no connections: {self.log_tail(resource_id, 800)}")

    async def _signal(self, resource_id: str, number: int, wait_s: float) -> bool:
        """Send a signal and wait for the end; whether it came."""
        pid = self.running(resource_id)
        if not pid:
            return True
        gone = asyncio.Event()
        cancel = self.watch(resource_id, gone.set)
        try:
            os.kill(pid, number)
            async with asyncio.timeout(wait_s):
                await gone.wait()
        except ProcessLookupError:
            return True
        except TimeoutError:
            return False
        finally:
            cancel()
        return True

    async def _build_template(self) -> None:
        programs = self._programs
        if programs is None:
            raise EngineError("the engine was not prepared")
        home = self._folder / f".template.{ids.letters(6)}"
        try:
            _make_home(home)
            (home / "data").mkdir(mode=0o700)
            _own(home, _fresh_uid() if os.geteuid() == 0 else 0)
            locale = (
                ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
                if programs.major >= 17
                else ["--locale=C"]
            )
            argv = [self._program("initdb"), "-D", str(self._inside(home) / "data"), "-U", ADMIN, "-A", "trust"]
            argv += ["-E", "UTF8", "--no-sync", *locale]
            await self._run(self._spec(home, argv, "", detach=False))
            await self._add_roles(home)
            await asyncio.to_thread(_sync_tree, home)
            home.rename(self._template)
            _sync_folder(self._folder)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise

    async def _add_roles(self, home: Path) -> None:
        major = self._programs.major if self._programs else 0
        steps = [_ROLES, *(sql for since, sql in ((15, _ROLES_15), (16, _ROLES_16), (17, _ROLES_17)) if major >= since)]
        await self.start(home.name, {"fsync": "off"})
        try:
            control = await self.control(home.name)
            for step in steps:
                await control.query(step)
            await control.close()
        finally:
            await self.stop(home.name)


def _make_home(home: Path) -> None:
    home.mkdir(mode=0o755)
    os.chmod(home, 0o755)
    for name in ("s", "log"):
        (home / name).mkdir(mode=0o700)


def _write_for_server(data: Path, name: str, content: str) -> None:
    """Replace a file of the server's, readable for it alone."""
    passing = data / f"{name}.new"
    passing.write_text(content)
    os.chmod(passing, 0o600)
    if os.geteuid() == 0:
        owner = data.stat().st_uid
        os.chown(passing, owner, owner)
    passing.replace(data / name)


def _fresh_uid() -> int:
    return _UID_BASE + 1 + int(ids.hex_token(3), 16)


def _own(home: Path, uid: int) -> None:
    """Give everything inside to `uid` (0: leave the owner), readable for nobody else."""
    for name in ("data", "s", "log"):
        for folder, _, files in os.walk(home / name):
            os.chmod(folder, 0o700)
            if uid:
                os.chown(folder, uid, uid)
            for file in files:
                os.chmod(os.path.join(folder, file), 0o600)
                if uid:
                    os.chown(os.path.join(folder, file), uid, uid)


def _sync_tree(home: Path) -> None:
    """Force a tree of files to the disk."""
    if sys.platform == "linux" and _sync_file_system(home):
        return
    for folder, _, files in os.walk(home):
        for path in (*(os.path.join(folder, file) for file in files), folder):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _sync_file_system(home: Path) -> bool:
    """Force everything of a file system to the disk: 0.04 s, where a thousand files one by one take 1 s and more."""
    import ctypes

    handle = os.open(home, os.O_RDONLY)
    try:
        return ctypes.CDLL(None).syncfs(handle) == 0
    except AttributeError:
        return False
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _works_in(pid: int, data: Path) -> bool:
    """Whether a process is the server of `data`: PostgreSQL's working folder is its data folder."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), data.stat())
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # a system without /proc: the pid file alone has to do
    except OSError:
        return False


def _watch_handle(loop: asyncio.AbstractEventLoop, handle: int, ended: Callable[[], None]) -> Callable[[], None]:
    open_handles = [handle]

    def cancel() -> None:
        if open_handles:
            loop.remove_reader(open_handles[0])
            os.close(open_handles.pop())

    def gone() -> None:
        cancel()
        ended()

    loop.add_reader(handle, gone)
    return cancel


def _watch_slowly(
    loop: asyncio.AbstractEventLoop, alive: Callable[[], bool], ended: Callable[[], None]
) -> Callable[[], None]:
    timers: list[asyncio.TimerHandle] = []

    def look() -> None:
        timers.clear()
        if alive():
            timers.append(loop.call_later(0.25, look))
        else:
            ended()

    def cancel() -> None:
        for timer in timers:
            timer.cancel()

    look()
    return cancel

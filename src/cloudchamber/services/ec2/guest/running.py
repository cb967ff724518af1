# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""The processes of services: begun, watched, begun again as Restart= says, ended. Runs inside an instance.

Source: systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import time
from typing import Any

from unit_files import Unit, UnitError, argv, specifiers  # pyright: ignore[reportMissingImports] - beside this file

_BURST, _BURST_S = 5, 10.0


class Service:
    """A unit and what runs of it."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.pid = 0
        self.state = "inactive"
        self.code: int | None = None
        self.since = time.time()
        self.wanted = False
        self.starts: list[float] = []
        self.left: list[list[str]] = []
        self.waiting: list[Any] = []

    def to(self, state: str) -> None:
        """Change state and tell those who wait for it."""
        self.state, self.since = state, time.time()
        if state in ("active", "failed", "inactive"):
            waiting, self.waiting = self.waiting, []
            for tell in waiting:
                tell()


class Running:
    """What begins and ends the processes of services. `init` gives `child`, `after`, `env`."""

    def __init__(self, init: Any) -> None:
        self.init = init
        self.known: dict[str, Service] = {}
        self.stopping = False

    def begin(self, service: Service) -> None:
        """Run ExecStartPre= and ExecStart=, one after the other."""
        now = time.monotonic()
        service.starts = [t for t in service.starts if t > now - _BURST_S] + [now]
        if len(service.starts) > _BURST:
            print(f"[cloudchamber] {service.unit.name}: start request repeated too quickly: given up", flush=True)
            service.wanted = False
            service.to("failed")
            return
        service.wanted, service.code = True, None
        service.state = "activating"
        service.left = [["pre", c] for c in service.unit.all("ExecStartPre")] + [
            ["main", c] for c in service.unit.all("ExecStart")
        ]
        self._next(service)

    def _next(self, service: Service) -> None:
        stage, command = service.left.pop(0)
        oneshot = service.unit.one("Type", "simple") == "oneshot"
        try:
            pid = self._spawn(service, command, lambda code: self._ended(service, stage, command, code))
        except (OSError, UnitError, ValueError, KeyError) as error:
            print(f"[cloudchamber] {service.unit.name}: {command}: {error}", flush=True)
            service.code = 203
            service.left.clear()
            service.to("failed")
            self._again(service, 203)
            return
        service.pid = pid
        if stage == "main" and not oneshot:
            for post in service.unit.all("ExecStartPost"):
                self._spawn(service, post, lambda _code: None)
            service.to("active")

    def _ended(self, service: Service, stage: str, command: str, code: int) -> None:
        service.pid, service.code = 0, code
        passed = code == 0 or command.startswith("-")
        if not service.wanted:
            service.to("inactive")
            return
        if passed and service.left:
            self._next(service)
            return
        service.left.clear()
        if (
            passed
            and service.unit.one("Type", "simple") == "oneshot"
            and service.unit.one("RemainAfterExit") in ("yes", "true", "1")
        ):
            service.to("active")
            return
        clean = passed or code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
        if not clean:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            print(f"[cloudchamber] {service.unit.name}: {stage} process {how}", flush=True)
        service.to("inactive" if clean else "failed")
        self._again(service, code)

    def _again(self, service: Service, code: int) -> None:
        """Start again as Restart= says."""
        policy = service.unit.one("Restart", "no")
        failed = service.state == "failed"
        again = policy == "always" or (policy == "on-failure" and failed) or (policy == "on-success" and not failed)
        again = again or (policy in ("on-abnormal", "on-abort") and code < 0 and failed)
        if again and service.wanted and not self.stopping:
            service.state = "activating"
            self.init.after(service.unit.seconds("RestartSec", 0.1), lambda: self._if_wanted(service))

    def _if_wanted(self, service: Service) -> None:
        if service.wanted and service.pid == 0 and not self.stopping:
            self.begin(service)

    def end(self, service: Service) -> None:
        """Stop: ExecStop=, then the signal, then SIGKILL after the time it has."""
        service.wanted = False
        service.left.clear()
        if not service.pid:
            service.to("inactive")
            return
        pid = service.pid
        number = getattr(signal, service.unit.one("KillSignal", "SIGTERM"), signal.SIGTERM)
        for command in service.unit.all("ExecStop"):
            try:
                self._spawn(service, command, lambda _code: None)
            except (OSError, UnitError, ValueError) as error:
                print(f"[cloudchamber] {service.unit.name}: {command}: {error}", flush=True)
        _signal(pid, number)
        self.init.after(
            service.unit.seconds("TimeoutStopSec", 90.0), lambda: service.pid == pid and _signal(pid, signal.SIGKILL)
        )

    def _spawn(self, service: Service, command: str, ended: Any) -> int:
        unit = service.unit
        env = self._environment(service)
        words = argv(command.lstrip("-@+!:"), env)
        if "/" not in words[0]:
            words[0] = shutil.which(words[0], path=env["PATH"]) or words[0]
        folder = unit.one("WorkingDirectory", "/")
        optional = folder.startswith("-")
        folder = env.get("HOME", "/root") if folder.lstrip("-") == "~" else folder.lstrip("-")
        if optional and not os.path.isdir(folder):
            folder = "/"
        become, who = self._user(unit, env)
        capabilities = " ".join(unit.all("AmbientCapabilities")).lower().replace("cap_", "").split()
        if who is not None and capabilities:
            # Why: setpriv (util-linux) keeps capabilities over the change of user, which takes several system calls.
            become, kept = None, ",".join(f"+{name}" for name in capabilities)
            words = [
                "/usr/bin/setpriv",
                f"--reuid={who.pw_uid}",
                f"--regid={who.pw_gid}",
                "--init-groups",
                f"--inh-caps={kept}",
                f"--ambient-caps={kept}",
                "--",
                *words,
            ]
        output = _output(unit.one("StandardOutput"), 1)
        failures = (
            output if unit.one("StandardError", "inherit") == "inherit" else _output(unit.one("StandardError"), 2)
        )
        try:
            process = subprocess.Popen(
                words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=failures,
                start_new_session=True, preexec_fn=become, umask=int(unit.one("UMask", "022"), 8),
            )  # fmt: skip
        finally:
            for descriptor in {output, failures}:
                if descriptor > 2:
                    os.close(descriptor)

        def gone(code: int) -> None:
            process.returncode = code
            _signal(process.pid, signal.SIGKILL)  # Why: KillMode=control-group: what it left behind goes with it
            ended(code)

        self.init.child(process.pid, gone)
        return process.pid

    def _environment(self, service: Service) -> dict[str, str]:
        env = dict(self.init.env)
        for text in service.unit.all("Environment"):
            for word in shlex.split(specifiers(text, service.unit)):
                key, found, value = word.partition("=")
                if found:
                    env[key] = value
        for path in service.unit.all("EnvironmentFile"):
            try:
                with open(path.lstrip("-"), encoding="utf-8") as file:
                    for line in file:
                        key, found, value = line.strip().partition("=")
                        if found and not line.lstrip().startswith(("#", ";")):
                            words = shlex.split(value)
                            env[key.strip()] = words[0] if len(words) == 1 else value.strip()
            except FileNotFoundError:
                if not path.startswith("-"):
                    raise
        return env

    def _user(self, unit: Unit, env: dict[str, str]) -> tuple[Any, Any]:
        """A function that becomes the unit's user in the child, and that user; None twice for root."""
        name = unit.one("User")
        if name in ("", "root", "0"):
            return None, None
        try:
            who = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            raise UnitError(f"User={name}: no such user") from None
        env.update({"HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name})
        if who.pw_uid == os.getuid():
            return None, None
        if not _has_uid(who.pw_uid):
            print(
                f"[cloudchamber] {unit.name}: User={name}: this sandbox has one user only; it runs as root of the "
                f"instance",
                flush=True,
            )
            return None, None

        def become() -> None:
            os.initgroups(who.pw_name, who.pw_gid)
            os.setgid(who.pw_gid)
            os.setuid(who.pw_uid)

        return become, who


def _output(where: str, console: int) -> int:
    """A descriptor for StandardOutput= or StandardError=: the console stands for the journal."""
    kind, _, path = where.partition(":")
    if kind == "null":
        return os.open("/dev/null", os.O_WRONLY)
    if kind in ("append", "file", "truncate"):
        flags = os.O_WRONLY | os.O_CREAT | {"append": os.O_APPEND, "file": 0, "truncate": os.O_TRUNC}[kind]
        return os.open(path, flags, 0o644)
    return console


def _has_uid(uid: int) -> bool:
    """Whether the user namespace knows this uid."""
    try:
        with open("/proc/self/uid_map") as file:
            return any(
                int(first) <= uid < int(first) + int(count) for first, _, count in (line.split() for line in file)
            )
    except (OSError, ValueError):
        return True


def _signal(pid: int, number: int) -> None:
    """Signal a service's whole session."""
    try:
        os.killpg(pid, number)
    except OSError:
        pass

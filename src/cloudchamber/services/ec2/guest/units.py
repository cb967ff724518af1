# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Unit files as far as they are carried out here: simple services. Runs inside an instance, standard library only.

Source: systemd.unit(5), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import time
from typing import Any

FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
WANTS = "/etc/systemd/system/multi-user.target.wants"
_NAME = re.compile(r"[A-Za-z0-9:_.@\\-]{1,200}\.service")
_CARRIED_OUT = {
    "Type", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecReload", "Environment", "EnvironmentFile",
    "WorkingDirectory", "User", "Restart", "RestartSec", "TimeoutStopSec", "KillSignal", "RemainAfterExit", "UMask",
    "StandardOutput", "StandardError", "AmbientCapabilities",
}  # fmt: skip
_TYPES = ("simple", "exec", "oneshot", "notify", "idle")
_BURST, _BURST_S = 5, 10.0


class UnitError(Exception):
    """The unit cannot be used; the text says why."""


class Unit:
    """One unit file, read."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path
        self.values: dict[str, dict[str, list[str]]] = {}
        section, held = "", ""
        with open(path, encoding="utf-8", errors="replace") as file:
            for raw in file:
                line = held + raw.strip()
                held = ""
                if line.endswith("\\"):
                    held = line[:-1] + " "
                elif line.startswith("[") and line.endswith("]"):
                    section = line[1:-1]
                elif line and line[0] not in "#;" and "=" in line:
                    key, _, value = line.partition("=")
                    kept = self.values.setdefault(section, {}).setdefault(key.strip(), [])
                    if value.strip():
                        kept.append(value.strip())
                    else:
                        kept.clear()  # Why: an empty assignment resets a list

    def all(self, key: str, section: str = "Service") -> list[str]:
        """Every value of a key."""
        return self.values.get(section, {}).get(key, [])

    def one(self, key: str, default: str = "", section: str = "Service") -> str:
        """The last value of a key."""
        found = self.all(key, section)
        return found[-1] if found else default

    @property
    def description(self) -> str:
        """What it calls itself."""
        return self.one("Description", self.name, "Unit")

    def check(self) -> list[str]:
        """Raise UnitError for what cannot be run; return the directives that are not carried out."""
        kind = self.one("Type", "simple")
        if kind not in _TYPES:
            raise UnitError(
                f"Type={kind} is not supported in this instance (only {', '.join(_TYPES)}): let ExecStart= stay "
                f"in the foreground"
            )
        if not self.all("ExecStart"):
            raise UnitError("Service has no ExecStart=. Refusing.")
        return sorted(set(self.values.get("Service", {})) - _CARRIED_OUT)

    def seconds(self, key: str, default: float) -> float:
        """A time span such as `5`, `5s`, `500ms`, `1min 30s`."""
        text = self.one(key)
        if not text:
            return default
        scale = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "min": 60.0, "m": 60.0, "h": 3600.0}
        parts = re.findall(r"([0-9.]+)\s*([a-z]*)", text)
        try:
            return sum(float(number) * scale[unit] for number, unit in parts)
        except (KeyError, ValueError):
            return default


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


class Services:
    """Every service of the instance. `init` gives `child`, `after`, `env`."""

    def __init__(self, init: Any) -> None:
        self.init = init
        self.known: dict[str, Service] = {}
        self.stopping = False

    def handle(self, verb: str, names: list[str], now: bool, answer: Any) -> None:
        """One request of `systemctl`; `answer(code, text)` is called once, when it is done."""
        do = getattr(self, "do_" + str(verb).replace("-", "_"), None)
        if do is None:
            answer(
                1,
                f"Unknown command verb {verb} (this instance knows start, stop, restart, reload, enable, disable, "
                f"status, is-active, is-enabled, daemon-reload, list-units, cat)",
            )
            return
        try:
            do([name if "." in name else f"{name}.service" for name in names], now, answer)
        except UnitError as error:
            answer(5 if "not found" in str(error) else 1, str(error))

    def find(self, name: str) -> Service:
        """A service by name; raises UnitError."""
        if not _NAME.fullmatch(name):
            raise UnitError(f"Unit {name} not found: only simple .service units are carried out in this instance.")
        if name in self.known and os.path.exists(self.known[name].unit.path):
            return self.known[name]
        for folder in FOLDERS:
            if os.path.isfile(f"{folder}/{name}"):
                self.known[name] = Service(Unit(name, f"{folder}/{name}"))
                return self.known[name]
        raise UnitError(f"Unit {name} not found.")

    def do_daemon_reload(self, _names: list[str], _now: bool, answer: Any) -> None:
        """Read unit files anew."""
        for name, service in list(self.known.items()):
            if os.path.exists(service.unit.path):
                service.unit = Unit(name, service.unit.path)
            elif service.state in ("inactive", "failed"):
                del self.known[name]
        answer(0)

    def do_enable(self, names: list[str], now: bool, answer: Any) -> None:
        """Start at boot."""
        said = []
        for name in names:
            unit = self.find(name).unit
            if not unit.values.get("Install"):
                said.append(f"The unit {name} has no [Install] section: it is not enabled.")
                continue
            unit.check()
            os.makedirs(WANTS, exist_ok=True)
            link = f"{WANTS}/{name}"
            if not os.path.islink(link):
                os.symlink(unit.path, link)
                said.append(f"Created symlink {link} → {unit.path}.")
        if now:
            self.do_start(
                names, False, lambda code, text="": answer(code, "\n".join([*said, *([text] if text else [])]))
            )
        else:
            answer(0, "\n".join(said))

    def do_disable(self, names: list[str], now: bool, answer: Any) -> None:
        """Start no more at boot."""
        said = []
        for name in names:
            link = f"{WANTS}/{name}"
            if os.path.islink(link):
                os.unlink(link)
                said.append(f'Removed "{link}".')
        if now:
            self.do_stop(
                names, False, lambda code, text="": answer(code, "\n".join([*said, *([text] if text else [])]))
            )
        else:
            answer(0, "\n".join(said))

    def do_is_enabled(self, names: list[str], _now: bool, answer: Any) -> None:
        """Whether they start at boot."""
        states = []
        for name in names:
            unit = self.find(name).unit
            states.append(
                "enabled"
                if os.path.islink(f"{WANTS}/{name}")
                else "disabled"
                if unit.values.get("Install")
                else "static"
            )
        answer(0 if "enabled" in states else 1, "\n".join(states))

    def do_is_active(self, names: list[str], _now: bool, answer: Any) -> None:
        """Whether they run."""
        states = [self.known[name].state if name in self.known else "inactive" for name in names]
        answer(0 if "active" in states else 3, "\n".join(states))

    def do_is_failed(self, names: list[str], _now: bool, answer: Any) -> None:
        """Whether they failed."""
        states = [self.known[name].state if name in self.known else "inactive" for name in names]
        answer(0 if "failed" in states else 1, "\n".join(states))

    def do_status(self, names: list[str], _now: bool, answer: Any) -> None:
        """What is known of them."""
        lines, worst = [], 0
        for name in names:
            service = self.find(name)
            enabled = "enabled" if os.path.islink(f"{WANTS}/{name}") else "disabled"
            ended = (
                f" (Result: exit-code {service.code})"
                if service.state == "failed"
                else " (running)"
                if service.pid
                else ""
            )
            lines += [f"● {name} - {service.unit.description}", f"     Loaded: loaded ({service.unit.path}; {enabled})"]
            lines.append(
                f"     Active: {service.state}{ended} since "
                f"{time.strftime('%a %Y-%m-%d %H:%M:%S UTC', time.gmtime(service.since))}"
            )
            if service.pid:
                lines.append(f"   Main PID: {service.pid}")
            lines.append("       Logs: on the instance's console")
            worst = max(worst, 0 if service.state == "active" else 3)
        answer(worst, "\n".join(lines))

    def do_list_units(self, _names: list[str], _now: bool, answer: Any) -> None:
        """Every service that was started."""
        answer(0, "\n".join(f"{s.unit.name} loaded {s.state} {s.unit.description}" for s in self.known.values()))

    def do_cat(self, names: list[str], _now: bool, answer: Any) -> None:
        """The unit files."""
        paths = [self.find(name).unit.path for name in names]
        answer(0, "\n".join(f"# {path}\n{open(path, encoding='utf-8', errors='replace').read()}" for path in paths))

    def do_reset_failed(self, names: list[str], _now: bool, answer: Any) -> None:
        """Forget failures."""
        for service in self.known.values():
            if service.state == "failed" and (not names or service.unit.name in names):
                service.to("inactive")
                service.starts.clear()
        answer(0)

    def do_start(self, names: list[str], _now: bool, answer: Any) -> None:
        """Start, and answer when all are active or one failed."""
        services = [self.find(name) for name in names]
        for service in services:
            self._say_missing(service)
        self._when(services, answer, "start")
        for service in services:
            if service.state in ("inactive", "failed"):
                service.starts.clear()
                self.begin(service)
            else:
                service.to(service.state)

    def do_stop(self, names: list[str], _now: bool, answer: Any) -> None:
        """Stop, and answer when all are gone."""
        services = [self.known[name] for name in names if name in self.known] if names else []
        for name in names:
            if name not in self.known:
                self.find(name)
        self._when(services, answer, "stop")
        for service in services:
            self.end(service)

    def do_restart(self, names: list[str], _now: bool, answer: Any) -> None:
        """Stop and start."""
        for name in names:
            self.find(name)

        def then(code: int, text: str = "") -> None:
            self.do_start(names, False, answer) if code == 0 else answer(code, text)

        self.do_stop(names, False, then)

    do_reload_or_restart = do_restart

    def do_try_restart(self, names: list[str], _now: bool, answer: Any) -> None:
        """Restart those that run."""
        self.do_restart([n for n in names if n in self.known and self.known[n].state == "active"], False, answer)

    def do_reload(self, names: list[str], _now: bool, answer: Any) -> None:
        """Run ExecReload=, or refuse as systemd does."""
        for name in names:
            service = self.find(name)
            commands = service.unit.all("ExecReload")
            if service.state != "active" or not commands:
                answer(1, f"Failed to reload {name}: Job type reload is not applicable for unit {name}.")
                return
            for command in commands:
                self._spawn(service, command, lambda _code: None)
        answer(0)

    def _when(self, services: list[Service], answer: Any, verb: str) -> None:
        """Answer once, when every service has come to rest."""
        left = {id(service) for service in services}
        if not left:
            answer(0)
            return

        def rest(service: Service) -> Any:
            def tell() -> None:
                left.discard(id(service))
                if not left:
                    bad = [s.unit.name for s in services if verb == "start" and s.state == "failed"]
                    text = "".join(f"Job for {n} failed: see the instance's console.\n" for n in bad).strip()
                    answer(1 if bad else 0, text)

            return tell

        for service in services:
            service.waiting.append(rest(service))

    def _say_missing(self, service: Service) -> None:
        ignored = service.unit.check()
        if ignored:
            print(
                f"[cloudchamber] {service.unit.name}: not carried out here: {', '.join(f'{key}=' for key in ignored)}",
                flush=True,
            )

    def start_enabled(self) -> None:
        """Start what `enable` chose, at boot."""
        if not os.path.isdir(WANTS):
            return
        for name in sorted(os.listdir(WANTS)):
            try:
                service = self.find(name)
                self._say_missing(service)
                self.begin(service)
            except (UnitError, OSError) as error:
                print(f"[cloudchamber] {name}: {error}", flush=True)

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
            print(f"[cloudchamber] {service.unit.name}: {stage} process ended with {code}", flush=True)
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
        argv = _argv(command.lstrip("-@+!:"), env)
        if "/" not in argv[0]:
            argv[0] = shutil.which(argv[0], path=env["PATH"]) or argv[0]
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
            argv = [
                "/usr/bin/setpriv",
                f"--reuid={who.pw_uid}",
                f"--regid={who.pw_gid}",
                "--init-groups",
                f"--inh-caps={kept}",
                f"--ambient-caps={kept}",
                "--",
                *argv,
            ]
        output = _output(unit.one("StandardOutput"), 1)
        failures = (
            output if unit.one("StandardError", "inherit") == "inherit" else _output(unit.one("StandardError"), 2)
        )
        try:
            process = subprocess.Popen(
                argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=failures,
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
            for word in shlex.split(_specifiers(text, service.unit)):
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


def _specifiers(text: str, unit: Unit) -> str:
    base = unit.name.rpartition(".")[0]
    known = {
        "%%": "%",
        "%n": unit.name,
        "%N": base,
        "%p": base.partition("@")[0],
        "%i": base.partition("@")[2],
        "%h": "/root",
        "%H": os.uname().nodename,
    }

    def put(match: re.Match[str]) -> str:
        if match.group(0) not in known:
            raise UnitError(f"the specifier {match.group(0)} is not carried out here")
        return known[match.group(0)]

    return re.sub(r"%.", put, text)


def _argv(command: str, env: dict[str, str]) -> list[str]:
    """Words of a command line: `${NAME}` is put into a word, `$NAME` alone becomes several; no shell."""
    words: list[str] = []
    for word in shlex.split(command):
        if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", word):
            words += env.get(word[1:], "").split()
        else:
            words.append(
                re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda m: env.get(m.group(1), ""), word).replace("$$", "$")
            )
    if not words:
        raise UnitError("an empty command line")
    return words

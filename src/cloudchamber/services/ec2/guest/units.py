# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""The verbs of `systemctl`, over the services of this instance. Runs inside it, standard library only.

Source: systemctl(1).
"""

from __future__ import annotations

import os
import time
from typing import Any

from running import Running, Service  # pyright: ignore[reportMissingImports] - beside this file
from unit_files import FOLDERS, NAME, Unit, UnitError  # pyright: ignore[reportMissingImports] - as above

WANTS = "/etc/systemd/system/multi-user.target.wants"


class Services(Running):
    """Every service of the instance."""

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
        if not NAME.fullmatch(name):
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

# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Unit files as far as they are carried out here: simple services. Runs inside an instance, standard library only.

Source: systemd.unit(5), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import os
import re
import shlex

FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
NAME = re.compile(r"[A-Za-z0-9:_.@\\-]{1,200}\.service")
_CARRIED_OUT = {
    "Type", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecReload", "Environment", "EnvironmentFile",
    "WorkingDirectory", "User", "Restart", "RestartSec", "TimeoutStopSec", "KillSignal", "RemainAfterExit", "UMask",
    "StandardOutput", "StandardError", "AmbientCapabilities",
}  # fmt: skip
_TYPES = ("simple", "exec", "oneshot", "notify", "idle")


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


def specifiers(text: str, unit: Unit) -> str:
    """A text with `%n` and the like put in."""
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


def argv(command: str, env: dict[str, str]) -> list[str]:
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

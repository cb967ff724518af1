# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What a program meets of cloud-init: user data, in cloud-init's order, with its files that say how far it is.

User data comes read (`user_data.py` of the chamber): scripts, and one cloud-config. Runs inside an instance, standard
library only. A module that fails is said on the console and in result.json, and the next one runs, as in cloud-init.
Source: cloud-init documentation, Boot stages, Module reference, and its configuration on Amazon Linux 2023.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
import zlib
from typing import Any

import accounts  # pyright: ignore[reportMissingImports] - beside this file

DATA = "/var/lib/cloud"
RUN = "/run/cloud-init"
LOG = "/var/log/cloud-init-output.log"
CARRIED_OUT = {
    "bootcmd", "write_files", "runcmd", "users", "user", "groups", "ssh_authorized_keys", "hostname", "fqdn",
    "timezone", "packages", "package_update", "package_upgrade", "package_reboot_if_required", "final_message",
    "power_state",
}  # fmt: skip
_SAID = {
    "preserve_hostname": "the name of an instance is its private DNS name",
    "manage_etc_hosts": "/etc/hosts is written at each boot",
    "ssh_pwauth": "nobody has a password here",
    "locale": "the locale is C.UTF-8",
    "disable_root": "root's key says which user to log in as, as on Amazon Linux",
    "repo_update": "nothing is installed here",
    "repo_upgrade": "nothing is installed here",
    "growpart": "the volume is a folder of this machine",
    "resize_rootfs": "the volume is a folder of this machine",
}


def say(text: str) -> None:
    """Write a line of ours to the console."""
    print(f"[cloudchamber] {text}", flush=True)


class CloudInit:
    """One boot. `init` gives `boot`, `env`, `child`, `output`."""

    def __init__(self, init: Any) -> None:
        self.init = init
        self.id = str(init.boot.get("instance_id", "i-0"))
        self.folder = f"{DATA}/instances/{self.id}"
        self.errors: list[str] = []
        self.began = time.time()
        self.status: dict[str, Any] = {"stage": "init", "datasource": "DataSourceEc2Local"}
        self._steps: Any = None
        packed = init.boot.get("user_data") or ""
        document = json.loads(zlib.decompress(base64.b64decode(packed))) if packed else {}
        self.parts, self.config = document.get("parts") or [], document.get("config") or {}
        self.said = document.get("said") or []

    def begin(self, then: Any) -> None:
        """Run all of it; `then` is called when services may start."""
        self._steps = self._run(then)
        self._go(None)

    def _go(self, code: int | None) -> None:
        try:
            argv, what = self._steps.send(code)
        except StopIteration:
            return
        self.init.spawn(argv, what, self._go)

    def _run(self, then: Any) -> Any:
        """The boot, in cloud-init's order; each `yield` runs a program and gives its exit code."""
        self._attempt("files of cloud-init", self._prepare)
        for line in self.said:
            self._fail(line)
        if self._once("consume_data"):
            self._say_other()
        yield from self._scripts("boothook", f"{self.folder}/boothooks", always=True)
        if self.config.get("bootcmd") is not None:
            yield from self._shell("bootcmd", self.config["bootcmd"])
        for name, module in (("write_files", self._files), ("set_hostname", self._hostname),
                             ("users_groups", self._users), ("ssh", self._keys)):  # fmt: skip
            if self._once(name):
                self._attempt(name, module)
        self._stage("modules-config")
        then()
        if self._once("timezone"):
            self._attempt("timezone", self._timezone)
        self._stage("modules-final")
        if self._once("package_update_upgrade_install"):
            yield from self._packages()
        if self._once("write_files_deferred"):
            self._attempt("write_files_deferred", lambda: self._files(deferred=True))
        yield from self._folder_scripts("per-once", DATA)
        yield from self._folder_scripts("per-boot", "")
        yield from self._folder_scripts("per-instance", self.folder)
        if self._once("scripts_user"):
            yield from self._scripts("script", f"{self.folder}/scripts", always=False)
            if self.config.get("runcmd") is not None:
                yield from self._shell("runcmd", self.config["runcmd"], f"{self.folder}/scripts/runcmd")
        self._say_host_key()
        self._attempt("final_message", self._finish)
        if self._once("power_state_change"):
            self._attempt("power_state_change", self._power)

    # --- how modules run

    def _attempt(self, name: str, module: Any) -> None:
        try:
            module()
        except Exception as error:  # noqa: BLE001 - one module's trouble must not keep the others from running
            self._fail(f"{name}: {type(error).__name__}: {error}")

    def _fail(self, text: str) -> None:
        self.errors.append(text)
        say(text)

    def _once(self, name: str) -> bool:
        """Whether a module is to run: once in the life of an instance. What began counts as done."""
        try:
            os.makedirs(f"{self.folder}/sem", exist_ok=True)
            with open(f"{self.folder}/sem/config_{name}", "x") as file:
                file.write(f"{os.getpid()}: {time.time()}\n")
        except FileExistsError:
            return False
        except OSError as error:
            self._fail(f"{name} is not run, because it could not be noted that it was: {error}")
            return False
        return True

    def _prepare(self) -> None:
        for folder in ("scripts", "sem", "boothooks"):
            os.makedirs(f"{self.folder}/{folder}", exist_ok=True)
        for folder in (
            f"{DATA}/data",
            f"{DATA}/sem",
            RUN,
            *(f"{DATA}/scripts/per-{n}" for n in ("boot", "instance", "once")),
        ):
            os.makedirs(folder, exist_ok=True)
        link = f"{DATA}/instance"
        if os.path.islink(link) or not os.path.exists(link):
            if os.path.islink(link):
                os.unlink(link)
            os.symlink(self.folder, link)
        for name in (f"{self.folder}/boot-finished", f"{DATA}/data/result.json"):
            if os.path.lexists(name):
                os.unlink(name)
        _write(f"{DATA}/data/instance-id", f"{self.id}\n")
        _write(f"{RUN}/instance-data.json", json.dumps({"v1": {
            "cloud_name": "aws", "cloud-name": "aws", "platform": "ec2", "instance_id": self.id,
            "instance-id": self.id, "region": self.init.boot.get("region", ""),
            "local_hostname": os.uname().nodename, "local-hostname": os.uname().nodename,
        }}))  # fmt: skip
        self._stage("init")

    def _stage(self, name: str | None) -> None:
        self.status["stage"] = name
        _write(f"{RUN}/status.json", json.dumps({"v1": {**self.status, "errors": self.errors, "start": self.began}}))

    def _say_other(self) -> None:
        for name, why in _SAID.items():
            if name in self.config:
                say(f"cloud-config: {name} changes nothing: {why}")
        other = sorted(set(self.config) - CARRIED_OUT - set(_SAID))
        if other:
            self._fail(f"cloud-config: not carried out here: {', '.join(other)}")

    def _scripts(self, kind: str, folder: str, *, always: bool) -> Any:
        """Run parts of user data that are programs."""
        chosen = [part for part in self.parts if part["kind"] == kind]
        for part in chosen:
            path = f"{folder}/{part['name']}"
            try:
                _write(path, base64.b64decode(part["data"]), 0o700)
            except OSError as error:
                self._fail(f"{path}: {error}")
                continue
            what = "user data" if len(self.parts) == 1 and not always else f"user data {part['name']}"
            code = yield [path], f"{what} (boothook)" if always else what
            self._told(what, code)

    def _folder_scripts(self, kind: str, sem: str) -> Any:
        """Run what lies in a folder of scripts: at each boot, or once."""
        folder = f"{DATA}/scripts/{kind}"
        for part in self.parts:
            if part["kind"] == kind:
                self._attempt(
                    kind, lambda part=part: _write(f"{folder}/{part['name']}", base64.b64decode(part["data"]), 0o700)
                )
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return
        for name in names:
            path = f"{folder}/{name}"
            mark = f"{sem}/sem/scripts_{kind}.{name}"
            if not os.access(path, os.X_OK) or not os.path.isfile(path) or (sem and os.path.exists(mark)):
                continue
            if sem:
                self._attempt(kind, lambda mark=mark: _write(mark, f"{os.getpid()}\n"))
            code = yield [path], f"{kind} script {name}"
            self._told(f"{kind} script {name}", code)

    def _shell(self, name: str, commands: Any, path: str = "") -> Any:
        """Run a list of commands as one shell script, as `runcmd` and `bootcmd` are."""
        path = path or f"{RUN}/{name}"
        try:
            _write(path, shell_script(commands), 0o700)
        except (OSError, ValueError) as error:
            self._fail(f"{name}: {error}")
            return
        code = yield [path], name
        self._told(name, code)

    def _told(self, what: str, code: int | None) -> None:
        if code:
            self.errors.append(f"{what} ended with exit code {code}")

    # --- modules

    def _files(self, deferred: bool = False) -> None:
        for entry in _list(self.config.get("write_files")):
            if bool(entry.get("defer")) == deferred:
                self._attempt(f"write_files {entry.get('path')}", lambda entry=entry: write_file(entry))

    def _hostname(self) -> None:
        wanted = self.config.get("fqdn") or self.config.get("hostname")
        if wanted:
            say(f"cloud-config: hostname {wanted}: an instance keeps the name {os.uname().nodename} here")

    def _users(self) -> None:
        os.makedirs("/etc/sudoers.d", mode=0o755, exist_ok=True)
        _write("/etc/sudoers.d/90-cloud-init-users", "ec2-user ALL=(ALL) NOPASSWD:ALL\n", 0o440)
        for name, members in accounts.groups_of(self.config.get("groups")).items():
            self._attempt(f"group {name}", lambda n=name, m=members: accounts.add_group(n, m))
        for one in accounts.users_of(self.config.get("users"), self.config.get("user")):
            self._attempt(f"user {one.get('name')}", lambda one=one: accounts.add_user(one, say))

    def _keys(self) -> None:
        keys = [str(key) for key in _flat(self.config.get("ssh_authorized_keys"))]
        own = self.init.boot.get("ssh_key") or ""
        accounts.authorize("ec2-user", [*([own] if own else []), *keys])
        if own:
            accounts.authorize("root", [f"{accounts.FORCED} {own}"])

    def _say_host_key(self) -> None:
        """On the console, by which people know the instance when they first log in."""
        key = str(self.init.boot.get("host_key") or "")
        if key.count(" ") != 1:
            return
        digest = base64.b64encode(hashlib.sha256(base64.b64decode(key.split()[1])).digest()).decode().rstrip("=")
        host = f"root@{os.uname().nodename}"
        print("-----BEGIN SSH HOST KEY FINGERPRINTS-----")
        print(f"256 SHA256:{digest} {host} (ED25519)")
        print("-----END SSH HOST KEY FINGERPRINTS-----\n-----BEGIN SSH HOST KEY KEYS-----")
        print(f"{key} {host}\n-----END SSH HOST KEY KEYS-----", flush=True)

    def _timezone(self) -> None:
        zone = self.config.get("timezone")
        if not zone:
            return
        path = f"/usr/share/zoneinfo/{zone}"
        if ".." in str(zone) or not os.path.isfile(path):
            raise ValueError(f"this machine knows no time zone '{zone}'")
        with open(path, "rb") as file:
            data = file.read()
        if os.path.lexists("/etc/localtime"):
            os.unlink("/etc/localtime")
        _write("/etc/localtime", data)
        _write("/etc/timezone", f"{zone}\n")

    def _packages(self) -> Any:
        for name in ("package_update", "package_upgrade"):
            if self.config.get(name):
                say(
                    f"cloud-config: {name} changes nothing: an instance has the programs of the machine that it runs on"
                )
        wanted = []
        for one in _flat(self.config.get("packages"), deep=False):
            if isinstance(one, dict):  # by package manager: {"apt": [...]}
                one = [name for names in one.values() for name in _flat(names)]
                wanted += [str(name) for name in one]
            else:
                wanted.append(str(one[0] if isinstance(one, list) and one else one))
        if wanted:
            code = yield [sys.executable, "-I", "-S", control(), "dnf", "install", "-y", *wanted], "packages"
            if code:
                self.errors.append("packages: not all of them are on this machine")

    def _power(self) -> None:
        state = self.config.get("power_state")
        if not isinstance(state, dict):
            return
        mode = state.get("mode")
        if mode not in ("reboot", "poweroff", "halt") or str(state.get("delay", "now")) not in ("now", "+0", "0"):
            raise ValueError("only the modes reboot, poweroff and halt, and the delay 'now', are carried out here")
        condition = state.get("condition", True)
        if condition is False or condition == "False":
            return
        if not isinstance(condition, bool):
            words = condition if isinstance(condition, list) else ["/bin/sh", "-c", str(condition)]
            if subprocess.run([str(word) for word in words], check=False, stdin=subprocess.DEVNULL).returncode != 0:
                return
        self.init.power("reboot" if mode == "reboot" else "poweroff")

    def _finish(self) -> None:
        uptime = time.time() - self.began
        message = str(self.config.get("final_message") or "")
        if message:
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
            for name, value in {"version": "cloudchamber", "timestamp": stamp, "datasource": "DataSourceEc2Local",
                                "uptime": f"{uptime:.2f}"}.items():  # fmt: skip
                message = message.replace(f"${name}", value).replace(f"${name.upper()}", value)
            print(message, flush=True)
        result = json.dumps({"v1": {"datasource": "DataSourceEc2Local", "errors": self.errors}}, indent=1)
        _write(f"{DATA}/data/result.json", result + "\n")
        if os.path.lexists(f"{RUN}/result.json"):
            os.unlink(f"{RUN}/result.json")
        self.status["finished"] = time.time()
        self._stage(None)
        _write(f"{self.folder}/boot-finished", f"{uptime:.2f}\n")
        os.symlink(f"{DATA}/data/result.json", f"{RUN}/result.json")


def control() -> str:
    """The file of the small programs."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "control.py")


def _write(path: str, data: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole: it appears with all of its content."""
    fresh = f"{path}.{os.getpid()}.new"
    with open(fresh, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)
    os.replace(fresh, path)


def _list(value: Any) -> list[Any]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _flat(value: Any, deep: bool = True) -> list[Any]:
    """A value, or the values of a list."""
    if value is None:
        return []
    if not isinstance(value, list):
        return [value]
    return [found for one in value for found in (_flat(one) if deep else [one])]


def shell_script(commands: Any) -> str:
    """Commands of `runcmd` as a script: a text is a line of shell, a list is words. Raises ValueError."""
    if not isinstance(commands, list):
        raise ValueError("it must be a list of commands")
    lines = ["#!/bin/sh"]
    for one in commands:
        if isinstance(one, list):
            lines.append(" ".join(shlex.quote(str(word)) for word in one))
        elif isinstance(one, str):
            lines.append(one)
        elif one is not None:
            raise ValueError(f"a command must be a text or a list of words, not {one!r}")
    return "\n".join(lines) + "\n"


def content_of(entry: dict[str, Any]) -> bytes:
    """Decoded `content` of an entry of `write_files`. Raises ValueError."""
    content = entry.get("content", "")
    binary = isinstance(content, dict) and "base64" in content
    data = base64.b64decode(content["base64"]) if binary else str("" if content is None else content).encode()
    kind = str(entry.get("encoding") or "text/plain").strip().lower()
    if kind in ("gz", "gzip"):
        return gzip.decompress(data)
    if kind in ("gz+base64", "gzip+base64", "gz+b64", "gzip+b64"):
        return gzip.decompress(base64.b64decode(data))
    if kind in ("b64", "base64"):
        return base64.b64decode(data)
    if kind == "text/plain":
        return data
    raise ValueError(f"the encoding '{kind}' is not known")


def write_file(entry: dict[str, Any]) -> None:
    """One entry of `write_files`. Raises OSError, ValueError."""
    path = str(entry.get("path") or "")
    if not path.startswith("/"):
        raise ValueError("it needs an absolute path")
    if entry.get("source"):
        raise ValueError("'source' is not carried out here")
    data, given = content_of(entry), entry.get("permissions")
    mode = int(given) if isinstance(given, int) else int(str(given), 8) if given not in (None, "") else 0o644
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab" if entry.get("append") else "wb") as file:
        file.write(data)
    os.chmod(path, mode & 0o7777)
    owner = str(entry.get("owner") or "root:root")
    if (os.stat(path).st_uid, os.stat(path).st_gid) != (0, 0) or owner != "root:root":
        accounts.own(path, *(owner.split(":", 1) if ":" in owner else (owner, "")))

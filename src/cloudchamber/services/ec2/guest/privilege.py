# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""`sudo`: who is not root asks the instance's first program, which looks at /etc/sudoers and runs the command.

Set-user-ID programs give nothing in a sandbox. Who asks is told by the kernel (SO_PEERCRED); the command gets the
asker's descriptors. Only rules for all commands and without a password are carried out. Source: sudoers(5), sudo(8).
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
from typing import Any

SOCKET = "/run/cloudchamber/sudo.sock"
MESSAGE_MAX = 128 * 1024
_RULE = re.compile(r"(%?[A-Za-z0-9_.-]+)\s+ALL\s*=\s*(?:\(\s*(?:ALL|root)(?:\s*:\s*ALL)?\s*\)\s*)?NOPASSWD:\s*ALL")
_PASSED = ("TERM", "LANG", "LC_ALL", "COLORTERM")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def may(name: str) -> bool:
    """Whether a user may become anybody, by /etc/sudoers and /etc/sudoers.d."""
    groups = {one.gr_name for one in grp.getgrall() if name in one.gr_mem}
    try:
        groups.add(grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name)
    except KeyError:
        pass
    folder = "/etc/sudoers.d"
    try:
        more = [f"{folder}/{one}" for one in sorted(os.listdir(folder)) if "." not in one and not one.endswith("~")]
    except OSError:
        more = []
    for path in ("/etc/sudoers", *more):
        try:
            with open(path, errors="replace") as file:
                rules = [_RULE.fullmatch(line.split("#", 1)[0].strip()) for line in file]
        except OSError:
            continue
        who = {rule.group(1) for rule in rules if rule}
        if name in who or {f"%{group}" for group in groups} & who:
            return True
    return False


class Sudo:
    """The side of the first program. `init` gives `chosen`, `child`, `env`."""

    def __init__(self, init: Any) -> None:
        self.init = init

    def listen(self) -> None:
        """Take requests of every user."""
        try:
            os.unlink(SOCKET)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o666)
        listener.listen(16)
        self.init.chosen.register(listener, selectors.EVENT_READ, lambda: self.accept(listener))

    def accept(self, listener: socket.socket) -> None:
        """One request: the command, and three descriptors."""
        connection, _ = listener.accept()
        connection.settimeout(2.0)
        descriptors: list[int] = []
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_MAX, 3)
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            asker = pwd.getpwuid(uid).pw_name
            if len(descriptors) != 3:
                raise ValueError("three descriptors are needed")
            if not may(asker):
                raise PermissionError(f"{asker} is not in the sudoers file")
            self.run(connection, json.loads(data), asker, uid, descriptors)
        except (OSError, ValueError, KeyError, TypeError) as error:
            _answer(connection, 1, f"sudo: {error}")
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def run(self, connection: socket.socket, asked: dict[str, Any], asker: str, uid: int, fds: list[int]) -> None:
        """Run the command as root, or as the user that was asked for."""
        who = pwd.getpwnam(str(asked.get("user") or "root"))
        env = {**self.init.env, "HOME": who.pw_dir, "USER": who.pw_name, "LOGNAME": who.pw_name, "SHELL": who.pw_shell}
        given = asked.get("env") or {}
        env.update({name: str(given[name]) for name in _PASSED if name in given})
        env.update({str(name): str(value) for name, value in (asked.get("set") or {}).items()})
        env.update(SUDO_USER=asker, SUDO_UID=str(uid))
        argv = [str(word) for word in asked["argv"]]

        def become() -> None:
            if who.pw_uid != os.getuid():
                os.initgroups(who.pw_name, who.pw_gid)
                os.setgid(who.pw_gid)
                os.setuid(who.pw_uid)

        process = subprocess.Popen(
            argv, stdin=fds[0], stdout=fds[1], stderr=fds[2], cwd=str(asked.get("cwd") or "/"), env=env,
            start_new_session=True, preexec_fn=become,
        )  # fmt: skip

        def heard() -> None:
            """A number of a signal, a line each; the asker's end hangs up."""
            try:
                data = connection.recv(64)
            except OSError:
                data = b""
            for word in data.split() if data else (str(int(signal.SIGHUP)),):
                if int(word) in _SIGNALS:
                    _signal(process.pid, int(word))
            if not data:
                self.init.chosen.unregister(connection)

        def ended(code: int) -> None:
            process.returncode = code
            if connection in self.init.chosen.get_map():
                self.init.chosen.unregister(connection)
            _answer(connection, code if code >= 0 else 128 - code, "")
            connection.close()

        self.init.chosen.register(connection, selectors.EVENT_READ, heard)
        self.init.child(process.pid, ended)


def _answer(connection: socket.socket, code: int, text: str) -> None:
    try:
        connection.sendall(json.dumps({"code": code, "text": text}).encode() + b"\n")
    except OSError:
        pass


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def ask(argv: list[str], user: str, setting: dict[str, str], cwd: str) -> int:
    """The asker's side: the exit code of the command."""
    connection = socket.socket(socket.AF_UNIX)
    asked = {
        "argv": argv, "user": user, "set": setting, "cwd": cwd,
        "env": {name: os.environ[name] for name in _PASSED if name in os.environ},
    }  # fmt: skip
    try:
        connection.connect(SOCKET)
        socket.send_fds(connection, [json.dumps(asked).encode()], [0, 1, 2])
    except OSError as error:
        print(f"sudo: {error}", file=sys.stderr)
        return 1
    for number in _SIGNALS:
        signal.signal(number, lambda number, _frame: connection.sendall(b"%d\n" % number))
    with connection.makefile() as file:
        answer = json.loads(file.readline() or "{}")
    if answer.get("text"):
        print(answer["text"], file=sys.stderr)
    return int(answer.get("code", 1))

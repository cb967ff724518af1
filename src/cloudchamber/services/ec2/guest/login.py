# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What SSH to an instance begins inside: a user's keys, shell, command, file transfer, or a connection.

    login.py keys USER | shell USER | exec USER COMMAND | sftp USER | connect HOST PORT

It runs as root of the instance and becomes the user first. Standard library only, but for `sftp` where the machine has
no sftp-server. Source: sshd(8), sections Login process and AUTHORIZED_KEYS FILE FORMAT.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import accounts  # pyright: ignore[reportMissingImports] - beside this file, found by the line above

SFTP_SERVERS = (
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
)
KEYS_MAX = 128 * 1024
PATH = "/etc/environment"


def become(name: str) -> pwd.struct_passwd:
    """Become a user of the instance; exits where there is none."""
    try:
        who = pwd.getpwnam(name)
    except KeyError:
        sys.exit(f"there is no user {name} in this instance")
    if who.pw_uid != os.getuid() and accounts.has_uid(who.pw_uid):
        os.initgroups(name, who.pw_gid)
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
    os.umask(0o022)
    os.environ.update(HOME=who.pw_dir, USER=name, LOGNAME=name, SHELL=who.pw_shell or "/bin/sh")
    try:
        os.chdir(who.pw_dir)
    except OSError:
        os.chdir("/")
    return who


def keys(name: str) -> int:
    """Say a user's authorized keys, read as that user."""
    who = become(name)
    if os.path.basename(who.pw_shell) in ("nologin", "false"):
        return 1
    for file in (".ssh/authorized_keys", ".ssh/authorized_keys2"):
        try:
            descriptor = os.open(f"{who.pw_dir}/{file}", os.O_RDONLY | os.O_NONBLOCK)
            with open(descriptor, "rb") as opened:
                os.write(1, opened.read(KEYS_MAX) + b"\n")
        except OSError:
            continue
    return 0


def connect(host: str, port: int) -> int:
    """Copy between descriptor 0 and a connection of this instance."""
    near = socket.socket(fileno=0)
    try:
        far = socket.create_connection((host, port), timeout=15)
    except OSError:
        return 1
    far.settimeout(None)
    ways = {near: far, far: near}
    while ways:
        for source in select.select(list(ways), [], [])[0]:
            target = near if source is far else far
            try:
                data = source.recv(65536)
                if data:
                    target.sendall(data)
                    continue
                target.shutdown(socket.SHUT_WR)
            except OSError:
                return 0
            del ways[source]
    return 0


def sftp(name: str) -> int:
    """Speak SFTP on descriptors 0 and 1: the machine's server, or the one of the library."""
    who = become(name)
    for path in SFTP_SERVERS:
        if os.access(path, os.X_OK):
            os.execv(path, [path])
    server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sftp.py")
    os.execv(sys.executable, [sys.executable, "-I", server, who.pw_dir])


def as_long_as_it_is_heard(shell: str, words: list[str]) -> int:
    """Run without a terminal: where nobody hears it any more, hang up, as the end of a terminal would.

    Source: signal(7), SIGHUP; pipe(7): whoever may write to a pipe that nobody reads any more has POLLERR.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os.execv(shell, words)
        except OSError as error:
            os.write(2, f"{shell}: {error.strerror}\n".encode())
            os._exit(127)
    os.close(0)  # Why: a program that takes no more input must be seen to
    ended, heard = os.pidfd_open(child), select.poll()
    heard.register(ended, select.POLLIN)
    heard.register(1, 0)
    if ended not in dict(heard.poll()):
        os.killpg(child, signal.SIGHUP)
        return 255
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def main(verb: str, *words: str) -> int:
    """One verb of the module's docstring."""
    if verb == "keys":
        return keys(words[0])
    if verb == "connect":
        return connect(words[0], int(words[1]))
    if verb == "sftp":
        return sftp(words[0])
    who = become(words[0])
    shell = who.pw_shell or "/bin/sh"
    name = os.path.basename(shell)
    command = [f"-{name}"] if verb == "shell" else [name, "-c", words[1]]
    if not os.isatty(0):
        return as_long_as_it_is_heard(shell, command)
    try:
        os.execv(shell, command)
    except OSError as error:
        sys.exit(f"{shell}: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

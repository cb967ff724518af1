# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber ssh`: this machine's ssh to an instance, past its security groups, with a key that lasts a minute.

The connection is handed to the chamber through the state folder (0700), as `cloudchamber shell` hands its terminal.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, main, state_option


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Options of ssh, and the command: what stands behind ``--``, or all of it if it does not begin with an option."""
    if "--" in arguments:
        at = arguments.index("--")
        return arguments[:at], arguments[at + 1 :]
    return (arguments, []) if arguments and arguments[0].startswith("-") else ([], arguments)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--user", default="ec2-user", show_default=True, help="A user of the instance.")
@state_option
@click.argument("instance")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def ssh(instance: str, arguments: tuple[str, ...], user: str, state: str | None) -> None:
    """SSH to an instance: cloudchamber ssh i-... -L 8080:localhost:80 -- uptime."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from cloudchamber.shell import ask

    program = shutil.which("ssh")
    if program is None:
        raise ChamberError("this machine has no ssh program", "install OpenSSH's client, or use 'cloudchamber shell'")
    client = chamber(state)
    options, command = split(list(arguments))
    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()
    host = ask(client.state, {"instance": instance, "user": user, "key": public}, [])["host"]
    door = [sys.executable, "-m", "cloudchamber", "ssh-door", "--state", str(client.state), instance]
    with tempfile.TemporaryDirectory(prefix="cloudchamber-ssh-") as folder:
        key, known = Path(folder, "key"), Path(folder, "known_hosts")
        key.touch(mode=0o600)
        key.write_bytes(made.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption()))
        known.write_text(f"{instance} {host}\n", encoding="ascii")
        settings = {
            "IdentityFile": str(key), "IdentitiesOnly": "yes", "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "yes", "HostKeyAlias": instance,
            "ProxyUseFdpass": "yes", "ProxyCommand": shlex.join(door).replace("%", "%%"), "LogLevel": "ERROR",
        }  # fmt: skip
        given = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        line = [program, "-F", "/dev/null", *given, *options, "-l", user, "--", instance, *command]
        raise SystemExit(subprocess.run(line, check=False).returncode)


@main.command("ssh-door", hidden=True)
@click.argument("instance")
@state_option
def ssh_door(instance: str, state: str | None) -> None:
    """Hand one end of a connection to the chamber, and the other to ssh (its ProxyUseFdpass), on descriptor 1."""
    from cloudchamber.shell import ask

    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket(fileno=1) as ssh_program:
        ask(chamber(state).state, {"instance": instance}, [theirs.fileno()])
        socket.send_fds(ssh_program, [b"\0"], [ours.fileno()])
        ssh_program.detach()

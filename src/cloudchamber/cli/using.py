# SPDX-License-Identifier: Apache-2.0
"""Commands that reach what runs: credentials, a program with them, a database, a shell."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, state_option
from cloudchamber.settings import child_environment

if TYPE_CHECKING:
    from cloudchamber.client import Client


def _exports(client: Client, *, https: bool = False) -> dict[str, str]:
    key, secret = client.root_key
    authority = str(client.state / "ca" / "ca.pem")
    # Why two: the first is boto3's and the aws command's, the second Node's
    trusted = {"AWS_CA_BUNDLE": authority, "NODE_EXTRA_CA_CERTS": authority} if https else {}
    return {
        "AWS_ENDPOINT_URL": client.endpoint.replace("http:", "https:", 1) if https else client.endpoint,
        **trusted,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": client.about["region"],
        "AWS_DEFAULT_REGION": client.about["region"],
        # Why: boto3 would ask `stream-127.0.0.1` for a live tail, which is no host
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }


@main.command()
@state_option
@json_option
@click.option("--https", is_flag=True, help="The same port by HTTPS, and the chamber's certificate authority.")
def env(state: str | None, as_json: bool, https: bool) -> None:
    """Shell exports of the endpoint, the root credentials and PATH: eval "$(cloudchamber env)"."""
    values = _exports(chamber(state), https=https)
    if as_json:
        click.echo(json.dumps(values))
        return
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("unset AWS_SESSION_TOKEN AWS_PROFILE")
    # Why last: the person's own tools come first; `cloudchamber` and the `aws` that came with it are found besides.
    ours = shlex.quote(str(Path(sys.executable).parent))
    click.echo(f'case ":$PATH:" in *:{ours}:*) ;; *) export PATH="$PATH":{ours} ;; esac')
    click.echo("# aws version 1 sends 'aws rds' to AWS all the same: say 'cloudchamber run -- aws rds ...'")


def with_endpoint(command: list[str], endpoint: str) -> list[str]:
    """The aws command gets the endpoint as an option too: its version 1 sends `aws rds` to AWS whatever the environment
    says, and older ones do not know the variable."""
    if Path(command[0]).name != "aws" or any(word.startswith("--endpoint-url") for word in command):
        return command
    return [command[0], "--endpoint-url", endpoint, *command[1:]]


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@state_option
def run(command: tuple[str, ...], state: str | None) -> None:
    """Run a command with the endpoint and the root credentials set: cloudchamber run -- aws s3 ls."""
    values = child_environment(**_exports(chamber(state)))
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        values.pop(name, None)
    # Why last: the person's own tools come first; the aws command that came with us is found without a venv too.
    values["PATH"] = os.pathsep.join([*filter(None, [values.get("PATH")]), str(Path(sys.executable).parent)])
    line = with_endpoint(list(command), values["AWS_ENDPOINT_URL"])
    try:
        os.execvpe(line[0], line, values)
    except OSError as error:
        raise ChamberError(f"cannot run {command[0]}: {error.strerror}", "check the name and PATH") from error


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("database")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", help="As another user, over TLS to the endpoint; psql asks for the password.")
@state_option
def psql(database: str, arguments: tuple[str, ...], user: str | None, state: str | None) -> None:
    """A psql on a DB instance as its master user, past its security groups: cloudchamber psql DB -- -c "select 1"."""
    from cloudchamber import reading

    program, line, extra = reading.psql(chamber(state), database, list(arguments), user)
    try:
        os.execve(program, line, child_environment(**extra))
    except OSError as error:
        raise ChamberError(f"cannot run {program}: {error.strerror}") from error


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("instance")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@state_option
def shell(instance: str, command: tuple[str, ...], state: str | None) -> None:
    """A shell (or a command) inside an instance, on this terminal."""
    from cloudchamber.shell import attach

    client = chamber(state)
    raise SystemExit(attach(client.state, instance, list(command) or ["/bin/bash", "-l"]))

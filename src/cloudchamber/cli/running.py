# SPDX-License-Identifier: Apache-2.0
"""Commands that start, watch and end a chamber."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import called, chamber, json_option, main, say, state_option, table
from cloudchamber.settings import from_environment, root_key, state_folder

if TYPE_CHECKING:
    from cloudchamber.client import Client

LOG_OCTETS_MAX = 16 * 1024 * 1024
"""Of the chamber's log, twice: the current file and the one before."""


@main.command()
@click.option("--foreground", is_flag=True, help="Run here until it is stopped, log to standard error.")
@click.option("--port", type=int, help="Port of the endpoint (default: 4566; 0: any).")
@click.option("--https-port", type=int, help="Port of the HTTPS door to instances (default: 4443; 0: any).")
@click.option("--root-key", "key", metavar="KEY:SECRET", help="Use this root access key, for example test:test.")
@click.option(
    "--sandbox", "mode", type=click.Choice(["ns-root", "ns-user", "landlock", "plain"]), help="Insist on a mode."
)
@state_option
def start(
    foreground: bool, port: int | None, https_port: int | None, key: str | None, mode: str | None, state: str | None
) -> None:
    """Start a chamber (in the background, unless told otherwise)."""
    folder = state_folder(state)
    if foreground:
        settings = from_environment(state=folder, port=port, https_port=https_port, root_key=root_key(key), mode=mode)
        logging.basicConfig(
            level=settings.log_level,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
            handlers=[_log_to(folder)],
        )
        from cloudchamber.chamber import serve

        serve(settings)
        return
    running = ensure(folder, port, https_port, key, mode)
    _banner(running)


def ensure(
    folder: Path,
    port: int | None = None,
    https_port: int | None = None,
    key: str | None = None,
    mode: str | None = None,
) -> Client:
    """The running chamber, started if need be."""
    from cloudchamber import client

    found = client.find(folder)
    if found is not None:
        if port and f":{port}" != found.endpoint[-len(str(port)) - 1 :]:
            raise ChamberError(
                f"a chamber runs on {folder} already, at {found.endpoint}",
                "'cloudchamber stop' it first, or give --state",
            )
        return found
    arguments: list[str] = []
    for name, value in (("--port", port), ("--https-port", https_port), ("--root-key", key), ("--sandbox", mode)):
        if value is not None:
            arguments += [name, str(value)]
    say(f"starting a chamber on {folder}")
    return client.start(folder, arguments)


def _log_to(folder: Path) -> logging.Handler:
    """Standard error; where that is the chamber's own log file, the same file with a limit."""
    path = folder / "chamber.log"
    try:
        own = os.path.samestat(os.fstat(sys.stderr.fileno()), path.stat())
    except (OSError, ValueError):
        own = False
    if not own:
        return logging.StreamHandler(sys.stderr)
    from logging.handlers import RotatingFileHandler

    return RotatingFileHandler(path, maxBytes=LOG_OCTETS_MAX, backupCount=1, encoding="utf-8")


def _banner(client: Client) -> None:
    about = client.about
    click.echo(f"cloudchamber {about['version']} at {client.endpoint}, IAM on, sandbox {about['sandbox_mode']}")
    if about.get("shared"):
        click.echo(f"  one of several chambers: {about['shared']}; it offers {', '.join(about['offers'])}")
    if about["root_key_given"]:
        click.secho(
            "  the root key was given on the command line: a well-known key is root for every local process",
            fg="yellow",
        )
    for line in about["not_blocked"]:
        click.echo(f"  not blocked in this mode: {line}")
    click.echo(f"  console: {client.console}")
    click.echo(f'  credentials: eval "$({called()} env)"')


@main.command()
@state_option
def stop(state: str | None) -> None:
    """Stop the chamber with its instances and databases; everything is kept and comes back at the next start."""
    from cloudchamber import client

    client.stop(chamber(state))
    say("stopped")


@main.command()
@state_option
@json_option
def status(state: str | None, as_json: bool) -> None:
    """What runs where, in which sandbox mode."""
    from cloudchamber import client

    found = client.find(state_folder(state))
    if found is None:
        if as_json:
            click.echo(json.dumps({"running": False}))
        else:
            click.echo(f"no chamber runs on {state_folder(state)}")
        raise SystemExit(3)
    got = found.get("api/status")
    if as_json:
        click.echo(json.dumps({"running": True, **got, "console": found.console}))
        return
    _banner(found)
    rows = [
        [service, *(str(row.get(k, "")) for k in ("kind", "id", "state", "detail"))]
        for service, rows in got["parts"].items()
        for row in rows
    ]
    table([["SERVICE", "KIND", "ID", "STATE", "DETAIL"], *rows])


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
def down(yes: bool, state: str | None) -> None:
    """Delete every stack (with the objects in its buckets), then stop."""
    from cloudchamber import client, deploy

    found = chamber(state)
    live = [
        s["StackName"]
        for s in found.ask("cloudformation", "ListStacks").get("StackSummaries", [])
        if s["StackStatus"] != "DELETE_COMPLETE"
    ]
    if live and not yes:
        click.confirm(f"Delete {', '.join(live)} with all data?", abort=True)
    for name in live:
        say(f"deleting stack {name}")
        deploy.delete(found, name)
    client.stop(found)
    say("stopped")


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
def reset(yes: bool, state: str | None) -> None:
    """Stop, and remove the state folder with everything in it."""
    from cloudchamber import client

    folder = state_folder(state)
    if not (folder / "lock").exists():
        raise ChamberError(f"{folder} holds no chamber", "give its folder with --state")
    if not yes:
        click.confirm(f"Remove {folder} with every object, database and instance in it?", abort=True)
    found = client.find(folder)
    if found is None:
        # Why: instances and databases of a chamber that was killed still run; only a chamber can end them well.
        found = client.start(folder, ["--port", "0", "--https-port", "0"])
    client.stop(found)
    shutil.rmtree(folder)
    say(f"removed {folder}")


@main.command()
@state_option
@json_option
def doctor(state: str | None, as_json: bool) -> None:
    """What this machine can do, what is missing, and the one command that would help."""
    from cloudchamber.doctor import examine

    findings = examine(state_folder(state))
    if as_json:
        click.echo(
            json.dumps([{"name": f.name, "ok": f.ok, "detail": f.detail, "next": f.next_step} for f in findings])
        )
    else:
        for finding in findings:
            click.secho(
                f"  {'ok  ' if finding.ok else 'NOTE'} {finding.name}: {finding.detail}",
                fg=None if finding.ok else "yellow",
            )
            if finding.next_step:
                click.echo(f"       next: {finding.next_step}")

# SPDX-License-Identifier: Apache-2.0
"""The command `cloudchamber` itself, and what its commands share: options, the running chamber, how to print."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudchamber import __version__
from cloudchamber.base.errors import ChamberError
from cloudchamber.settings import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.client import Client

ORDER = (
    "up", "new", "down",
    "start", "status", "stop", "reset", "doctor", "scrub", "rebuild",
    "env", "run", "psql", "shell", "ssh", "invoke", "watch", "debug",
    "tracks", "track", "logs",
    "why", "who-can", "policy",
    "account", "organization", "oidc", "peer",
)  # fmt: skip
"""The commands as the help lists them; one that is not named here stands at the end."""
state_option = click.option("--state", metavar="DIR", help="State folder (default: ./.cloudchamber).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class _Commands(click.Group):
    """Turns our own errors into a message, the next step, and exit code 1; lists commands in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(n for n in ORDER if n in self.commands), *(n for n in self.commands if n not in ORDER)]

    def invoke(self, ctx: click.Context) -> Any:
        from cloudchamber.client import Refused

        try:
            return super().invoke(ctx)
        except ChamberError as error:
            click.secho(f"cloudchamber: {error.message}", fg="red", err=True)
            if error.hint:
                click.echo(f"  next: {error.hint}", err=True)
        except Refused as error:
            click.secho(f"cloudchamber: {error.code}: {error.message}", fg="red", err=True)
            if error.code.startswith("AccessDenied"):
                click.echo("  next: 'cloudchamber why --last' shows what IAM said", err=True)
        except KeyboardInterrupt:
            click.echo(err=True)
            if ctx.invoked_subcommand == "up":
                say("no longer following; the chamber goes on. The same command follows again")
            raise SystemExit(130) from None
        raise SystemExit(1)


@click.group(cls=_Commands, epilog="Begin with: cloudchamber new my-app, then cloudchamber up my-app.")
@click.version_option(__version__)
def main() -> None:
    """AWS's core - EC2, RDS, S3, Lambda, IAM - as one wired system on this machine."""


def chamber(state: str | None) -> Client:
    """The running chamber.

    Raises:
        ChamberError: none runs on that folder.
    """
    from cloudchamber import client

    return client.need(state_folder(state))


def called() -> str:
    """What to type for this program: its name, where that is enough."""
    if shutil.which("cloudchamber"):
        return "cloudchamber"
    return "./cloudchamber" if os.access("cloudchamber", os.X_OK) and Path("cloudchamber").is_file() else sys.argv[0]


def say(text: str) -> None:
    """A line about the work itself, to standard error."""
    click.echo(f"  {text}", err=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        click.echo("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())

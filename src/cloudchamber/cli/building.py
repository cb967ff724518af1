# SPDX-License-Identifier: Apache-2.0
"""Commands that bring an app into a chamber."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import called, json_option, main, say, state_option, table
from cloudchamber.cli.running import ensure
from cloudchamber.settings import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence


@main.command()
@click.argument("template", type=click.Path(path_type=Path), default=Path("template.yaml"))
@click.option("--stack-name", "name", help="Name of the stack (default: the template's folder).")
@click.option("--parameter", "-p", "given", multiple=True, metavar="KEY=VALUE", help="A parameter of the template.")
@click.option("--port", type=int, help="Port of the endpoint, if a chamber must be started.")
@click.option("--https-port", type=int, help="Port of the HTTPS door, if a chamber must be started.")
@click.option("--root-key", "key", metavar="KEY:SECRET", help="Root access key, if a chamber must be started.")
@state_option
@json_option
def up(
    template: Path,
    name: str | None,
    given: tuple[str, ...],
    port: int | None,
    https_port: int | None,
    key: str | None,
    state: str | None,
    as_json: bool,
) -> None:
    """Start if needed, deploy TEMPLATE (a file, or a folder with a template.yaml), and follow until its app answers."""
    from cloudchamber import deploy

    if template.is_dir():
        template = template / "template.yaml"
    if not template.is_file():
        raise ChamberError(
            f"there is no {template}",
            f"name a template or its folder; '{called()} new my-app' makes one to begin with",
        )
    parameters = _parameters(given)
    began = time.monotonic()
    client = ensure(state_folder(state), port, https_port, key)
    done = deploy.deploy(client, template, name or deploy.stack_name(template), parameters, say)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "stack": done.stack,
                    "outputs": done.outputs,
                    "apps": done.apps,
                    "console": client.console,
                    "endpoint": client.endpoint,
                }
            )
        )
        return
    about = client.about
    rows = [["app", url] for url in done.apps.values()]
    hosts = [url.split("/")[2].rpartition(":")[0] for url in done.apps.values()]
    rows += [["console", client.console], ["endpoint", client.endpoint]]
    for resource in done.resources:
        if resource["ResourceType"] in (
            "AWS::EC2::Instance",
            "AWS::RDS::DBInstance",
            "AWS::S3::Bucket",
            "AWS::Lambda::Function",
        ):
            rows.append([resource["ResourceType"].removeprefix("AWS::"), resource["PhysicalResourceId"]])
    # Why not addresses: `http://HOST/` is where the app is on AWS; here it is the HTTPS address above.
    rows += [[f"output {k}", v] for k, v in done.outputs.items() if not any(host in v for host in hosts)]
    rows += [
        ["sandbox", f"{about['sandbox_mode']} (limits by {about['limits_by']})"],
        ["IAM", "on: every call is checked; 'cloudchamber why ID' explains a denial"],
        ["CA", f"{client.state / 'ca' / 'ca.pem'} (add it to the browser, or accept its warning once)"],
    ]
    click.echo()
    table(rows)
    click.echo(f"\n  ready in {time.monotonic() - began:.1f} s")
    use = "open the app, use it" if done.apps else "use it"
    click.echo(f"  next: {use}, then '{called()} tracks'")


def _parameters(given: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE`, each.

    Raises:
        ChamberError: one has no `=`.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ChamberError(f"the parameter {text!r} is not KEY=VALUE", "for example -p Thumbnails=off")
        found[key] = value
    return found


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Copy the flagship app to FOLDER, as a starting point."""
    from cloudchamber import packaging

    packaging.copy_example(folder)
    click.echo(f"made {folder}; next: {called()} up {folder}")

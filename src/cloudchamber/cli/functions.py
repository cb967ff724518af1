# SPDX-License-Identifier: Apache-2.0
"""Commands for who writes functions: run one on a real event, have its code live as it is written."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, say, state_option


@main.command()
@click.argument("function")
@click.option("--event", "kind", type=click.Choice(("s3:put", "s3:delete", "url", "schedule")), help="A real event.")
@click.option("--payload", metavar="JSON|@FILE", help="The event itself.")
@click.option("--bucket", default="", help="Of an S3 event.")
@click.option("--key", default="", help="Of an S3 event: an object that is there.")
@click.option("--path", default="/", help="Of a URL event, with its query.")
@click.option("--method", default="GET", help="Of a URL event.")
@click.option("--body", default="", help="Of a URL event.")
@click.option("--qualifier", default="", help="A version or an alias.")
@click.option("--asynchronous", is_flag=True, help="Accept the event, do not wait.")
@click.option("--show", is_flag=True, help="Print the event, run nothing.")
@state_option
@json_option
def invoke(
    function: str,
    kind: str | None,
    payload: str | None,
    bucket: str,
    key: str,
    path: str,
    method: str,
    body: str,
    qualifier: str,
    asynchronous: bool,
    show: bool,
    state: str | None,
    as_json: bool,
) -> None:
    """Run FUNCTION: cloudchamber invoke fn --event s3:put --bucket B --key K. Its log goes to standard error."""
    from cloudchamber import invoking

    if kind and payload:
        raise ChamberError("--event and --payload are two events", "give one of them")
    client = chamber(state)
    options = {"bucket": bucket, "key": key, "path": path, "method": method, "body": body}
    made = invoking.read_payload(payload or "{}")
    if kind:
        made = json.dumps(invoking.event(client, kind, options)).encode()
    if show:
        click.echo(json.dumps(json.loads(made), indent=2))
        return
    began = time.monotonic()
    done = invoking.invoke(client, function, made, qualifier=qualifier, asynchronous=asynchronous)
    if as_json:
        click.echo(json.dumps({"payload": done.payload, "error": done.error, "version": done.version, "log": done.log}))
    else:
        click.echo(done.log, err=True, nl=False)
        click.echo(done.payload)
        if asynchronous:
            say("accepted")
        else:
            took_ms = (time.monotonic() - began) * 1000
            say(f"version {done.version}, {took_ms:.0f} ms" + (", failed" if done.error else ""))
    if done.error:
        sys.exit(1)


@main.command()
@click.argument("function")
@click.option("--port", default=5678, show_default=True, help="Of this machine, for the editor to connect to.")
@click.option("--inside", default=5678, show_default=True, help="CLOUDCHAMBER_DEBUG_PORT of the function.")
@state_option
def debug(function: str, port: int, inside: int, state: str | None) -> None:
    """Let an editor attach to FUNCTION, whose CLOUDCHAMBER_DEBUG_PORT is set and whose package has debugpy."""
    import socket

    from cloudchamber import shell

    client = chamber(state)
    with socket.create_server(("127.0.0.1", port)) as door:
        say(f"attach to 127.0.0.1:{door.getsockname()[1]} (debugpy, remote root /var/task); Ctrl-C ends it")
        while True:
            connection, _ = door.accept()
            with connection:
                try:
                    shell.ask(client.state, {"function": function, "port": inside}, [connection.fileno()])
                except ChamberError as error:
                    say(error.message)
                else:
                    say("attached")


@main.command()
@click.argument("template", type=click.Path(path_type=Path), default=Path("template.yaml"))
@click.option("--stack-name", "name", help="Name of the stack (default: the template's folder).")
@state_option
def watch(template: Path, name: str | None, state: str | None) -> None:
    """Bring the code of TEMPLATE's functions into place whenever a file changes: the next invocation runs it."""
    from cloudchamber import deploy, invoking
    from cloudchamber.client import Refused

    if template.is_dir():
        template = template / "template.yaml"
    client = chamber(state)
    found = invoking.watched(client, template, name or deploy.stack_name(template))
    # Why first: what is written once this says that it watches must not be missed.
    changes = invoking.changes(found)
    for each in found:
        say(f"watching {each.path} for {each.function}")
    for each in changes:
        began = time.monotonic()
        try:
            invoking.bring(client, each, say)
        except (ChamberError, Refused) as error:
            say(f"{each.logical_id}: {error.message}")
        else:
            say(f"{each.logical_id} is live, {(time.monotonic() - began) * 1000:.0f} ms")

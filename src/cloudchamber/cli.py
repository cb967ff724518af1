# SPDX-License-Identifier: Apache-2.0
"""The command line: the only module that prints."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudchamber import __version__
from cloudchamber.base.errors import ChamberError
from cloudchamber.settings import child_environment, from_environment, root_key, state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.client import Client

LOG_OCTETS_MAX = 16 * 1024 * 1024
"""Of the chamber's log, twice: the current file and the one before."""
_state = click.option("--state", metavar="DIR", help="State folder (default: ./.cloudchamber).")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


class _Commands(click.Group):
    """Turns our own errors into a message, the next step, and exit code 1; lists commands in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _ORDER if name in self.commands]

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
                click.echo("  next: 'cloudchamber tracks --all' shows the call and what IAM said", err=True)
        except KeyboardInterrupt:
            click.echo(err=True)
            if ctx.invoked_subcommand == "up":
                _say("no longer following; the chamber goes on. The same command follows again")
            raise SystemExit(130) from None
        raise SystemExit(1)


_ORDER = (
    "up", "new", "down",
    "start", "status", "stop", "reset", "doctor",
    "env", "run", "psql", "shell",
    "tracks", "track", "why", "logs",
)  # fmt: skip


@click.group(cls=_Commands, epilog="Begin with: cloudchamber new my-app, then cloudchamber up my-app.")
@click.version_option(__version__)
def main() -> None:
    """AWS's core - EC2, RDS, S3, Lambda, IAM - as one wired system on this machine."""


def _client(state: str | None) -> Client:
    from cloudchamber import client

    return client.need(state_folder(state))


def _say(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        click.echo("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


# starting and stopping


@main.command()
@click.option("--foreground", is_flag=True, help="Run here until it is stopped, log to standard error.")
@click.option("--port", type=int, help="Port of the endpoint (default: 4566; 0: any).")
@click.option("--https-port", type=int, help="Port of the HTTPS door to instances (default: 4443; 0: any).")
@click.option("--root-key", "key", metavar="KEY:SECRET", help="Use this root access key, for example test:test.")
@click.option(
    "--sandbox", "mode", type=click.Choice(["ns-root", "ns-user", "landlock", "plain"]), help="Insist on a mode."
)
@_state
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
    running = _ensure(folder, port, https_port, key, mode)
    _banner(running)


def _ensure(
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
    _say(f"starting a chamber on {folder}")
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


def _called() -> str:
    """What to type for this program: its name, where that is enough."""
    if shutil.which("cloudchamber"):
        return "cloudchamber"
    return "./cloudchamber" if os.access("cloudchamber", os.X_OK) and Path("cloudchamber").is_file() else sys.argv[0]


def _banner(client: Client) -> None:
    about = client.about
    click.echo(f"cloudchamber {about['version']} at {client.endpoint}, IAM on, sandbox {about['sandbox_mode']}")
    if about["root_key_given"]:
        click.secho(
            "  the root key was given on the command line: a well-known key is root for every local process",
            fg="yellow",
        )
    for line in about["not_blocked"]:
        click.echo(f"  not blocked in this mode: {line}")
    click.echo(f"  console: {client.console}")
    click.echo(f'  credentials: eval "$({_called()} env)"')


@main.command()
@_state
def stop(state: str | None) -> None:
    """Stop the chamber with its instances and databases; everything is kept and comes back at the next start."""
    from cloudchamber import client

    client.stop(_client(state))
    _say("stopped")


@main.command()
@_state
@_json
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
    _table([["SERVICE", "KIND", "ID", "STATE", "DETAIL"], *rows])


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@_state
def down(yes: bool, state: str | None) -> None:
    """Delete every stack (with the objects in its buckets), then stop."""
    from cloudchamber import client, deploy

    found = _client(state)
    live = [
        s["StackName"]
        for s in found.ask("cloudformation", "ListStacks").get("StackSummaries", [])
        if s["StackStatus"] != "DELETE_COMPLETE"
    ]
    if live and not yes:
        click.confirm(f"Delete {', '.join(live)} with all data?", abort=True)
    for name in live:
        _say(f"deleting stack {name}")
        deploy.delete(found, name)
    client.stop(found)
    _say("stopped")


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@_state
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
    _say(f"removed {folder}")


# using it


def _exports(client: Client) -> dict[str, str]:
    key, secret = client.root_key
    return {
        "AWS_ENDPOINT_URL": client.endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": client.about["region"],
        "AWS_DEFAULT_REGION": client.about["region"],
    }


@main.command()
@_state
@_json
def env(state: str | None, as_json: bool) -> None:
    """Shell exports of the endpoint, the root credentials and PATH: eval "$(cloudchamber env)"."""
    values = _exports(_client(state))
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


def _with_endpoint(command: list[str], endpoint: str) -> list[str]:
    """The aws command gets the endpoint as an option too: its version 1 sends `aws rds` to AWS whatever the environment
    says, and older ones do not know the variable."""
    if Path(command[0]).name != "aws" or any(word.startswith("--endpoint-url") for word in command):
        return command
    return [command[0], "--endpoint-url", endpoint, *command[1:]]


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_state
def run(command: tuple[str, ...], state: str | None) -> None:
    """Run a command with the endpoint and the root credentials set: cloudchamber run -- aws s3 ls."""
    values = child_environment(**_exports(_client(state)))
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        values.pop(name, None)
    # Why last: the person's own tools come first; the aws command that came with us is found without a venv too.
    values["PATH"] = os.pathsep.join([*filter(None, [values.get("PATH")]), str(Path(sys.executable).parent)])
    line = _with_endpoint(list(command), values["AWS_ENDPOINT_URL"])
    try:
        os.execvpe(line[0], line, values)
    except OSError as error:
        raise ChamberError(f"cannot run {command[0]}: {error.strerror}", "check the name and PATH") from error


@main.command()
@click.argument("template", type=click.Path(path_type=Path), default=Path("template.yaml"))
@click.option("--stack-name", "name", help="Name of the stack (default: the template's folder).")
@click.option("--parameter", "-p", "given", multiple=True, metavar="KEY=VALUE", help="A parameter of the template.")
@click.option("--port", type=int, help="Port of the endpoint, if a chamber must be started.")
@click.option("--https-port", type=int, help="Port of the HTTPS door, if a chamber must be started.")
@click.option("--root-key", "key", metavar="KEY:SECRET", help="Root access key, if a chamber must be started.")
@_state
@_json
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
            f"name a template or its folder; '{_called()} new my-app' makes one to begin with",
        )
    parameters = _parameters(given)
    began = time.monotonic()
    client = _ensure(state_folder(state), port, https_port, key)
    done = deploy.deploy(client, template, name or deploy.stack_name(template), parameters, _say)
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
    _table(rows)
    click.echo(f"\n  ready in {time.monotonic() - began:.1f} s")
    use = "open the app, use it" if done.apps else "use it"
    click.echo(f"  next: {use}, then '{_called()} tracks'")


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


# looking


@main.command()
@click.argument("target", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on showing what comes.")
@_state
def logs(target: str | None, follow: bool, state: str | None) -> None:
    """Logs of the chamber, of an instance (i-...), or of a function (its name)."""
    from cloudchamber import reading

    folder = state_folder(state)
    if target is None:
        pieces = reading.chamber_log(folder, follow=follow)
    elif target.startswith("i-"):
        pieces = reading.console_output(_client(state), target, follow=follow)
    else:
        pieces = reading.function_log(_client(state), target, follow=follow)
    for piece in pieces:
        click.echo(piece, nl=False)


@main.command()
@click.option("--follow", is_flag=True, help="Show steps as they happen.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many tracks.")
@click.option("--all", "everything", is_flag=True, help="Also tracks of a single step, and those that only look.")
@_state
@_json
def tracks(follow: bool, limit: int, everything: bool, state: str | None, as_json: bool) -> None:
    """The latest tracks, each with its steps: who called what, as whom, allowed by which statement, when."""
    from cloudchamber.track.recorder import segment
    from cloudchamber.track.tree import lines

    client = _client(state)
    if follow:
        for body in client.follow():
            if body["service"] == "cloudchamber" and not everything:
                continue
            click.echo(json.dumps(body) if as_json else "\n".join(lines([segment(body)])) + f"  [{body['track_id']}]")
        return
    listed = client.get(f"api/tracks?limit={limit}&all=1" if everything else "api/tracks?limit=200")
    chosen = [t for t in listed if everything or t["steps"] > 1 or t["errors"]]
    if as_json:
        click.echo(json.dumps([client.get(f"api/tracks/{t['id']}") for t in chosen[:limit]]))
        return
    for alike in reversed(_folded(chosen, everything)[:limit]):
        _show_track(client, alike[0]["id"])
        if len(alike) > 1:
            _say(f"{len(alike) - 1} more like this one before it; --all shows each\n")
    if not chosen:
        _say("no track yet: use the app, or any AWS tool with 'cloudchamber run -- CMD'; --all shows more")


def _folded(listed: Sequence[dict[str, Any]], everything: bool) -> list[list[dict[str, Any]]]:
    """Tracks that follow each other and are alike (a page that asks again and again), as one; latest first."""
    out: list[list[dict[str, Any]]] = []
    for item in listed:
        same = bool(out) and all(out[-1][0][key] == item[key] for key in ("title", "error", "who"))
        if same and not everything:
            out[-1].append(item)
        else:
            out.append([item])
    return out


def _show_track(client: Client, track_id: str) -> None:
    from cloudchamber.track.recorder import segment
    from cloudchamber.track.tree import lines

    found = client.get(f"api/tracks/{track_id}")
    if found is None:
        raise ChamberError(f"there is no track {track_id}", "'cloudchamber tracks --all' lists them")
    click.secho(f"{found['id']}  {found['title']}  ({found['duration_ms']:.1f} ms)", bold=True)
    for line in lines([segment(s) for s in found["segments"]]):
        click.echo(line)
    click.echo()


@main.command()
@click.argument("track_id")
@_state
@_json
def track(track_id: str, state: str | None, as_json: bool) -> None:
    """One track, step by step."""
    client = _client(state)
    if as_json:
        click.echo(json.dumps(client.get(f"api/tracks/{track_id}")))
        return
    _show_track(client, track_id)


@main.command()
@click.argument("request_id")
@_state
@_json
def why(request_id: str, state: str | None, as_json: bool) -> None:
    """Why IAM allowed or denied a request (its request id, from the error or the track)."""
    found = _client(state).get(f"api/why/{request_id}")
    if found is None:
        raise ChamberError(f"there is no request {request_id}", "'cloudchamber tracks --all --json' has the ids")
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found['service']} {found['name']}, track {found['track_id']}")
    if found["principal"]:
        click.echo(f"as {found['principal']}")
    for decision in found["decisions"]:
        _show_decision(decision)
    if found["error"]:
        click.echo(f"answered {found['status']} {found['error']}: {found['notes'].get('message', '')}")


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _show_decision(decision: dict[str, Any]) -> None:
    from cloudchamber.track.tree import decision_text

    click.secho(decision_text(decision), fg="green" if decision.get("allowed") else "red")
    click.echo(f"  resource: {decision['resource']}")
    for policy in decision.get("policies", []):
        click.echo(f"  consulted: {policy['name']} ({policy['kind']})")
    for key, value in decision.get("context", {}).items():
        click.echo(f"  {key} = {value if value is not None else 'not in the request'}")
    nearest = decision.get("nearest")
    if nearest:
        click.echo(f"  nearest: statement {nearest['sid'] or nearest['statement']} of {nearest['policy']}; its")
        wants, has = json.dumps(nearest["wants"]), json.dumps(nearest["has"])
        click.echo(f"    {nearest['element']} wants {wants}, the request has {has}")
    for remedy in decision.get("allow_with", []):
        click.echo(f"  this statement in {_a(remedy['policy'])} would allow it:")
        click.echo("    " + json.dumps(remedy["statement"], indent=2).replace("\n", "\n    "))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Copy the flagship app to FOLDER, as a starting point."""
    from cloudchamber import packaging

    packaging.copy_example(folder)
    click.echo(f"made {folder}; next: {_called()} up {folder}")


@main.command()
@_state
@_json
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


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("database")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", help="As another user, over TLS to the endpoint; psql asks for the password.")
@_state
def psql(database: str, arguments: tuple[str, ...], user: str | None, state: str | None) -> None:
    """A psql on a DB instance as its master user, past its security groups: cloudchamber psql DB -- -c "select 1"."""
    from cloudchamber import reading

    program, line, extra = reading.psql(_client(state), database, list(arguments), user)
    try:
        os.execve(program, line, child_environment(**extra))
    except OSError as error:
        raise ChamberError(f"cannot run {program}: {error.strerror}") from error


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("instance")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_state
def shell(instance: str, command: tuple[str, ...], state: str | None) -> None:
    """A shell (or a command) inside an instance, on this terminal."""
    from cloudchamber.shell import attach

    client = _client(state)
    raise SystemExit(attach(client.state, instance, list(command) or ["/bin/bash", "-l"]))

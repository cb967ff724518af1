# SPDX-License-Identifier: Apache-2.0
"""The command that writes a role's least-privilege policy, proves it, compares it, and puts it in force."""

from __future__ import annotations

import json
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import called, chamber, json_option, main, say, state_option

if TYPE_CHECKING:
    from cloudchamber.client import Client

_LISTED_MAX = 20


@main.command()
@click.argument("name", metavar="ROLE", required=False)
@click.option("--prove", is_flag=True, help="Replay every recorded decision against it; leave out each part in turn.")
@click.option("--diff", is_flag=True, help="What is granted now, and what of it was used.")
@click.option("--apply", "put", is_flag=True, help="Put it in force in place of the policies that the role has.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--undo", metavar="FILE", type=click.Path(path_type=Path), help="Take an earlier --apply back.")
@state_option
@json_option
def policy(
    name: str | None, prove: bool, diff: bool, put: bool, yes: bool, undo: Path | None, state: str | None, as_json: bool
) -> None:
    """Write the least-privilege policy of a role or user from what it really did."""
    client = chamber(state)
    if undo is not None:
        _take_back(client, undo)
        return
    if not name:
        raise click.UsageError("say which role or user")
    found = client.get(f"api/policy/{urllib.parse.quote(name)}")
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)
        if diff:
            _show_difference(found)
        if prove:
            _show_proof(found)
    if prove and not found["proof"]["holds"]:
        raise SystemExit(1)
    if put:
        _put(client, found, yes)


def _show(found: dict[str, Any]) -> None:
    """The policy to standard output, ready to be kept; the words about it to standard error."""
    recorded = found["recorded"]
    say(f"{found['kind']} {found['entity']}")
    if not recorded["different"]:
        say("nothing is recorded of it yet: use what it is for, then ask again")
    else:
        span = f"{_moment(recorded['since'])} to {_moment(recorded['until'])}"
        say(f"from {recorded['decisions']} recorded decisions, {recorded['different']} different ones, {span}")
    click.echo(json.dumps(found["policy"], indent=2))
    for one in found["reasons"]:
        say(f"{one['sid']}: {_short(one['resource'])}: {one['why']}")
    if found["kept_denials"]:
        say(f"{found['kept_denials']} statements that deny were kept as they are")
    _list("asked for and denied, so not in it", found["denied"], explain=True)
    _list("allowed by the resource's own policy alone, so not needed in it", found["by_resource"])
    say(_size(found))


def _size(found: dict[str, Any]) -> str:
    size, limits = found["size"], found["limits"]
    words = [f"{size} characters: inline up to {limits['inline']}, managed up to {limits['managed']}"]
    if size > limits["inline"]:
        words.append("TOO LARGE for an inline policy")
    if size > limits["managed"]:
        words.append("TOO LARGE for a managed policy: no one policy can hold it")
    return "; ".join(words)


def _list(title: str, rows: list[dict[str, Any]], *, explain: bool = False) -> None:
    if rows:
        say(f"{title}:")
    for row in rows[:_LISTED_MAX]:
        more = f"  ({called()} why {row['step']})" if explain else ""
        say(f"  {row['action']} on {row['resource']}, {row['count']} times{more}")
    if len(rows) > _LISTED_MAX:
        say(f"  and {len(rows) - _LISTED_MAX} more; --json has them")


def _show_difference(found: dict[str, Any]) -> None:
    used = [g for g in found["granted"] if g["used"]]
    unused = [g for g in found["granted"] if not g["used"]]
    click.echo("granted and used")
    for one in used:
        which = f": {', '.join(one['used'])}" if list(one["used"]) != [one["action"]] else ""
        click.echo(f"  {one['action']} on {one['resource']} ({_place(one)}){which}")
        if one["unused"]:
            click.echo(f"    it also grants {len(one['unused'])} actions nobody asked for: {_some(one['unused'])}")
    click.echo("granted and never used")
    for one in unused:
        click.echo(f"  {one['action']} on {one['resource']} ({_place(one)})")
    if not unused:
        click.echo("  nothing")


def _place(one: dict[str, Any]) -> str:
    return f"{one['sid'] or 'statement ' + str(one['statement'] + 1)} of {one['policy']}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _show_proof(found: dict[str, Any]) -> None:
    proof = found["proof"]
    click.echo(
        f"replayed {proof['replayed']} decisions that were allowed ({proof['different']} different ones): "
        f"{len(proof['refused'])} would be denied"
    )
    click.echo(f"of what was denied, {len(proof['opened'])} would be allowed")
    click.echo(
        f"left out each of {proof['parts']} actions, resources and condition values: "
        f"{proof['parts'] - len(proof['idle'])} break something, {len(proof['idle'])} do not"
    )
    for one in proof["refused"] + proof["opened"]:
        click.echo(f"  {one['action']} on {one['resource']}")
    for text in proof["idle"]:
        click.echo(f"  not needed: {text}")
    holds = proof["holds"]
    click.secho("proved" if holds else "NOT proved", fg="green" if holds else "red")


def _put(client: Client, found: dict[str, Any], yes: bool) -> None:
    from cloudchamber import replacing

    if not found["recorded"]["different"]:
        raise ChamberError("nothing is recorded of it: an empty policy would stop it", "use it first")
    if not found["proof"]["holds"]:
        raise ChamberError("the policy is not proved, so it is not put in force", "see --prove")
    if found["account"] != client.about["account"]:
        raise ChamberError("it belongs to another account", "put the policy in force there with 'aws iam'")
    if not yes:
        current = ", ".join(found["current"]) or "no policy"
        click.confirm(f"Put it in force for {found['name']} in place of {current}?", abort=True, err=True)
    managed = found["size"] > found["limits"]["inline"]
    undo = replacing.replace(client, found["kind"], found["name"], found["policy"], managed=managed)
    which = f"{'managed' if managed else 'inline'} policy {replacing.NAME}"
    say(f"in force: {which} of {found['kind']} {found['name']}, and no other of its own")
    say(f"to take it back: {called()} policy --undo {undo}")
    others = [name for name in found["current"] if " of group " in name]
    if others:
        say(f"its groups still grant: {', '.join(others)}")


def _take_back(client: Client, path: Path) -> None:
    from cloudchamber import replacing

    before = replacing.restore(client, path)
    policies = ", ".join([*before["inline"], *before["attached"]]) or "none"
    say(f"{before['kind']} {before['name']} has its policies back: {policies}")


def _short(arn: str) -> str:
    return arn.split(":", 5)[-1] if arn.count(":") >= 5 else arn


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")

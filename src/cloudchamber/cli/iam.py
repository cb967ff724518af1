# SPDX-License-Identifier: Apache-2.0
"""Commands that ask IAM: why it decided so, and who could."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, say, state_option

_COLOURS = {"ALLOWED": "green", "DENIED": "red"}


@main.command()
@click.argument("request_id", required=False)
@click.option("--last", is_flag=True, help="The latest denial.")
@state_option
@json_option
def why(request_id: str | None, last: bool, state: str | None, as_json: bool) -> None:
    """Why IAM allowed or denied a request: by its request id (from the error) or a step's id (from the track)."""
    if last == bool(request_id):
        raise click.UsageError("say which request, or --last")
    wanted = "last" if last else urllib.parse.quote(str(request_id).strip(), safe="")
    found = chamber(state).get(f"api/why/{wanted}")
    if found is None:
        what = "nothing was denied yet" if last else f"there is no request {request_id}"
        raise ChamberError(what, "'cloudchamber tracks --all --json' has the ids")
    if as_json:
        click.echo(json.dumps(found))
        return
    request = f", request {found['request_id']}" if found["request_id"] else ""
    click.echo(f"{found['service']} {found['name']}{request}, step {found['id']} of track {found['track_id']}")
    for decision, story in zip(found["decisions"], found["stories"], strict=True):
        click.echo()
        _show_story(decision, story)
    if not found["decisions"]:
        say("IAM was not asked: this step needs no permission")
    if found["error"]:
        click.echo(f"\nanswered {found['status']} {found['error']}: {found['notes'].get('message', '')}")


def _show_story(decision: dict[str, Any], story: list[dict[str, Any]]) -> None:
    from cloudchamber.track.tree import one_line

    for number, chapter in enumerate(story):
        title = f"{chapter['title']} {decision['action']}" if number == 0 else chapter["title"]
        click.secho(one_line(title), fg=_COLOURS.get(chapter["title"]), bold=True)
        for line in chapter["lines"]:
            click.echo(f"  {one_line(line)}")
        for line in chapter["code"].splitlines():
            click.echo(f"    {one_line(line)}")


@main.command("who-can")
@click.argument("action")
@click.argument("resource", default="*")
@click.option("--all", "everybody", is_flag=True, help="Also those who cannot, and why.")
@state_option
@json_option
def who_can(action: str, resource: str, everybody: bool, state: str | None, as_json: bool) -> None:
    """Who can do ACTION (s3:GetObject) on RESOURCE (an ARN), and through which statement."""
    asked = urllib.parse.urlencode({"action": action, "resource": resource})
    found = chamber(state).get(f"api/who-can?{asked}")
    if as_json:
        click.echo(json.dumps(found))
        return
    answers = found["answers"]
    if resource != "*" and not found["resource_account"]:
        say("no resource of that name is known here: answered as if it were one of the first account's")
    for answer in answers:
        if answer["answer"] == "allowed":
            click.echo(f"{click.style('yes', fg='green')}  {answer['principal']} ({answer['kind']})")
            _show_through(answer)
    for answer in answers:
        if answer["answer"] == "conditional":
            click.echo(f"{click.style('if', fg='yellow')}   {answer['principal']} ({answer['kind']})")
            for text in answer["conditions"]:
                click.echo(f"       if {text}")
            for text in answer["unless"]:
                click.echo(f"       unless {text}")
            _show_through(answer)
    for other in found["others"]:
        click.echo(f"{click.style('?', fg='yellow')}    {other}: named by the resource; its own account decides too")
    denied = [answer for answer in answers if answer["answer"] == "denied"]
    for answer in denied if everybody else ():
        click.echo(f"{click.style('no', fg='red')}   {answer['principal']} ({answer['kind']}): {answer['reason']}")
        _show_through(answer)
    if len(denied) == len(answers) and not found["others"]:
        click.echo("nobody")
    if denied and not everybody:
        say(f"{len(denied)} more cannot; --all says why")


def _show_through(answer: dict[str, Any]) -> None:
    from cloudchamber.track.story import place

    for one in answer["through"]:
        click.echo(f"       by {place(one)} ({one['kind']})")

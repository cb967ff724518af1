# SPDX-License-Identifier: Apache-2.0
"""Commands that ask IAM: why it decided so, who could, and what a role needs."""

from __future__ import annotations

import json
from typing import Any

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, state_option


@main.command()
@click.argument("request_id")
@state_option
@json_option
def why(request_id: str, state: str | None, as_json: bool) -> None:
    """Why IAM allowed or denied a request (its request id, from the error or the track)."""
    found = chamber(state).get(f"api/why/{request_id}")
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

# SPDX-License-Identifier: Apache-2.0
"""Commands that show what happened: logs and tracks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, say, state_option
from cloudchamber.settings import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.client import Client


@main.command()
@click.argument("target", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on showing what comes.")
@state_option
def logs(target: str | None, follow: bool, state: str | None) -> None:
    """Logs of the chamber, of an instance (i-...), or of a function (its name)."""
    from cloudchamber import reading

    folder = state_folder(state)
    if target is None:
        pieces = reading.chamber_log(folder, follow=follow)
    elif target.startswith("i-"):
        pieces = reading.console_output(chamber(state), target, follow=follow)
    else:
        pieces = reading.function_log(chamber(state), target, follow=follow)
    for piece in pieces:
        click.echo(piece, nl=False)


@main.command()
@click.option("--follow", is_flag=True, help="Show steps as they happen.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many tracks.")
@click.option("--all", "everything", is_flag=True, help="Also tracks of a single step, and those that only look.")
@state_option
@json_option
def tracks(follow: bool, limit: int, everything: bool, state: str | None, as_json: bool) -> None:
    """The latest tracks, each with its steps: who called what, as whom, allowed by which statement, when."""
    from cloudchamber.track.recorder import segment
    from cloudchamber.track.tree import lines

    client = chamber(state)
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
    for alike in reversed(folded(chosen, everything)[:limit]):
        _show_track(client, alike[0]["id"])
        if len(alike) > 1:
            say(f"{len(alike) - 1} more like this one before it; --all shows each\n")
    if not chosen:
        say("no track yet: use the app, or any AWS tool with 'cloudchamber run -- CMD'; --all shows more")


def folded(listed: Sequence[dict[str, Any]], everything: bool) -> list[list[dict[str, Any]]]:
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
@state_option
@json_option
def track(track_id: str, state: str | None, as_json: bool) -> None:
    """One track, step by step; by its id or that of one of its requests."""
    client = chamber(state)
    if as_json:
        click.echo(json.dumps(client.get(f"api/tracks/{track_id}")))
        return
    _show_track(client, track_id)

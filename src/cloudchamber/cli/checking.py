# SPDX-License-Identifier: Apache-2.0
"""Commands that look after what is stored."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from cloudchamber.cli.group import chamber, json_option, main, say, state_option, table
from cloudchamber.settings import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.client import Client


@main.command()
@click.argument("bucket", default="")
@click.option("--rate", type=click.IntRange(1), metavar="MB", help="Read so many megabytes a second at most.")
@click.option("--list", "listed", is_flag=True, help="Only show what was put aside.")
@click.option("--discard", is_flag=True, help="Forget what was put aside and written anew or deleted since.")
@state_option
@json_option
def scrub(bucket: str, rate: int | None, listed: bool, discard: bool, state: str | None, as_json: bool) -> None:
    """Compare everything that S3 keeps (or one BUCKET) with its checksums; put aside what is wrong.

    The chamber works on meanwhile. Ends with 2 if something is wrong.
    """
    found = chamber(state)
    if listed or discard:
        _list(found, discard, as_json)
        return
    wrong, show = 0, sys.stderr.isatty() and not as_json
    for one in found.scrub(bucket, (rate or 0) * 1_000_000):
        wrong += one["kind"] == "wrong"
        if as_json:
            click.echo(json.dumps(one))
        elif one["kind"] == "wrong":
            click.secho(_named(one), fg="red")
        elif one["kind"] == "begun":
            say(f"{one['objects']} versions with {_size(one['octets'])}, {one['parts']} parts of uploads")
        elif one["kind"] == "at" and show:
            click.echo(f"\r  {one['objects']} looked at, {_size(one['octets'])} read", nl=False, err=True)
        elif one["kind"] == "orphans" and one["removed"]:
            say(f"removed {one['removed']} files that nothing names")
        elif one["kind"] == "done":
            click.echo("\r" if show else "", nl=False, err=True)
            say(f"{one['objects']} versions compared, {_size(one['octets'])} read, {one['wrong']} wrong")
    if wrong:
        if not as_json:
            click.echo("  next: write these objects anew or delete them; until then GET answers 500 InternalError")
        raise SystemExit(2)


@main.command()
@state_option
@json_option
def rebuild(state: str | None, as_json: bool) -> None:
    """Make a database anew that was lost or is broken: from what can be read of it, and from S3's files.

    The chamber must not run. A sound database is left alone.
    """
    import asyncio
    from dataclasses import asdict

    from cloudchamber import rebuilding

    folder = state_folder(state)
    done = asyncio.run(rebuilding.run(folder))
    if as_json:
        click.echo(json.dumps(asdict(done), default=str))
        return
    if not done.wrong or done.rebuilt is None:
        click.echo("the database is sound; 'cloudchamber scrub' compares what it names with the files")
        return
    made = done.rebuilt
    click.echo(f"the database: {done.wrong}")
    if done.aside is not None:
        say(f"the broken one is {done.aside}")
        rows, torn = sum(one.rows for one in done.salvaged), [one.table for one in done.salvaged if not one.whole]
        say(f"{rows} rows of all services were taken over" + (f"; not all of {', '.join(torn)}" if torn else ""))
    say(f"{made.files} files: {made.known} known, {made.objects} objects made anew, {made.older} of older ones, "
        f"{made.unlabelled} that do not say what they are")  # fmt: skip
    if made.buckets:
        say(f"buckets with the defaults of new ones: {', '.join(sorted(made.buckets))}")
    for name in made.short:
        click.secho(f"  shorter than its object: s3/blobs/{name}", fg="yellow")
    if made.bodiless:
        click.secho(f"  {made.bodiless} small objects are lost: their octets were in the database", fg="yellow")
    if done.aside is None or not done.salvaged:
        click.secho("  lost: objects of up to 16 KiB, delete markers, configuration of buckets, unfinished uploads, "
                    "and what the other services had", fg="yellow")  # fmt: skip
    click.echo("  next: 'cloudchamber start', then 'cloudchamber scrub'")


def _list(found: Client, discard: bool, as_json: bool) -> None:
    rows: list[dict[str, Any]] = found.post("api/quarantine", {}) if discard else found.get("api/quarantine")
    if as_json:
        click.echo(json.dumps(rows))
    elif rows:
        names = ("found", "bucket", "key", "version", "wrong", "expected", "actual", "file")
        head = [*(name.upper() for name in names), "STATE"]
        table([head, *([row[n] for n in names] + ["open" if row["open"] else "mended"] for row in rows)])
    else:
        say("nothing is in quarantine")


def _named(one: Mapping[str, Any]) -> str:
    where = f"{one['bucket']}/{one['key']} (version {one['version']})" if one["bucket"] else "the database"
    return f"{one['wrong']}: {where} in {one['place']}: should be {one['expected']}, is {one['actual']}"


def _size(octets: int) -> str:
    return f"{octets / 1024**3:.1f} GiB" if octets >= 1024**3 else f"{octets / 1024**2:.1f} MiB"

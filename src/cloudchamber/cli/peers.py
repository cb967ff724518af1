# SPDX-License-Identifier: Apache-2.0
"""Commands for buckets of other chambers, to which replication copies."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import urlsplit

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import json_option, main, say, state_option, table
from cloudchamber.settings import state_folder


@main.group()
def peer() -> None:
    """Buckets of other chambers (or stores that speak S3), as destinations of replication."""


@peer.command("add")
@click.argument("bucket")
@click.option("--endpoint", required=True, metavar="URL", help="Where it is: http://10.0.0.2:4566.")
@click.option("--access-key-id", "key", required=True, metavar="ID", help="Of a user there who may write to it.")
@click.option("--region", default="us-east-1", show_default=True)
@state_option
def peer_add(bucket: str, endpoint: str, key: str, region: str, state: str | None) -> None:
    """Say where a bucket is. Asks for the secret access key, or reads it from standard input."""
    from cloudchamber.services.s3 import peers

    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
        raise ChamberError(f"{endpoint} is no address of a chamber", "it looks like http://10.0.0.2:4566")
    secret = click.prompt("Secret access key", hide_input=True, err=True).strip()
    folder = state_folder(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = peers.Peer(f"{parts.scheme}://{parts.netloc}", key, secret, region)
    peers.write(folder, {**peers.read(folder), bucket: made})
    say(f"{bucket} is at {made.endpoint}: name it as a destination of PutBucketReplication")


@peer.command("list")
@state_option
@json_option
def peer_list(state: str | None, as_json: bool) -> None:
    """Buckets, where they are, and with which key they are written."""
    from cloudchamber.services.s3 import peers

    found = {bucket: replace(one, secret="") for bucket, one in peers.read(state_folder(state)).items()}
    if as_json:
        told = [
            {"Bucket": b, "Endpoint": p.endpoint, "AccessKeyId": p.key, "Region": p.region} for b, p in found.items()
        ]
        click.echo(json.dumps(told))
        return
    table([("BUCKET", "ENDPOINT", "ACCESS KEY ID"), *((b, p.endpoint, p.key) for b, p in found.items())])


@peer.command("remove")
@click.argument("bucket")
@state_option
def peer_remove(bucket: str, state: str | None) -> None:
    """Forget where a bucket is; copies that are ordered fail from then on."""
    from cloudchamber.services.s3 import peers

    folder = state_folder(state)
    found = peers.read(folder)
    if found.pop(bucket, None) is None:
        raise ChamberError(f"nobody said where {bucket} is", "cloudchamber peer list")
    peers.write(folder, found)
    say(f"{bucket} is forgotten")

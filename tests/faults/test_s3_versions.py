# SPDX-License-Identifier: Apache-2.0
"""kill -9 between any two steps of what S3 does, and at any moment under load: all or nothing, and its event besides.

Steps are calls that change the disk: syncs, renames, links, removals, and commits, before and after each. A chamber is
started that kills itself before the n-th of them, for n = 1, 2, ... until the request comes through.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import ROOT_KEY, RunningChamber

BUCKET = "kept"
OLD, NEW = b"old" * 10_000, b"new" * 10_000
PART = b"p" * 5 * 1024 * 1024
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
POINTS_MAX = 60

SUICIDAL = """
import os, sys
from pathlib import Path

armed, left = Path(sys.argv[1]), int(sys.argv[2])

def step():
    global left
    if armed.exists():
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)

def watch(owner, name, after=False):
    real = getattr(owner, name)
    def watched(*args, **more):
        step()
        done = real(*args, **more)
        if after:
            step()
        return done
    setattr(owner, name, watched)

for name in ("fdatasync", "fsync", "rename", "link", "unlink"):
    watch(os, name)
from cloudchamber.store.database import Database
watch(Database, "_publish", after=True)
if "CLOUDCHAMBER_DATABASE" in os.environ:
    from cloudchamber.store.postgres import PostgresDatabase
    from cloudchamber.store.s3_client import Store
    watch(PostgresDatabase, "_publish", after=True)
    watch(Store, "_once", after=True)
from cloudchamber.cli import main
sys.argv = ["cloudchamber", *sys.argv[3:]]
main()
"""


def start_with_point(chamber: RunningChamber, point: int) -> None:
    """Start it so that it dies before its `point`-th step after the file `armed` is there."""
    (chamber.state / "chamber.json").unlink(missing_ok=True)
    (chamber.state / "armed").unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
    environment |= {"CLOUDCHAMBER_ROOT_KEY": ROOT_KEY, **chamber.more}
    with (chamber.state / "test.log").open("ab") as log:
        chamber.process = subprocess.Popen(
            [
                sys.executable, "-c", SUICIDAL, str(chamber.state / "armed"), str(point),
                "start", "--foreground", "--state", str(chamber.state), "--port", str(chamber.port),
                "--https-port", str(chamber.https_port),
            ],
            env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    ends = time.monotonic() + 60
    while not (chamber.state / "chamber.json").exists():
        assert chamber.process.poll() is None, chamber.log[-4000:]
        assert time.monotonic() < ends
        time.sleep(0.02)
    chamber.about = json.loads((chamber.state / "chamber.json").read_text())
    chamber.port = int(chamber.endpoint.rpartition(":")[2])


def set_up(chamber: RunningChamber) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    if chamber.more:  # chambers that share their state have no functions to tell
        s3.delete_bucket_lifecycle(Bucket=BUCKET)
        return
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*"]
    wanted = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": FUNCTION, "Events": events}]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration=wanted, SkipDestinationValidation=True
    )


def state(s3) -> list[tuple[str, str, bool, bytes | None]]:
    """Every version with its octets, read back: nothing may be there that cannot be read."""
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for one in page.get("Versions", []):
            named = {"Bucket": BUCKET, "Key": one["Key"], "VersionId": one["VersionId"]}
            body = s3.get_object(**named)["Body"].read()
            assert len(body) == one["Size"]
            found.append((one["Key"], one["VersionId"], one["IsLatest"], body))
        found += [(m["Key"], m["VersionId"], m["IsLatest"], None) for m in page.get("DeleteMarkers", [])]
    newest = [key for key, _, latest, _ in found if latest]
    assert sorted(newest) == sorted({key for key, *_ in found}), "each key has one newest version"
    return sorted(found, key=str)


def events_of(chamber: RunningChamber) -> set[tuple[str, str]] | None:
    """Events that wait for delivery (nobody takes them): name and version id. Read while the chamber is down."""
    if chamber.more:
        return None
    db = sqlite3.connect(chamber.state / "chamber.db")
    payloads = [json.loads(row[0]) for row in db.execute("SELECT payload FROM outbox WHERE topic = 's3.notification'")]
    db.close()
    records = [record for payload in payloads for record in json.loads(payload["event"])["Records"]]
    return {(r["eventName"], r["s3"]["object"].get("versionId", "")) for r in records}


def put(s3, made):
    s3.put_object(Bucket=BUCKET, Key="k", Body=NEW)


def copy(s3, made):
    s3.copy_object(Bucket=BUCKET, Key="k", CopySource={"Bucket": BUCKET, "Key": "source"})


def complete(s3, made):
    s3.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=made["upload"], MultipartUpload=made["parts"])


def mark(s3, made):
    s3.delete_object(Bucket=BUCKET, Key="k")


def remove(s3, made):
    s3.delete_object(Bucket=BUCKET, Key="k", VersionId=made["version"])


def expire(s3, made):
    """The rule is there at once; what it ends, a little later."""
    rule = {"Status": "Enabled", "Prefix": "k", "Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    s3.get_waiter("object_not_exists").wait(Bucket=BUCKET, Key="k", WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def prepared(s3, change: Callable) -> dict:
    """One old version of the key; a source to copy from, or an upload in two parts, where they are needed."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            s3.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])
    version = s3.put_object(Bucket=BUCKET, Key="k", Body=OLD)["VersionId"]
    if change is copy:
        s3.put_object(Bucket=BUCKET, Key="source", Body=NEW)
    if change is not complete:
        return {"version": version}
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    named = {"Bucket": BUCKET, "Key": "k", "UploadId": upload}
    parts = [s3.upload_part(**named, PartNumber=n, Body=body) for n, body in ((1, PART), (2, b"end"))]
    tags = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]
    return {"version": version, "upload": upload, "parts": {"Parts": tags}}


@pytest.mark.parametrize(
    ("change", "event", "body"),
    [
        (put, "ObjectCreated:Put", NEW),
        (copy, "ObjectCreated:Copy", NEW),
        (complete, "ObjectCreated:CompleteMultipartUpload", PART + b"end"),
        (mark, "ObjectRemoved:DeleteMarkerCreated", None),
        (remove, "ObjectRemoved:Delete", None),
        (expire, "LifecycleExpiration:DeleteMarkerCreated", None),
    ],
)
def test_killed_between_any_two_steps(own_chamber, change: Callable, event: str, body: bytes | None):
    set_up(own_chamber)
    own_chamber.kill()
    came_through, look = False, None
    for point in range(1, POINTS_MAX):
        start_with_point(own_chamber, point)
        s3 = own_chamber.client("s3")
        if look is not None:
            look(s3)
        if came_through:
            return
        s3.delete_bucket_lifecycle(Bucket=BUCKET)
        made = prepared(s3, change)
        before = state(s3)
        (own_chamber.state / "armed").touch()
        try:
            change(s3, made)
            came_through = True
        except (BotoCoreError, ClientError) as error:
            assert not isinstance(error, ClientError), error  # killed, not refused
        own_chamber.kill()
        told = events_of(own_chamber)
        acknowledged = came_through

        def look(s3, made=made, before=before, told=told, acknowledged=acknowledged) -> None:
            after = state(s3)
            fresh = {(k, v) for k, v, _, _ in after} - {(k, v) for k, v, _, _ in before}
            gone = {(k, v) for k, v, _, _ in before} - {(k, v) for k, v, _, _ in after}
            changed = gone if change is remove else fresh
            if not changed:
                assert after == before
                assert not acknowledged
                return
            ((key, version),) = changed
            assert key == "k"
            # what a rule ends may have been ended by this start
            if told is not None and (acknowledged or change is not expire):
                assert (event, version) in told
            if body is not None:
                assert next(b for _, v, _, b in after if v == version) == body

    raise AssertionError(f"{POINTS_MAX} points were not enough")


@pytest.mark.parametrize("seed", range(2))
def test_killed_under_load(own_chamber, seed):
    """Writers put, copy, mark and remove; after the kill all that was told is so, with its events."""
    set_up(own_chamber)
    enough, chance = threading.Event(), random.Random(seed)
    kill_after = chance.randrange(60, 200)
    versions: dict[str, bytes | None] = {}
    removed: set[str] = set()
    unsure: set[str] = set()

    def work(worker: int) -> None:
        s3, luck = own_chamber.client("s3"), random.Random(worker + 100 * seed)
        mine: list[tuple[str, str]] = []
        for number in range(10_000):
            key, body = f"{worker}/{number % 5}", luck.randbytes(luck.choice((10, 20_000, 100_000)))
            try:
                what = luck.random()
                if what < 0.5 or not mine:
                    version, told = s3.put_object(Bucket=BUCKET, Key=key, Body=body)["VersionId"], body
                elif what < 0.7:
                    source_key, source = luck.choice(mine)
                    named = {"Bucket": BUCKET, "Key": source_key, "VersionId": source}
                    version, told = (
                        s3.copy_object(Bucket=BUCKET, Key=key, CopySource=named)["VersionId"],
                        versions[source],
                    )
                elif what < 0.85:
                    version, told = s3.delete_object(Bucket=BUCKET, Key=key)["VersionId"], None
                else:
                    gone_key, gone = mine.pop(luck.randrange(len(mine)))
                    unsure.add(gone)
                    s3.delete_object(Bucket=BUCKET, Key=gone_key, VersionId=gone)
                    removed.add(gone)
                    continue
            except (BotoCoreError, ClientError) as error:
                assert not isinstance(error, ClientError), error
                return
            versions[version] = told
            if told is not None:
                mine.append((key, version))
            if len(versions) >= kill_after:
                enough.set()

    with ThreadPoolExecutor(4) as workers:
        tasks = [workers.submit(work, worker) for worker in range(4)]
        assert enough.wait(120)
        own_chamber.kill()
        for task in tasks:
            task.result()
    told = events_of(own_chamber)
    own_chamber.start()
    after = {version: body for _, version, _, body in state(own_chamber.client("s3"))}
    for version, body in versions.items():
        if version not in unsure:
            assert after[version] == body
    assert not removed & after.keys()
    if told is not None:
        assert versions.keys() - {version for _, version in told} == set(), "events of acknowledged changes"

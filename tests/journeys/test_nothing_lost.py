# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the chamber, of PostgreSQL and of a running function, in the middle of uploads."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.conftest import end_chamber, new_chamber
from tests.journeys.conftest import deploy
from tests.journeys.person import Person, picture

UPLOADS = 200
KILLS = 4
WITHIN_S = 120


@pytest.fixture(scope="module")
def ours():
    running = new_chamber()
    running.start()
    try:
        yield deploy(running)
    finally:
        end_chamber(running)


def people(ours, prefix, count):
    ca = ours.chamber.state / "ca" / "ca.pem"
    made = [Person(ours.url, ca, f"{prefix}{n}") for n in range(count)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Person.sign_up, made))
    return made


def until_accepted(person, data):
    """Upload until the app says yes: what a person does who sees an error page."""
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        try:
            if person.upload(data):
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def thumbnails_missing(ours, keys):
    """Keys of pictures whose thumbnail is not there, or of another picture."""
    s3, bucket = ours.chamber.client("s3"), ours.outputs["FilesBucket"]
    missing = []
    for key in keys:
        etag = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
        try:
            if s3.head_object(Bucket=bucket, Key=f"thumbnails/{key}")["Metadata"]["source-etag"] != etag:
                missing.append(key)
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
            missing.append(key)
    return missing


def wait_for_thumbnails(ours, keys):
    ends = time.monotonic() + WITHIN_S
    missing = list(keys)
    while missing and time.monotonic() < ends:
        missing = thumbnails_missing(ours, missing)
        time.sleep(0.1)
    assert not missing, f"{len(missing)} of {len(keys)} acknowledged pictures have no thumbnail"


def app_starts(ours):
    """How often the app's process began, from the instance's console."""
    return ours.chamber.cli("logs", ours.instance).stdout.count("Started server process")


def test_kill_the_chamber_during_uploads(ours):
    members = people(ours, "m", UPLOADS)
    seed = random.randrange(2**32)
    moments = sorted(random.Random(seed).sample(range(10, UPLOADS - 10), KILLS))
    print(f"seed {seed}: kills after {moments} acknowledged uploads")
    accepted = threading.Semaphore(0)

    def upload(numbered):
        number, person = numbered
        said_yes = until_accepted(person, picture(number))
        accepted.release()
        return said_yes

    with ThreadPoolExecutor(8) as pool:
        results = pool.map(upload, enumerate(members))
        seen = 0
        for moment in moments:
            while seen < moment:
                assert accepted.acquire(timeout=WITHIN_S)
                seen += 1
            ours.chamber.kill()
            ours.chamber.start()
        assert all(results)

    assert app_starts(ours) == 1
    s3, bucket = ours.chamber.client("s3"), ours.outputs["FilesBucket"]
    keys = [person.avatar_key() for person in members]
    assert all(keys) and len(set(keys)) == UPLOADS
    for key in keys:
        assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] > 0
    wait_for_thumbnails(ours, keys)


def test_kill_postgresql(ours):
    members = people(ours, "p", 10)
    assert all(until_accepted(p, picture(n)) for n, p in enumerate(members[:5]))
    (row,) = [r for r in _status(ours)["rds"] if r["kind"] == "database"]
    os.kill(int(row["pid"]), signal.SIGKILL)
    assert all(until_accepted(p, picture(n)) for n, p in enumerate(members))
    assert all(p.avatar_key() for p in members)


def test_kill_a_running_function(ours):
    """The process of the function dies in the middle of its work; the event is delivered again."""
    members = people(ours, "f", 20)
    stop = threading.Event()

    def kill_functions():
        while not stop.is_set():
            found = subprocess.run(["pgrep", "-f", "warm_lambda|awslambdaric"], capture_output=True, text=True)
            for pid in found.stdout.split()[:1]:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            stop.wait(0.1)

    killer = threading.Thread(target=kill_functions)
    killer.start()
    try:
        assert all(until_accepted(p, picture(n)) for n, p in enumerate(members))
    finally:
        stop.set()
        killer.join()
    wait_for_thumbnails(ours, [p.avatar_key() for p in members])


def _status(ours):
    import json

    return json.loads(ours.chamber.cli("status", "--json").stdout)["parts"]

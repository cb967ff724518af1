# SPDX-License-Identifier: Apache-2.0
"""Four pieces first; the function later, by a stack update that loses nothing; and back from a stop."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError

from tests.conftest import end_chamber, new_chamber
from tests.journeys.conftest import deploy
from tests.journeys.person import Person, picture

WITHIN_S = 60


@pytest.fixture
def running():
    chamber = new_chamber()
    chamber.start()
    yield chamber
    end_chamber(chamber)


def thumbnail_of(chamber, bucket, key):
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            return chamber.client("s3").head_object(Bucket=bucket, Key=f"thumbnails/{key}")
        except ClientError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.02)


def test_four_pieces_then_lambda_then_a_restart(running):
    four = deploy(running, "-p", "Thumbnails=off")
    assert not running.client("lambda").list_functions()["Functions"]
    ca = running.state / "ca" / "ca.pem"
    early = Person(four.url, ca, "early")
    early.sign_up()
    assert early.upload(picture(1))
    key = early.avatar_key()
    bucket = four.outputs["FilesBucket"]
    before = running.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    five = deploy(running, "-p", "Thumbnails=on")
    assert (five.instance, five.outputs["FilesBucket"]) == (four.instance, bucket)
    assert five.outputs["DatabaseEndpoint"] == four.outputs["DatabaseEndpoint"]
    assert early.avatar_key() == key
    assert running.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == before
    late = Person(five.url, ca, "late")
    late.sign_up()
    assert late.upload(picture(2))
    assert thumbnail_of(running, bucket, late.avatar_key())["Metadata"]["source-etag"]

    running.stop()
    running.start()
    until_it_answers(late)
    assert late.avatar_key() and early.avatar_key() == key
    assert late.upload(picture(3))


def until_it_answers(person):
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            status, text = person.send("GET", "/")
        except OSError as error:
            status, text = 0, str(error)
        if status == 200:
            return
        assert time.monotonic() < ends, text
        time.sleep(0.1)

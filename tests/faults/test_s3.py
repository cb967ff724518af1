# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a chamber during uploads: every acknowledged object is there, whole."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

SIZES = (10, 16_384, 16_385, 200_000)


@pytest.mark.parametrize("kill_after", [7, 60])
def test_acknowledged_objects_survive(own_chamber, kill_after):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="survivors")
    acknowledged: dict[str, bytes] = {}
    enough = threading.Event()

    def put(worker: int) -> None:
        client = own_chamber.client("s3")
        for number in range(10_000):
            key, body = f"{worker}/{number}", os.urandom(SIZES[number % len(SIZES)])
            try:
                client.put_object(Bucket="survivors", Key=key, Body=body)
            except (BotoCoreError, ClientError):
                return
            acknowledged[key] = body
            if len(acknowledged) >= kill_after:
                enough.set()

    with ThreadPoolExecutor(4) as workers:
        tasks = [workers.submit(put, worker) for worker in range(4)]
        assert enough.wait(60)
        own_chamber.kill()
        for task in tasks:
            task.result()
    own_chamber.start()
    again = own_chamber.client("s3")
    for key, body in acknowledged.items():
        assert again.get_object(Bucket="survivors", Key=key)["Body"].read() == body
    pages = again.get_paginator("list_objects_v2").paginate(Bucket="survivors")
    listed = {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}
    assert acknowledged.keys() <= listed.keys()
    for key in listed.keys() - acknowledged.keys():
        assert len(again.get_object(Bucket="survivors", Key=key)["Body"].read()) == listed[key]

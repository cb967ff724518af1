# SPDX-License-Identifier: Apache-2.0
"""A chamber, a volume server, the database die under load: nothing that was acknowledged is lost, and it goes on."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.cluster.stores import KEEPS

SIZES = (10, 16_385, 200_000, 3_000_000)
WORKERS = 4
GOES_ON_WITHIN_S = 120


class Load:
    """Workers that put objects through both chambers until they are told to end; what was acknowledged."""

    def __init__(self, two, bucket: str) -> None:
        self.two, self.bucket = two, bucket
        self.acknowledged: dict[str, bytes] = {}
        self.by: list[int] = []
        self.failed: list[str] = []
        self.over = threading.Event()
        self.more = threading.Condition()
        self.pool = ThreadPoolExecutor(WORKERS)

    def __enter__(self) -> Load:
        self.tasks = [self.pool.submit(self._put, worker) for worker in range(WORKERS)]
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.pool.shutdown()
        for task in self.tasks:
            task.result()

    def wait(self, more: int, by: int | None = None) -> None:
        """Until so many more are acknowledged, by one of the chambers if `by` says which."""

        def count() -> int:
            return len(self.by) if by is None else self.by.count(by)

        with self.more:
            wanted = count() + more
            assert self.more.wait_for(lambda: count() >= wanted, GOES_ON_WITHIN_S), (self.by, self.failed[-9:])

    def _put(self, worker: int) -> None:
        which = worker % 2
        client = self.two[which].client("s3")
        for number in range(100_000):
            if self.over.is_set():
                return
            key, body = f"{worker}/{number}", os.urandom(SIZES[number % len(SIZES)])
            try:
                client.put_object(Bucket=self.bucket, Key=key, Body=body)
            except (BotoCoreError, ClientError) as error:
                self.failed.append(str(error))
                time.sleep(0.1)  # an SDK waits before it tries again
                continue
            with self.more:
                self.acknowledged[key] = body
                self.by.append(which)
                self.more.notify_all()

    def check(self) -> None:
        """Every acknowledged object is there, whole, by either chamber; what else is there is whole, too."""
        for one in self.two:
            client = one.client("s3")
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            listed = {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}
            assert self.acknowledged.keys() <= listed.keys()
            for key, size in listed.items():
                body = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
                assert body == self.acknowledged.get(key, body)
                assert len(body) == size


def test_a_chamber_is_killed(two, bucket):
    with Load(two, bucket) as load:
        load.wait(20)
        two[0].kill()
        load.wait(20, by=1)
        two[0].start()
        load.wait(10, by=0)
    load.check()


def test_a_volume_server_is_killed(stand, two, bucket):
    if stand.store.name != "seaweedfs":
        pytest.skip(f"{stand.store.name} has no volume servers")
    with Load(two, bucket) as load:
        load.wait(20)
        stand.store.kill("volume0")
        load.wait(40)
    load.check()
    stand.store.start("volume0")


def test_the_store_of_blobs_is_killed(stand, two, doors, bucket):
    """What is small goes on without it; what is large waits for it, or is refused so that SDKs try again."""
    if stand.store.name not in KEEPS:
        pytest.skip(f"{stand.store.name} keeps nothing")
    with Load(two, bucket) as load:
        load.wait(20)
        stand.store.kill(stand.store.door)
        for number in range(20):
            doors[number % 2].put_object(Bucket=bucket, Key=f"small/{number}", Body=b"%d" % number)
            assert doors[1 - number % 2].get_object(Bucket=bucket, Key=f"small/{number}")["Body"].read()
        stand.store.start(stand.store.door)
        load.wait(40)
    assert all("ServiceUnavailable" in one for one in load.failed), load.failed
    load.check()


def test_the_database_is_restarted(stand, two, bucket):
    with Load(two, bucket) as load:
        for mode in ("fast", "immediate"):
            load.wait(20)
            stand.postgres.stop(mode)
            stand.postgres.start()
            load.wait(20)
    assert all("ServiceUnavailable" in one for one in load.failed), load.failed
    load.check()


def test_another_chamber_leads_when_the_one_that_did_dies(two, doors):
    doors[0].create_bucket(Bucket="led-from")
    word = "this chamber leads"
    leader = max(two, key=lambda one: one.log.rfind(word))
    other = two[1] if leader is two[0] else two[0]
    before = other.log.count(word)
    leader.kill()
    ends = time.monotonic() + GOES_ON_WITHIN_S
    while other.log.count(word) == before:
        assert time.monotonic() < ends
        time.sleep(0.1)
    leader.start()

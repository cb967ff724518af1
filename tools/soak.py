# SPDX-License-Identifier: Apache-2.0
"""Many events through one function: each handled at least once, duplicates counted, memory flat.

``python -m tools soak [--events 100000] [--minutes 0] [--kills 0]`` puts objects (with `--minutes` as many as fit),
whose events run a function, which tells each key and its request id to a bucket of its own; prints the counts, and the
chamber's memory along the way.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.churn import Churn

if TYPE_CHECKING:
    from tests.conftest import RunningChamber

PUTTERS = 8
QUIET_S = 120.0
"""How long nothing may come before what is missing counts as lost."""


def memory_mib(running: RunningChamber) -> float:
    """Resident memory of the chamber's own process."""
    status = Path(f"/proc/{running.about['pid']}/status").read_text()
    line = next(one for one in status.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def put_all(running: RunningChamber, events: int, ends: float | None) -> int:
    """Put objects, each until it is acknowledged, until there are enough or time is over; how many."""
    numbers = itertools.takewhile(lambda _: ends is None or time.monotonic() < ends, range(events))
    lock = threading.Lock()
    put = 0

    def work() -> None:
        nonlocal put
        client = running.client("s3", config=Config(retries={"total_max_attempts": 1}))
        while True:
            with lock:
                number = next(numbers, None)
                put += number is not None
            if number is None:
                return
            while True:
                try:
                    client.put_object(Bucket="churn-in", Key=f"{number:08d}", Body=b"x")
                    break
                except (BotoCoreError, ClientError):
                    time.sleep(0.1)
                    client = running.client("s3", config=Config(retries={"total_max_attempts": 1}))

    with ThreadPoolExecutor(PUTTERS) as pool:
        for task in [pool.submit(work) for _ in range(PUTTERS)]:
            task.result()
    return put


def handled(running: RunningChamber) -> dict[str, int]:
    """How often each key was told."""
    found: dict[str, int] = {}
    for page in running.client("s3").get_paginator("list_objects_v2").paginate(Bucket="churn-done"):
        for one in page.get("Contents", ()):
            key = one["Key"].partition("/")[0]
            found[key] = found.get(key, 0) + 1
    return found


def main(arguments: list[str]) -> int:
    """Run it against a chamber of its own."""
    from tests.conftest import end_chamber, new_chamber

    parser = argparse.ArgumentParser(prog="python -m tools soak", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args(arguments)
    running = new_chamber()
    running.start()
    began = time.monotonic()
    samples: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        every = 5.0
        while not ended.wait(every):
            try:
                samples.append(round(memory_mib(running), 1))
            except (OSError, StopIteration):
                continue

    def kill() -> None:
        for _ in range(given.kills):
            if ended.wait(20.0):
                return
            running.kill()
            running.start()

    try:
        Churn(running, 0).prepare()
        watchers = [threading.Thread(target=one, daemon=True) for one in (watch, kill)]
        for one in watchers:
            one.start()
        events = put_all(running, given.events, began + given.minutes * 60 if given.minutes else None)
        put_s = time.monotonic() - began
        found, quiet_since = handled(running), time.monotonic()
        while len(found) < events and time.monotonic() - quiet_since < QUIET_S:
            time.sleep(2)
            again = handled(running)
            if sum(again.values()) > sum(found.values()):
                quiet_since = time.monotonic()
            found = again
        ended.set()
        told = {
            "events": events,
            "handled": len(found),
            "lost": events - len(found),
            "duplicates": sum(found.values()) - len(found),
            "put in s": round(put_s, 1),
            "all handled in s": round(time.monotonic() - began, 1),
            "kills": given.kills,
            "memory MiB, every 5 s": samples[:: max(1, len(samples) // 24)],
        }
        print(json.dumps(told))
    finally:
        ended.set()
        end_chamber(running)
    return int(len(found) < events)

# SPDX-License-Identifier: Apache-2.0
"""What cloudchamber's S3 holds in memory under strain, and how long small requests wait beside a large one."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import statistics
import threading
import time
from typing import TYPE_CHECKING

from tools import s3_work

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tools.s3_servers import Server

GIB = 1024**3
KEYS = 1_000_000
UPLOADS = 100
QUICK = 4
"""Uploads that go as quickly as they can; the others trickle."""
STRAIN_S = 20.0
"""How long all uploads are under way before those that are not whole are cut off."""
MEMORY_MIB = 100.0
LATENCY_MS = 20.0
_PIECE = os.urandom(s3_work.MIB)


def memory(server: Server) -> int:
    """Print the memory with a million keys, and its peak during 100 uploads of 1 GiB; 1 if it is too much."""
    server.start()
    s3_work.prepare(server)
    _print("after 1,000 small objects", *server.memory_mib())
    server.stop()
    _fill(server)
    server.start()
    client = server.client()
    for start in range(0, KEYS, 10_000):
        query = f"delimiter=%2F&list-type=2&start-after=k%2F{start // 1000:04d}%2F{start:07d}"
        assert client.ask(server.signer.head("GET", "/bench", query))[0] == 200
        query = f"list-type=2&start-after=k%2F{start // 1000:04d}%2F{start:07d}"
        assert client.ask(server.signer.head("GET", "/bench", query))[0] == 200
    keys = server.memory_mib()
    _print(f"with {KEYS:,} keys, after 200 pages of them", *keys)
    peaks = _uploads(server)
    _print(f"peak during {UPLOADS} uploads of 1 GiB, {QUICK} of them at full speed", *peaks)
    most = max(keys[0], peaks[0])
    print(f"{'reached' if most < MEMORY_MIB else 'MISSED'}: {most:.0f} MiB (bar {MEMORY_MIB:.0f})", flush=True)
    return int(most >= MEMORY_MIB)


def latency(server: Server, gib: float) -> int:
    """Print how long GETs of 1 KiB take alone, and while so many GiB are uploaded; 1 if p99 is too late."""
    server.start()
    s3_work.prepare(server)
    ends = time.monotonic() + 5
    alone = s3_work.paced_gets(server, lambda: time.monotonic() > ends, 0.002)
    size = int(gib * GIB)
    # Why a process of its own: so that no thread of ours waits for another
    upload = multiprocessing.get_context("fork").Process(target=_upload, args=(server, size))
    began = time.monotonic()
    upload.start()
    beside = s3_work.paced_gets(server, lambda: not upload.is_alive(), 0.002)
    upload.join()
    status = upload.exitcode
    took_s = time.monotonic() - began
    for told, found in (("alone", alone), (f"beside an upload of {gib:g} GiB", beside)):
        found.sort()
        p99 = found[int(len(found) * 0.99)]
        print(f"GET 1 KiB {told}: {len(found)} times, p50 {statistics.median(found):.2f} ms, p99 {p99:.2f} ms")
    reached = status == 0 and p99 < LATENCY_MS
    print(f"the upload: {'answered 200' if status == 0 else 'failed'}, {size / took_s / s3_work.MIB:.0f} MiB/s")
    print(f"{'reached' if reached else 'MISSED'}: p99 {p99:.1f} ms (bar {LATENCY_MS:.0f})", flush=True)
    return int(not reached)


def _upload(server: Server, size: int) -> None:
    with server.client().open() as sock:
        raise SystemExit(_send(sock, server, "/bench/huge", size, lambda: False) != 200)


def _fill(server: Server) -> None:
    """A million keys, as rows: it is their number that counts, and a client would need minutes."""
    db = sqlite3.connect(server.folder / "state" / "chamber.db")
    made = db.execute("SELECT size, etag, modified, checksum, stored FROM s3_objects LIMIT 1").fetchone()
    db.executemany(
        "INSERT INTO s3_objects (bucket, key, size, etag, modified, checksum, stored) "
        "VALUES ('bench', ?, ?, ?, ?, ?, ?)",
        ((f"k/{number // 1000:04d}/{number:07d}", *made) for number in range(KEYS)),
    )
    db.commit()
    db.close()


def _uploads(server: Server) -> tuple[float, float]:
    """Peak memory while all uploads are under way."""
    over = threading.Event()
    statuses: list[int] = []
    sent: list[int] = []

    def upload(number: int) -> None:
        with server.client().open() as sock:
            pause_s = 0.0 if number < QUICK else 0.5
            statuses.append(_send(sock, server, f"/bench/up/{number}", GIB, over.is_set, pause_s, sent))

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(UPLOADS)]
    for thread in threads:
        thread.start()
    peak = (0.0, 0.0)
    ends = time.monotonic() + STRAIN_S
    while time.monotonic() < ends:
        now = server.memory_mib()
        peak = max(peak[0], now[0]), max(peak[1], now[1])
        time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join()
    print(
        f"{sum(sent) / GIB:.1f} GiB came in {STRAIN_S:.0f} s; {statuses.count(200)} uploads were whole, the others cut"
    )
    return peak


def _send(
    sock: socket.socket,
    server: Server,
    path: str,
    size: int,
    stop: Callable[[], bool],
    pause_s: float = 0.0,
    counted: list[int] | None = None,
) -> int:
    """Upload octets; the status, 0 if it was stopped. A pause after each MiB lets it trickle."""
    sock.sendall(s3_work.unsigned_head(server, path, size))
    left = size
    while left > 0:
        if stop():
            break
        part = memoryview(_PIECE)[:left]
        sock.sendall(part)
        left -= len(part)
        time.sleep(pause_s)
    if counted is not None:
        counted.append(size - left)
    if left:
        return 0
    sock.settimeout(600)
    return int(sock.recv(65536)[9:12])


def _print(told: str, own: float, shares: float) -> None:
    print(f"{told}: {own:.0f} MiB; all its processes together {shares:.0f} MiB", flush=True)

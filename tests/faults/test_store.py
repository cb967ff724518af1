# SPDX-License-Identifier: Apache-2.0
"""kill -9 while many write: what was acknowledged is there, whole, with its event; nothing else is half there."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import subprocess
import sys

import pytest

from cloudchamber.store.blobs import Blobs

WRITER = """
import asyncio, hashlib, os, pathlib, sys
from cloudchamber.base.clock import SystemClock
from cloudchamber.store.blobs import Blobs
from cloudchamber.store.database import Database
from cloudchamber.store.outbox import Outbox, emit

async def main(folder):
    database = Database(folder / "chamber.db")
    await Outbox(database, SystemClock()).start()
    create = "CREATE TABLE IF NOT EXISTS objects (name TEXT PRIMARY KEY, sha TEXT, blob TEXT, data BLOB)"
    await database.write(lambda tx: tx.execute(create) and None)
    blobs = Blobs(folder / "blobs")

    async def put(worker):
        for number in range(100000):
            name, body = f"{worker}-{number}", os.urandom(100 if number % 2 else 40000 + worker)
            async with blobs.receive() as sink:
                await sink.write(body)
                await sink.finish()
                blob = None if sink.inline is not None else (await sink.commit()).id
            sha = hashlib.sha256(body).hexdigest()

            def change(tx):
                tx.execute("INSERT INTO objects VALUES (?, ?, ?, ?)", (name, sha, blob, sink.inline))
                emit(tx, "made", name, {"name": name})

            await database.write(change)
            os.write(1, f"{name} {sha}\\n".encode())

    await asyncio.gather(*(put(worker) for worker in range(8)))

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.parametrize("seed", range(5))
def test_what_was_acknowledged_survives(tmp_path, seed):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    kill_after = random.Random(seed).randrange(1, 600)
    told = [writer.stdout.readline() for _ in range(kill_after)]
    writer.kill()
    told += writer.stdout.read().splitlines(keepends=True)
    writer.wait()
    writer.stdout.close()
    acknowledged = dict(line.decode().split() for line in told if line.endswith(b"\n"))
    assert len(acknowledged) >= kill_after
    db = sqlite3.connect(tmp_path / "chamber.db")
    rows = {name: (sha, blob, data) for name, sha, blob, data in db.execute("SELECT * FROM objects")}
    events = {json.loads(payload)["name"] for (payload,) in db.execute("SELECT payload FROM outbox")}
    lanes = {key for (key,) in db.execute("SELECT key FROM outbox_lanes")}
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert acknowledged.keys() <= rows.keys()
    assert events == lanes == rows.keys()
    for sha, blob, data in rows.values():
        body = data if blob is None else (tmp_path / "blobs" / blob).read_bytes()
        assert hashlib.sha256(body).hexdigest() == sha


def killed_while_writing(folder) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(200):
        writer.stdout.readline()
    writer.kill()
    writer.stdout.read()
    writer.wait()
    writer.stdout.close()


async def test_the_sweep_after_a_kill_leaves_the_named_blobs_only(tmp_path):
    killed_while_writing(tmp_path)
    db = sqlite3.connect(tmp_path / "chamber.db")
    named = {blob for (blob,) in db.execute("SELECT blob FROM objects WHERE blob IS NOT NULL")}
    db.close()
    blobs = Blobs(tmp_path / "blobs")
    await blobs.sweep(lambda found: named & set(found))
    await blobs.close()
    left = {str(p.relative_to(tmp_path / "blobs")) for p in (tmp_path / "blobs").rglob("*") if p.is_file()}
    assert left == named

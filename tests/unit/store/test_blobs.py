# SPDX-License-Identifier: Apache-2.0
"""Blobs: whole or not at all, swept when nobody names them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from cloudchamber.base.body import put_into, read_reply
from cloudchamber.base.errors import ServiceUnavailable
from cloudchamber.store.blobs import CHUNK, CHUNK_MIN, HELD_MAX, INLINE_MAX, Blobs
from cloudchamber.store.writeback import ALIGNED, STRAIGHT_MIN


@pytest.fixture
async def blobs(tmp_path):
    made = Blobs(tmp_path / "blobs")
    yield made
    await made.close()


def files(tmp_path):
    return [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]


async def store(blobs, *chunks):
    async with blobs.receive() as sink:
        for chunk in chunks:
            await sink.write(chunk)
        await sink.finish()
        return sink, await sink.commit()


async def test_small_bodies_stay_in_memory(blobs, tmp_path):
    body = os.urandom(INLINE_MAX)
    async with blobs.receive() as sink:
        await sink.write(body[:100])
        await sink.write(body[100:])
        await sink.finish()
    assert (sink.inline, sink.md5) == (body, hashlib.md5(body).digest())
    assert files(tmp_path) == []


async def test_large_bodies_become_files_of_the_owner_only(blobs, tmp_path):
    chunks = [os.urandom(300_000) for _ in range(11)]
    sink, blob = await store(blobs, *chunks)
    path = blobs.path(blob.id)
    assert path.read_bytes() == b"".join(chunks)
    assert (sink.md5, blob.size) == (hashlib.md5(b"".join(chunks)).digest(), 3_300_000)
    assert path.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == [path]


async def test_what_is_not_committed_leaves_nothing(blobs, tmp_path):
    with pytest.raises(ZeroDivisionError):
        async with blobs.receive() as sink:
            await sink.write(bytes(2_000_000))
            raise ZeroDivisionError
    task = asyncio.create_task(store(blobs, bytes(2_000_000)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert files(tmp_path) == []


async def test_links_and_joins(blobs):
    _, one = await store(blobs, b"a" * 20_000)
    _, two = await store(blobs, b"b" * 20_000)
    link = await blobs.link(one.id)
    joined = await blobs.join([(one.id, 19_990, -1), (two.id, 0, 5), (link, 0, 1)])
    assert blobs.path(joined.id).read_bytes() == b"a" * 10 + b"bbbbb" + b"a"
    blobs.path(one.id).unlink()
    assert blobs.path(link).read_bytes() == b"a" * 20_000
    with pytest.raises(OSError, match="shorter"):
        await blobs.join([(two.id, 0, 30_000)])


async def test_whole_blobs_are_joined_by_names_only(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    bodies = [os.urandom(20_000 + n) for n in range(12)]
    stored = [(await store(blobs, body))[1] for body in bodies]
    joined = await blobs.join([(one.id, 0, one.size) for one in stored], lambda name: f"I am {name}".encode())
    whole = b"".join(bodies)
    assert joined.size == len(whole)
    *named, label = sorted(blobs.path(joined.id).iterdir())
    assert [p.stat().st_ino for p in named] == [blobs.path(one.id).stat().st_ino for one in stored]
    assert label.read_text() == f"I am {joined.id.partition('/')[2]}"
    link = await blobs.link(joined.id)
    again = await blobs.join([(joined.id, 19_990, 30_000), (link, 0, -1)])
    blobs.delete([joined.id, *(one.id for one in stored)])
    for blob in list(blobs._doomed):
        blobs._remove(blob)
    for offset, length in ((0, len(whole)), (19_999, 2), (40_001, 0), (len(whole) - 1, 1), (20_000, 60_000)):
        expected = whole[offset : offset + length]
        assert await read_reply(blobs.reply(link, offset, length), len(whole)) == expected
        assert await asyncio.to_thread(read, blobs.open(link, offset, length), length) == expected
    assert blobs.path(again.id).read_bytes() == whole[19_990:49_990] + whole
    with pytest.raises(OSError, match="shorter"):
        await read_reply(blobs.reply(link, 0, len(whole) + 1), len(whole) + 1)
    await blobs.close()
    second = Blobs(tmp_path / "blobs")
    assert await second.sweep(lambda found: {again.id} & set(found)) == 1
    assert files(tmp_path) == [second.path(again.id)]
    await second.close()


def read(octets, count):
    data = b""
    while len(data) < count and (more := octets.read(count - len(data))):
        data += more
    octets.close()
    return data


async def test_a_file_system_without_links_copies(blobs, monkeypatch):
    _, one = await store(blobs, b"a" * 20_000)
    _, two = await store(blobs, b"b" * 20_000)

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    joined = await blobs.join([(one.id, 0, 20_000), (two.id, 0, 20_000)])
    assert blobs.path(joined.id).read_bytes() == b"a" * 20_000 + b"b" * 20_000


async def test_a_deleted_blob_stays_for_replies_on_their_way_and_goes_at_the_end(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    _, blob = await store(blobs, bytes(20_000))
    blobs.delete([blob.id])
    assert blobs.path(blob.id).exists()
    await blobs.close()
    assert files(tmp_path) == []


async def test_the_next_start_sweeps_what_nobody_names(tmp_path):
    first = Blobs(tmp_path / "blobs")
    _, kept = await store(first, bytes(20_000))
    await store(first, bytes(30_000))
    first.open_temporary("unfinished").close()
    await first.close()
    second = Blobs(tmp_path / "blobs")
    _, new = await store(second, bytes(40_000))
    assert await second.sweep(lambda found: {kept.id} & set(found)) == 1
    assert sorted(p.stat().st_size for p in files(tmp_path)) == [20_000, 40_000]
    assert second.path(new.id).exists()
    await second.close()


async def test_orphans_go_while_blobs_are_made_but_not_the_young(blobs, tmp_path):
    _, kept = await store(blobs, bytes(20_000))
    _, orphan = await store(blobs, bytes(30_000))
    again = await blobs.link(orphan.id)
    young = blobs.path(kept.id).stat().st_ctime

    async def known(found):
        return {kept.id, again} & set(found)

    assert await blobs.orphans(known, young - 100) == 0
    assert await blobs.orphans(known, young + 100) == 1
    assert not blobs.path(orphan.id).exists()
    assert blobs.path(again).stat().st_size == 30_000
    await blobs.put_aside(again, tmp_path / "aside" / "one")
    await blobs.put_aside(again, tmp_path / "aside" / "two")
    assert [p.name for p in (tmp_path / "aside").iterdir()] == ["one"]


async def test_those_who_commit_together_share_a_sync_of_the_folder(blobs):
    done = await asyncio.gather(*(store(blobs, bytes(20_000)) for _ in range(40)))
    assert len({blob.id for _, blob in done}) == 40
    assert all(blobs.path(blob.id).stat().st_size == 20_000 for _, blob in done)


async def test_many_bodies_hold_as_little_together_as_a_few(blobs: Blobs) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sinks = [await stack.enter_async_context(blobs.receive()) for _ in range(500)]
        for sink in sinks:
            await sink.write(bytes(INLINE_MAX + 1))
        assert blobs.chunk == CHUNK_MIN
        for sink in sinks:
            await put_into(sink, bytes(CHUNK))
            await sink.settle()
        assert sum(len(room) for sink in sinks if (room := sink.room()) is not None) <= HELD_MAX
    assert blobs.chunk == CHUNK


async def test_poured_octets_are_hashed_and_written_while_more_come(blobs: Blobs) -> None:
    body, sha = os.urandom(10 * CHUNK + 77), hashlib.sha256()
    async with blobs.receive() as sink:
        sink.also(sha)
        await put_into(sink, body)
        await sink.finish()
        blob = await sink.commit()
    assert blobs.path(blob.id).read_bytes() == body
    assert (sink.md5, sha.digest()) == (hashlib.md5(body).digest(), hashlib.sha256(body).digest())
    with pytest.raises(AssertionError):
        sink.also(sha)


async def test_what_the_disk_refuses_reaches_whoever_sends_and_ends(blobs: Blobs, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(ServiceUnavailable, match="is full"):
        async with blobs.receive() as sink:
            await put_into(sink, bytes(2 * CHUNK))
            monkeypatch.setattr(os, "write", full)
            await put_into(sink, bytes(20 * CHUNK))
            await sink.finish()
    assert files(tmp_path) == []


PAST_CACHE = getattr(os, "O_DIRECT", 0)


@pytest.fixture
def has_a_way(tmp_path: Path) -> bool:
    """Whether the file system of the tests has a way past the page cache."""
    try:
        os.close(os.open(tmp_path / "probe", os.O_CREAT | os.O_RDWR | PAST_CACHE))
    except OSError:
        return False
    return PAST_CACHE != 0


@pytest.mark.parametrize("size", [CHUNK, CHUNK + 1, 3 * CHUNK - 1, 2 * CHUNK + STRAIGHT_MIN + ALIGNED + 5, 20_000])
@pytest.mark.parametrize("way", ["straight", "none", "half"])
async def test_octets_past_the_page_cache_and_through_it_make_the_same_file(
    blobs: Blobs, has_a_way: bool, monkeypatch: pytest.MonkeyPatch, size: int, way: str
) -> None:
    write, past = os.write, 0

    def odd(file: int, octets: memoryview) -> int:
        """A disk that says at some time that it cannot, or writes half of a page."""
        nonlocal past
        if fcntl.fcntl(file, fcntl.F_GETFL) & PAST_CACHE:
            past += 1
            if way == "none" and past > 1:
                raise OSError(errno.EINVAL, "no way past the cache")
            if way == "half":
                write(file, octets[:ALIGNED])
                os.lseek(file, 100 - ALIGNED, os.SEEK_CUR)
                return 100
        return write(file, octets)

    monkeypatch.setattr("os.write", odd)
    body = os.urandom(size)
    async with blobs.receive() as sink:
        await put_into(sink, body)
        await sink.finish()
        blob = await sink.commit(lambda name: name.encode())
    assert blobs.path(blob.id).read_bytes() == body + blob.id.partition("/")[2].encode()
    assert (past > 0) == (size > STRAIGHT_MIN and has_a_way)


async def test_what_is_encrypted_goes_past_the_page_cache_too(blobs: Blobs) -> None:
    class Turned:
        def update_into(self, data: memoryview, into: memoryview) -> int:
            into[:] = bytes(data)[::-1]
            return len(data)

    body = os.urandom(2 * CHUNK + 9)
    async with blobs.receive((), Turned) as sink:
        await put_into(sink, body)
        await sink.finish()
        blob = await sink.commit()
    pieces = (body[:CHUNK], body[CHUNK : 2 * CHUNK], body[2 * CHUNK :])
    assert blobs.path(blob.id).read_bytes() == b"".join(piece[::-1] for piece in pieces)


@pytest.mark.parametrize("bodies", [1, 5])
async def test_a_body_without_a_label_is_durable_when_it_is_finished(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bodies: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    body = os.urandom(2 * CHUNK + 1)

    async def stored(number: int) -> str:
        async with blobs.receive(labelled=False) as sink:
            await put_into(sink, body + bytes([number]))
            await sink.finish()
            count = len(synced)
            blob = await sink.commit()
            assert count > 0
            return blob.id

    made = await asyncio.gather(*map(stored, range(bodies)))
    assert len(synced) == bodies
    assert [blobs.path(name).read_bytes() for name in made] == [body + bytes([number]) for number in range(bodies)]
    with pytest.raises(ZeroDivisionError):
        async with blobs.receive(labelled=False) as sink:
            await put_into(sink, body)
            await sink.finish()
            assert len(files(tmp_path)) == bodies + 1
            raise ZeroDivisionError
    assert len(files(tmp_path)) == bodies


async def test_an_empty_body_that_must_be_a_file(blobs: Blobs) -> None:
    async with blobs.receive(inline_max=-1, labelled=False) as sink:
        await sink.finish()
        blob = await sink.commit()
    assert (blob.size, blobs.path(blob.id).read_bytes()) == (0, b"")

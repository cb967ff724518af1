# SPDX-License-Identifier: Apache-2.0
"""What is measured of S3: each work is done for some seconds, and says how often, how quickly, at what cost."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tools.s3_client import UNSIGNED, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.s3_servers import Server

MIB = 1024 * 1024
SMALL = os.urandom(1024)
LARGE = os.urandom(MIB) * 64
PART = 8 * MIB
KEYS = 1000
_SHA = {len(body): hashlib.sha256(body).hexdigest() for body in (SMALL, LARGE, LARGE[:PART])}
_CRC = {len(body): base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode() for body in (SMALL, LARGE)}
_REPLAY = """
local requests, at = {}, 0
function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local size = file:read("*l")
    if not size then break end
    requests[#requests + 1] = file:read(tonumber(size))
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency, all)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: how many requests, in how many seconds, at which medians and cost."""

    count: int
    took_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    octets: int = 0
    errors: int = 0

    @property
    def rate(self) -> float:
        """Requests each second."""
        return self.count / self.took_s


class Unfit(Exception):  # noqa: N818 - says what it is
    """A server cannot do a work, or gives wrong answers to it."""


def prepare(server: Server) -> None:
    """The bucket, and what is fetched from it; nginx gets files.

    Raises:
        Unfit: what was put does not come back.
    """
    bodies = {f"small/{number:05d}": SMALL for number in range(KEYS)} | {"large": LARGE}
    if server.name == "nginx":
        for key, body in bodies.items():
            place = server.folder / "root" / "bench" / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(body)
        return
    client = server.client()
    _expect(client.ask(server.signer.head("PUT", "/bench", length=0))[0], server)
    for key, body in bodies.items():
        _expect(client.ask(_put_head(server, f"/bench/{key}", body), body)[0], server)
    for key, body in (("small/00007", SMALL), ("large", LARGE)):
        if client.ask(server.signer.head("GET", f"/bench/{key}"), keep=True)[2] != body:
            raise Unfit(f"{server.name}: {key} came back as something else")
    client.close()


def seed(server: Server, count: int, within_s: float) -> None:
    """`count` small objects in the bucket ``seeded``.

    Raises:
        Unfit: it took too long, or a page of them is wrong.
    """
    client = server.client()
    _expect(client.ask(server.signer.head("PUT", "/seeded", length=0))[0], server)
    ends = time.monotonic() + within_s
    failed: list[int] = []

    def put(first: int) -> None:
        mine = server.client()
        for number in range(first, count, 8):
            path = f"/seeded/k/{number // 1000:04d}/{number:07d}"
            if time.monotonic() > ends or mine.ask(_put_head(server, path, SMALL), SMALL)[0] != 200:
                failed.append(number)
                return
        mine.close()

    _at_once(8, put)
    if failed:
        raise Unfit(f"{server.name}: {within_s:.0f} s are not enough to put {count} objects")
    page = client.ask(server.signer.head("GET", "/seeded", _list_query(3499)), keep=True)[2]
    keys = re.findall(rb"<Key>([^<]+)</Key>", page)
    if len(keys) != 1000 or (keys[0], keys[-1]) != (b"k/0003/0003500", b"k/0004/0004499"):
        raise Unfit(f"{server.name}: a page holds {len(keys)} keys, from {keys[:1]}")


def get_small(server: Server, connections: int, for_s: float) -> Sample:
    """GET of 1 KiB."""
    heads = [server.signer.head("GET", f"/bench/small/{number:05d}") for number in range(KEYS)]
    return replay(server, heads, connections, for_s)


def put_small(server: Server, connections: int, for_s: float) -> Sample:
    """PUT of 1 KiB, over and over the same 1,000 keys."""
    heads = [_put_head(server, f"/bench/put/{number:05d}", SMALL) + SMALL for number in range(KEYS)]
    return replay(server, heads, connections, for_s)


def list_keys(server: Server, connections: int, for_s: float) -> Sample:
    """A page of 1,000 keys somewhere among 100,000."""
    starts = [(number * 7919) % 99_000 for number in range(40)]
    heads = [server.signer.head("GET", "/seeded", _list_query(start)) for start in starts]
    return replay(server, heads, connections, for_s)


def get_large(server: Server, connections: int, for_s: float) -> Sample:
    """GET of 64 MiB."""
    return _repeat(server, connections, for_s, lambda client, _: client.ask(server.signer.head("GET", "/bench/large")))


def put_large(server: Server, connections: int, for_s: float) -> Sample:
    """PUT of 64 MiB, signed with its SHA-256 and with a CRC32, as boto3 sends it."""

    def put(client: Client, number: int) -> tuple[int, bytes, bytes]:
        path = f"/bench/put-large/{threading.get_ident()}-{number % 3}"
        return client.ask(_put_head(server, path, LARGE), LARGE)

    return _repeat(server, connections, for_s, put)


def put_parts(server: Server, connections: int, for_s: float) -> Sample:
    """64 MiB in parts of 8 MiB, one after the other."""

    def upload(client: Client, number: int) -> tuple[int, bytes, bytes]:
        path = f"/bench/parts/{threading.get_ident()}-{number % 3}"
        head = server.signer.head
        told = client.ask(head("POST", path, "uploads=", length=0), keep=True)
        found = re.search(rb"<UploadId>([^<]+)", told[2])
        if found is None:
            return told
        upload = quote(found[1].decode(), safe="-_.~")
        etags: list[str] = []
        for at in range(len(LARGE) // PART):
            query = f"partNumber={at + 1}&uploadId={upload}"
            octets = memoryview(LARGE)[:PART]
            told = client.ask(head("PUT", path, query, payload=_SHA[PART], length=PART), octets)
            etag = re.search(rb'\r\netag: *"?([0-9a-f]+)', told[1], re.IGNORECASE)
            if told[0] != 200 or etag is None:
                return told
            etags.append(etag[1].decode())
        listed = "".join(
            f'<Part><PartNumber>{n}</PartNumber><ETag>"{etag}"</ETag></Part>' for n, etag in enumerate(etags, 1)
        )
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = f'<CompleteMultipartUpload xmlns="{space}">{listed}</CompleteMultipartUpload>'.encode()
        digest = hashlib.sha256(body).hexdigest()
        return client.ask(head("POST", path, f"uploadId={upload}", payload=digest, length=len(body)), body)

    return _repeat(server, connections, for_s, upload)


def replay(server: Server, requests: list[bytes], connections: int, for_s: float) -> Sample:
    """Signed requests, over and over, by ``wrk``.

    Raises:
        Unfit: there is no wrk, or no request was answered.
    """
    if shutil.which("wrk") is None:
        raise Unfit("small requests need wrk")
    with tempfile.TemporaryDirectory() as folder:
        script, file = Path(folder) / "replay.lua", Path(folder) / "requests"
        script.write_text(_REPLAY)
        file.write_bytes(b"".join(b"%d\n%b" % (len(one), one) for one in requests))
        before = server.cpu_s()
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(for_s))}s", "--timeout", "30s", "-s", str(script)]
        words += [f"http://127.0.0.1:{server.port}/", "--", str(file)]
        told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        cpu_s = server.cpu_s() - before
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", told)
    if found is None or found[1] == "0":
        raise Unfit(f"{server.name} answered nothing")
    count, took_us, p50_us, p99_us, errors = map(int, found.groups())
    return Sample(count, took_us / 1e6, p50_us / 1e3, p99_us / 1e3, cpu_s, errors=errors)


def paced_gets(server: Server, until: Callable[[], bool], pause_s: float) -> list[float]:
    """Milliseconds of GETs of 1 KiB, one after the other with a pause, until it is said to be enough."""
    client = server.client()
    took: list[float] = []
    while not until():
        began = time.perf_counter()
        _expect(client.ask(server.signer.head("GET", "/bench/small/00007"))[0], server)
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(pause_s)
    client.close()
    return took


def unsigned_head(server: Server, path: str, length: int) -> bytes:
    """Of an upload whose payload is not signed, so that one buffer may be sent again and again."""
    return server.signer.head("PUT", path, payload=UNSIGNED, length=length)


def _put_head(server: Server, path: str, body: bytes) -> bytes:
    told = {"x-amz-checksum-crc32": _CRC[len(body)], "x-amz-sdk-checksum-algorithm": "CRC32"}
    return server.signer.head("PUT", path, payload=_SHA[len(body)], length=len(body), headers=told)


def _list_query(start: int) -> str:
    after = quote(f"k/{start // 1000:04d}/{start:07d}", safe="-_.~")
    return f"list-type=2&max-keys=1000&start-after={after}"


def _repeat(
    server: Server, connections: int, for_s: float, once: Callable[[Client, int], tuple[int, bytes, bytes]]
) -> Sample:
    took: list[float] = []
    wrong: list[int] = []
    before, began = server.cpu_s(), time.perf_counter()

    def work(_number: int) -> None:
        client, count = server.client(), 0
        while count == 0 or time.perf_counter() - began < for_s:
            at = time.perf_counter()
            status = once(client, count)[0]
            took.append(time.perf_counter() - at)
            count += 1
            if status != 200:
                wrong.append(status)
        client.close()

    _at_once(connections, work)
    took_s = time.perf_counter() - began
    if len(wrong) == len(took):
        raise Unfit(f"{server.name} answered {wrong[:1]}")
    took.sort()
    middle, late = statistics.median(took) * 1e3, took[min(len(took) - 1, int(len(took) * 0.99))] * 1e3
    return Sample(len(took), took_s, middle, late, server.cpu_s() - before, len(LARGE), len(wrong))


def _at_once(count: int, work: Callable[[int], None]) -> None:
    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _expect(status: int, server: Server) -> None:
    if status != 200:
        raise Unfit(f"{server.name} answered {status}")

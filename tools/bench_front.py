# SPDX-License-Identifier: Apache-2.0
"""Where the time of a small request goes: a GET and a PUT of 1 KiB by an IAM user, in this process, step by step.

Octets are fed to a connection whose transport throws the reply away, so that neither a client nor the kernel counts.
The whole is the process's CPU, threads included (tracks are written behind); the steps are wall time of one thread.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudchamber.base.body import Held
from cloudchamber.chamber import Chamber
from cloudchamber.front import pipeline as steps
from cloudchamber.front.authenticate import authenticate
from cloudchamber.front.connection import Connection
from cloudchamber.front.step import Step
from cloudchamber.settings import Settings
from cloudchamber.wire.codec import parse, serialize
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest
from cloudchamber.wire.route import Offered, is_form, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BUCKET, KEY, SIZE = "bench-front-bucket", "folder/key-000001", 1024
AGENT = "Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.11.7 md/pyimpl#CPython"
ROUNDS, TIMES = 7, 2000


class Nowhere(asyncio.Transport):
    """A transport that counts replies and keeps the last."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: Any) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        return None


class House:
    """What a connection belongs to."""

    closing = False

    def __init__(self, door: Any) -> None:
        self.door = door

    def opened(self, connection: Connection) -> None:
        return None

    def closed(self, connection: Connection) -> None:
        return None


class Shut:
    """A door that answers at once: what is left is the connection."""

    async def handle(self, request: HttpRequest, body: Any) -> HttpReply:
        async for _ in body:
            pass
        headers = [("ETag", '"d41d8cd98f00b204e9800998ecf8427e"'), ("Content-Type", "binary/octet-stream")]
        return HttpReply(200, [*headers, ("x-amz-request-id", "x" * 36), ("Server", "x")], b"x" * SIZE)


def cpu(work: Callable[[], Any], times: int = TIMES) -> float:
    """Microseconds of one run: the best of several rounds."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest / times * 1e6


async def cpu_of(work: Callable[[], Awaitable[Any]], times: int = TIMES) -> float:
    """As `cpu`, of the whole process, for a coroutine."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(times):
            await work()
        fastest = min(fastest, time.process_time() - began)
    return fastest / times * 1e6


def signed(endpoint: str, method: str, body: bytes, key: tuple[str, str]) -> tuple[list[tuple[str, str]], bytes]:
    """Headers of a request, and its octets."""
    host = endpoint.removeprefix("http://")
    asked = AWSRequest(method, f"{endpoint}/{BUCKET}/{KEY}", data=body, headers={"User-Agent": AGENT})
    S3SigV4Auth(Credentials(*key), "s3", "us-east-1").add_auth(asked)  # pyright: ignore[reportUnknownMemberType]
    headers = [("Host", host), ("Accept-Encoding", "identity"), *asked.headers.items()]
    headers += [("amz-sdk-invocation-id", "11b2c3d4-0000-4000-8000-000000000000"), ("amz-sdk-request", "attempt=1")]
    if method == "PUT":
        headers.append(("Content-Length", str(len(body))))
    head = f"{method} /{BUCKET}/{KEY} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
    return headers, head.encode() + b"\r\n" + body


async def through(door: Any, octets: bytes, times: int = TIMES) -> float:
    """CPU of one request through a connection."""
    connection = Connection(House(door))
    transport = Nowhere()
    connection.connection_made(transport)

    loop, left = asyncio.get_running_loop(), 0
    turned: asyncio.Future[None]

    def turn() -> None:  # Why a callback: a connection is called by the loop, and not from within a task
        nonlocal left
        while left and connection.task is None:
            left -= 1
            connection.data_received(octets)
        turned.set_result(None)

    async def all_of_them() -> None:
        nonlocal left, turned
        left = times
        while left:
            turned = loop.create_future()
            loop.call_soon(turn)
            await turned
            if connection.task is not None:
                await connection.task
            if not transport.last.startswith(b"HTTP/1.1 200"):
                raise SystemExit(transport.last.decode("latin-1"))

    took = await cpu_of(all_of_them, 1)
    connection.connection_lost(None)
    return took / times


async def measure(chamber: Chamber, key: tuple[str, str], method: str) -> None:
    """Print the steps of one kind of request."""
    doors = chamber.doors
    body = b"x" * SIZE if method == "PUT" else b""
    headers, octets = signed(chamber.endpoint, method, body, key)
    door = chamber._listener.door  # pyright: ignore[reportPrivateUsage] - the one door of this chamber
    rows: list[tuple[str, float]] = []
    offered = Offered({name: s.signing_names for name, s in doors.services.items()})
    lowered = [(n.lower(), v) for n, v in headers]
    request = HttpRequest(method, f"/{BUCKET}/{KEY}", "", Headers(lowered))
    routed = route(request, None, offered)
    now = doors.clock.now()
    who = authenticate(request, routed, None, doors.identities, doors.region, now)

    def step() -> Step:
        return Step(doors, None, "front", "unrouted")

    def call() -> Any:
        return steps._call(step(), request, who)  # pyright: ignore[reportPrivateUsage]

    values = parse(routed, request, Held(body) if method == "PUT" else b"")
    operation = doors.services["s3"].operations[routed.operation]
    service = doors.services["s3"]
    response = await operation.run(call(), values)
    made = await cpu_of(lambda: asyncio.sleep(0))
    rows.append(("connection and reply", await through(Shut(), octets)))
    rows.append(("headers as values", cpu(lambda: Headers(lowered))))
    rows.append(("routing", cpu(lambda: (is_form(request), route(request, None, offered)))))
    rows.append(("signature", cpu(lambda: authenticate(request, routed, None, doors.identities, doors.region, now))))
    alone = cpu(step)
    rows.append(("step and its segment", alone))
    whole_call = cpu(call)
    rows.append(("call", whole_call - alone))
    rows.append(("parsing", cpu(lambda: parse(routed, request, Held(body) if method == "PUT" else b""))))
    decided = cpu(lambda: steps._decide(call(), service, operation, values))  # pyright: ignore[reportPrivateUsage]
    rows.append(("decision", decided - whole_call))
    one = call()
    rows.append(("operation", await cpu_of(lambda: operation.run(one, values), 500)))
    rows.append(("reply as values", cpu(lambda: serialize(routed, request, response, "0" * 36))))
    told = sum(took for _, took in rows)
    whole = await through(door, octets, 500 if method == "PUT" else TIMES)
    rows += [("recording, tracks, rest", whole - told), ("whole", whole)]
    print(f"{method} {SIZE} octets, microseconds (an empty coroutine takes {made:.1f})")
    for name, took in rows:
        print(f"  {name:26} {took:7.1f}")


async def run() -> None:
    """Start a chamber in a folder of its own, make a user that may use one bucket, and measure."""
    with tempfile.TemporaryDirectory(prefix="bench-front-") as folder:
        settings = Settings(state=Path(folder), port=0, https_port=0, root_key=("AKIAROOTROOTROOTROOT", "root"))
        chamber = Chamber(settings)
        await chamber.start()
        try:
            root = chamber.doors.identities.credential("AKIAROOTROOTROOTROOT", "", chamber.clock.now()).principal

            async def ask(service: str, operation: str, **request: Any) -> Any:
                return await chamber.doors.ask(service, operation, request, principal=root)

            await ask("s3", "CreateBucket", Bucket=BUCKET)
            await ask("s3", "PutObject", Bucket=BUCKET, Key=KEY, Body=b"x" * SIZE)
            await ask("iam", "CreateUser", UserName="bench")
            actions = ["s3:GetObject", "s3:PutObject"]
            allow = {"Effect": "Allow", "Action": actions, "Resource": f"arn:aws:s3:::{BUCKET}/*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            await ask("iam", "PutUserPolicy", UserName="bench", PolicyName="p", PolicyDocument=document)
            made = (await ask("iam", "CreateAccessKey", UserName="bench"))["AccessKey"]
            for method in ("GET", "PUT"):
                await measure(chamber, (made["AccessKeyId"], made["SecretAccessKey"]), method)
        finally:
            await chamber.stop()


def main() -> int:
    """Measure."""
    uvloop.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())

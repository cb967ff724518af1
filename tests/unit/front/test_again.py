# SPDX-License-Identifier: Apache-2.0
"""Reads that were answered before: what takes the short way gets what the whole way would have given it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber.chamber import Chamber
from cloudchamber.contract.identity import Principal
from cloudchamber.front.connection import Connection
from cloudchamber.settings import Settings

ROOT = ("AKIAROOTROOTROOTROOT", "root")
EXAMPLES = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "1000"))
PIECES = (
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"\r\n ",
    b"\r\nRange: bytes=0-1\r\n",
    b"%",
    b"%b",
    b"\x00",
    b"\xff",
    b"?",
    b"%2f",
)
IDS = re.compile(rb"x-amz-request-id: ([0-9a-f-]{36})\r\nx-amz-id-2: [A-Za-z0-9+/=]+\r\nDate: [^\r]+\r\n")


class Wire(asyncio.Transport):
    """What a connection writes."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        return None

    def can_write_eof(self) -> bool:
        return False

    def abort(self) -> None:
        return None


class House:
    """What a connection belongs to; it counts what takes the whole way."""

    closing = False

    def __init__(self, door: Any) -> None:
        self._door = door
        self.handled = 0

    @property
    def door(self) -> Any:
        return self

    async def handle(self, request: Any, body: Any) -> Any:
        self.handled += 1
        return await self._door.handle(request, body)

    def opened(self, connection: Connection) -> None:
        return None

    def closed(self, connection: Connection) -> None:
        return None


class Client:
    """A user with a connection of its own."""

    def __init__(self, chamber: Chamber, principal: Principal, key: tuple[str, str]) -> None:
        self.chamber, self.principal, self.key = chamber, principal, key
        self.token = ""
        door = chamber._listener.door  # pyright: ignore[reportPrivateUsage] - the one door of this chamber
        self.house = House(door)
        self.connection = Connection(self.house)
        self.wire = Wire()
        self.connection.connection_made(self.wire)

    def signed(self, target: str = "/again/k", method: str = "GET", age_s: int = 0, **headers: str) -> bytes:
        """The octets of a request, as boto3 signs it."""
        url = f"http://127.0.0.1:4566{target}"
        given = {"Host": "127.0.0.1:4566", "amz-sdk-invocation-id": "1-2", **headers}
        asked = AWSRequest(method, url, headers=given)
        signer = S3SigV4Auth(Credentials(*self.key, self.token or None), "s3", "us-east-1")
        if age_s:
            made = datetime.now(UTC) - timedelta(seconds=age_s)
            signer.add_auth = _dated(signer, made)  # type: ignore[method-assign]
        signer.add_auth(asked)  # pyright: ignore[reportUnknownMemberType]
        lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
        return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode()

    async def ask(self, data: bytes) -> tuple[bytes, bool]:
        """The reply, and whether it took the short way."""
        before, self.wire.sent = self.house.handled, b""
        done = asyncio.get_running_loop().create_future()

        def feed() -> None:  # Why a callback: a connection is called by the loop, and not from within a task
            self.connection.data_received(data)
            done.set_result(None)

        asyncio.get_running_loop().call_soon(feed)
        await done
        if self.connection.task is not None:
            await self.connection.task
        return self.wire.sent, self.house.handled == before

    async def of(self, service: str, operation: str, **request: Any) -> Any:
        """As the root user, not by HTTP."""
        root = self.chamber.doors.identities.credential(ROOT[0], "", self.chamber.clock.now()).principal
        return await self.chamber.doors.ask(service, operation, request, principal=root)

    def again(self) -> Client:
        """The same user by another connection."""
        made = Client(self.chamber, self.principal, self.key)
        made.token = self.token
        return made


def _dated(signer: Any, moment: datetime) -> Callable[[AWSRequest], None]:
    def sign(asked: AWSRequest) -> None:
        asked.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
        signer._modify_request_before_signing(asked)
        text = signer.string_to_sign(asked, signer.canonical_request(asked))
        signer._inject_signature_to_request(asked, signer.signature(text, asked))

    return sign


async def learnt(client: Client, target: str = "/again/k", method: str = "GET") -> bytes:
    """Ask until the short way is taken; the reply."""
    for _ in range(3):
        reply, short = await client.ask(client.signed(target, method))
        if short:
            return reply
    raise AssertionError("the third request took the whole way, too")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Runs a coroutine function with a client: a chamber with one user, one bucket, one object."""

    def runner(test: Callable[[Client], Awaitable[None]]) -> None:
        async def whole() -> None:
            folder: Path = tmp_path_factory.mktemp("again")
            chamber = Chamber(Settings(state=folder, port=0, https_port=0, root_key=ROOT))
            await chamber.start()
            try:
                client = Client(chamber, Principal("root", "000000000000", "x"), ROOT)
                await client.of("s3", "CreateBucket", Bucket="again")
                await client.of("s3", "PutObject", Bucket="again", Key="k", Body=b"body", ContentType="text/x")
                await client.of("iam", "CreateUser", UserName="ann")
                allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::again/*"}
                document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
                await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
                made = (await client.of("iam", "CreateAccessKey", UserName="ann"))["AccessKey"]
                client.key = made["AccessKeyId"], made["SecretAccessKey"]
                await test(client)
            finally:
                await chamber.stop()

        asyncio.run(whole())

    return runner


def test_the_short_way_gives_the_same(run: Any) -> None:
    async def test(client: Client) -> None:
        for method in ("GET", "HEAD"):
            whole, short = await client.ask(client.signed(method=method))
            assert not short
            again = await learnt(client.again(), method=method)
            assert IDS.sub(b"", again) == IDS.sub(b"", whole)
            assert whole.endswith(b"\r\n\r\nbody" if method == "GET" else b"\r\n\r\n")
            one, other = IDS.search(whole), IDS.search(again)
            assert one is not None and other is not None and one[1] != other[1]
            tracks = client.chamber.doors.recorder
            first, second = (tracks.by_request(found[1].decode()) for found in (one, other))
            assert first is not None and second is not None and first.track_id != second.track_id
            told = ("service", "name", "principal", "resource", "status", "region", "access_key", "decisions", "notes")
            assert [getattr(first, name) for name in told] == [getattr(second, name) for name in told]
            assert second.started <= second.ended

    run(test)


def test_all_clients_learn_from_one(run: Any) -> None:
    async def test(client: Client) -> None:
        await learnt(client)
        other = client.again()
        assert not (await other.ask(other.signed()))[1]
        assert (await other.ask(other.signed()))[1]

    run(test)


def test_what_differs_takes_the_whole_way(run: Any) -> None:
    async def test(client: Client) -> None:
        await learnt(client)
        right = client.signed()
        for wrong, status in (
            (right[:-5] + (b"0" if right[-5:-4] != b"0" else b"1") + right[-4:], b"403"),
            (client.signed(age_s=1000), b"403"),
            (client.signed(age_s=-1000), b"403"),
            (client.signed(Range="bytes=1-2"), b"206"),
            (client.signed("/again/other"), b"403"),
            (client.signed("/again/k?versionId=null"), b"403"),
            (client.signed(Origin="http://page.example"), b"200"),
            (client.signed(**{"If-None-Match": '"841a2d689ad86bd1611447453c22c6fc"'}), b"304"),
            (client.signed(**{"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793"}), b"200"),
            (right.replace(b"AWS4-HMAC", b"AWS5-HMAC"), b"400"),
            (right.replace(b"HTTP/1.1", b"HTTP/1.0"), b"200"),
        ):
            fresh = client.again()
            await learnt(fresh)
            reply, short = await fresh.ask(wrong)
            assert (reply[9:12], short) == (status, False), wrong
        both, short = await client.ask(right + right)
        assert both.count(b"\r\n\r\nbody") == 2 and not short
        assert (await client.ask(right[:40]))[0] == b""
        assert (await client.ask(right[40:]))[0].endswith(b"body")

    run(test)


def test_whatever_is_committed_ends_it(run: Any) -> None:
    async def test(client: Client) -> None:
        await learnt(client)
        await client.of("s3", "PutObject", Bucket="again", Key="k", Body=b"new")
        assert (await client.ask(client.signed()))[0].endswith(b"\r\n\r\nnew")
        await learnt(client)
        await client.of("iam", "DeleteUserPolicy", UserName="ann", PolicyName="p")
        assert (await client.ask(client.signed()))[0][9:12] == b"403"

    run(test)


def test_an_access_log_sees_every_request(run: Any) -> None:
    async def test(client: Client) -> None:
        await learnt(client)
        to = {"LoggingEnabled": {"TargetBucket": "again", "TargetPrefix": "log/"}}
        await client.of("s3", "PutBucketLogging", Bucket="again", BucketLoggingStatus=to)
        for _ in range(4):
            assert not (await client.ask(client.signed()))[1]
        await client.of("s3", "PutBucketLogging", Bucket="again", BucketLoggingStatus={})
        await learnt(client)

    run(test)


def test_decisions_by_time_or_place_are_made_each_time(run: Any) -> None:
    async def test(client: Client) -> None:
        condition = {"DateLessThan": {"aws:CurrentTime": "2999-01-01T00:00:00Z"}}
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
        for _ in range(4):
            reply, short = await client.ask(client.signed())
            assert reply.endswith(b"body") and not short

    run(test)


def test_a_session_ends(run: Any) -> None:
    async def test(client: Client) -> None:
        doors = client.chamber.doors
        who = doors.identities.credential(client.key[0], "", doors.clock.now()).principal
        made = doors.identities.issue(who, doors.clock.now() - timedelta(seconds=890), 900)
        client.key, client.token = (made.access_key_id, made.secret_key), made.session_token
        await learnt(client)
        like = client.connection._again  # pyright: ignore[reportPrivateUsage]
        assert like is not None

        class Later:
            def now(self) -> datetime:
                return datetime.now(UTC) + timedelta(seconds=11)

        like._clock = Later()  # type: ignore[attr-defined]
        assert not (await client.ask(client.signed()))[1]

    run(test)


def test_no_octet_that_changes_is_overlooked(run: Any) -> None:
    async def test(client: Client) -> None:
        await learnt(client)
        like = client.connection._again  # pyright: ignore[reportPrivateUsage]
        assert like is not None
        right = client.signed()

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(st.integers(0, len(right)), st.binary(max_size=3) | st.sampled_from(PIECES), st.integers(0, 3))
        def change(at: int, octets: bytes, gone: int) -> None:
            data = right[:at] + octets + right[at + gone :]
            if data != right:
                assert like.answer(data) is None

        change()
        assert like.answer(right) is not None

    run(test)


def test_a_reply_with_more_in_it_is_not_given_again(run: Any) -> None:
    async def test(client: Client) -> None:
        handle = client.house.handle

        async def more(request: Any, body: Any) -> Any:
            reply = await handle(request, body)
            reply.headers.append(("X-More", "1"))
            return reply

        client.house.handle = more  # type: ignore[method-assign]
        for _ in range(4):
            reply, short = await client.ask(client.signed())
            assert b"\r\nX-More: 1\r\n" in reply and not short

    run(test)


def test_what_is_remembered_is_counted_and_goes(run: Any) -> None:
    async def test(client: Client) -> None:
        repeats = client.house._door._repeats  # pyright: ignore[reportPrivateUsage]
        await learnt(client, f"/again/k?z={'z' * 5000}")
        assert repeats._octets > 2 * 5000
        counted = repeats._answers, repeats._octets
        other = client.again()
        await other.ask(other.signed(f"/again/k?z={'z' * 5000}"))
        assert (repeats._answers, repeats._octets) == counted
        like: Any = client.connection._again  # pyright: ignore[reportPrivateUsage]
        assert like is other.connection._again and like.answers  # pyright: ignore[reportPrivateUsage]
        client.chamber.doors.identities._credentials.clear()  # type: ignore[attr-defined]
        await learnt(other)
        assert like is not other.connection._again and not like.answers  # pyright: ignore[reportPrivateUsage]

    run(test)


def test_however_the_octets_are_cut_the_replies_are_the_same(run: Any) -> None:
    async def test(client: Client) -> None:
        await client.of("s3", "PutObject", Bucket="again", Key="l", Body=b"other")
        for target in ("/again/k", "/again/l"):
            await learnt(client, target)
        asked = [client.signed(target) for target in ("/again/k", "/again/l", "/again/none")]
        bodies = [re.compile(words) for words in (rb"\r\n\r\nbody", rb"\r\n\r\nother", rb"<Code>AccessDenied</Code>")]
        random = Random(9)
        shorts = 0
        for _ in range(EXAMPLES // 10):
            chosen = random.choices(range(len(asked)), k=random.randint(1, 5))
            stream = b"".join(asked[one] + random.choice((b"", b"", b"", b"\r\n")) for one in chosen)
            edges = [stream.find(b"\r\n\r\n", at) + 4 for at in range(len(stream)) if stream.startswith(b"GET ", at)]
            cuts = sorted({0, len(stream), *random.choices(range(len(stream)), k=random.randint(0, 3)), *edges})
            got = b""
            for start, end in pairwise(cuts):
                reply, short = await client.ask(stream[start:end])
                got, shorts = got + reply, shorts + (short and reply != b"")
            told = sorted((found.start(), one) for one, words in enumerate(bodies) for found in words.finditer(got))
            assert [one for _, one in told] == chosen, stream
        assert shorts

    run(test)

# SPDX-License-Identifier: Apache-2.0
"""Writes that are like one before: what takes the short way comes to what the whole way would have come to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.front.test_again import IDS, PIECES, Client, _dated, run  # noqa: F401 - `run` is a fixture

EXAMPLES = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "1000"))


def crc(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def put(client: Client, key: str = "n", body: bytes = b"new", age_s: int = 0, said: bytes | None = None,
        bucket: str = "again", sha256: str = "", **headers: str) -> bytes:  # fmt: skip
    """The octets of a PutObject. `said`: the body whose sums the head tells."""
    told = body if said is None else said
    target = f"/{bucket}/{key}"
    own = {"Host": "127.0.0.1:4566", "amz-sdk-invocation-id": "1-2", "Content-Length": str(len(body))}
    sums = {"x-amz-checksum-crc32": crc(told), "x-amz-sdk-checksum-algorithm": "CRC32"}
    asked = AWSRequest("PUT", f"http://127.0.0.1:4566{target}", headers={**own, **sums, **headers}, data=told)
    signer = S3SigV4Auth(Credentials(*client.key, client.token or None), "s3", "us-east-1")
    signer.payload = lambda _: sha256 or hashlib.sha256(told).hexdigest()  # type: ignore[method-assign]
    if age_s:
        made = datetime.now(UTC) - timedelta(seconds=age_s)
        signer.add_auth = _dated(signer, made)  # type: ignore[method-assign]
    signer.add_auth(asked)  # pyright: ignore[reportUnknownMemberType]
    lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    return f"PUT {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def ask(client: Client, data: bytes) -> tuple[bytes, bool]:
    """As `Client.ask`, and on until a write that had to take the whole way after all has taken it."""
    before = client.house.handled
    await client.ask(data)
    while client.connection.task is not None:
        await client.connection.task
    return client.wire.sent, client.house.handled == before


async def ready(client: Client) -> None:
    """Let the client write, and learn."""
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::again/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
    await learnt(client)


async def learnt(client: Client, **more: Any) -> bytes:
    for number in range(3):
        reply, short = await ask(client, put(client, f"learn{number}", **more))
        if short:
            return reply
    raise AssertionError("the third request took the whole way, too")


async def body_of(client: Client, key: str) -> bytes | None:
    reply, _ = await ask(client, client.signed(f"/again/{key}"))
    return reply.partition(b"\r\n\r\n")[2] if reply[9:12] == b"200" else None


def test_the_short_way_comes_to_the_same(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        for number, (body, more) in enumerate((
            (b"new", {}), (b"", {}), (b"x" * 16384, {}), (b"md5", {"Content-MD5": md5(b"md5")}),
            (b"meta", {"x-amz-meta-a": "1", "Content-Type": "text/y", "Cache-Control": "no-cache"}),
            (b"unsigned", {"sha256": "UNSIGNED-PAYLOAD"}),
        )):  # fmt: skip
            fresh = client.again()
            whole, short = await ask(fresh, put(fresh, f"a{number}", body, **more))
            assert not short and whole[9:12] == b"200", whole
            again, short = await ask(fresh, put(fresh, f"b{number}", body, **more))
            assert short, (number, again)
            assert IDS.sub(b"", again) == IDS.sub(b"", whole)
            assert await body_of(client, f"b{number}") == body
            got = [(await ask(client, client.signed(f"/again/{key}{number}", "HEAD")))[0] for key in "ab"]
            assert IDS.sub(b"", got[0]) == IDS.sub(b"", got[1])
            tracks = client.chamber.doors.recorder
            first, second = (tracks.by_request(IDS.search(reply)[1].decode()) for reply in (whole, again))
            told = ("service", "name", "principal", "status", "region", "access_key", "notes", "error")
            assert [getattr(first, name) for name in told] == [getattr(second, name) for name in told]
            assert (first.resource[:-2], second.resource[-2:]) == (second.resource[:-2], f"b{number}")
            assert [{**d, "resource": ""} for d in first.decisions] == [{**d, "resource": ""} for d in second.decisions]

    run(test)


def test_what_differs_takes_the_whole_way(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        right = put(client)
        for wrong, status in (
            (right[:-3] + b"NEW", b"400"),
            (put(client, body=b"new", said=b"NEW"), b"400"),
            (put(client, **{"x-amz-checksum-crc32": crc(b"NEW")}), b"400"),
            (put(client, **{"Content-MD5": md5(b"NEW")}), b"400"),
            (right.replace(b"PUT /again/n", b"PUT /again/m"), b"403"),
            (put(client, age_s=1000), b"403"),
            (put(client, age_s=-1000), b"403"),
            (put(client, "n?tagging"), b"400"),
            (put(client, bucket="other"), b"403"),
            (put(client, **{"If-None-Match": "*"}), b"200"),
            (put(client, **{"x-amz-tagging": "a=b"}), b"200"),
            (put(client, "k%20k"), b"200"),
            (put(client, Origin="http://page.example"), b"200"),
            (right.replace(b"AWS4-HMAC", b"AWS5-HMAC"), b"400"),
            (right.replace(b"HTTP/1.1", b"HTTP/1.0"), b"200"),
        ):
            fresh = client.again()
            await learnt(fresh)
            reply, short = await ask(fresh, wrong)
            assert (reply[9:12], short) == (status, False), (wrong, reply)
        assert await body_of(client, "m") is None

    run(test)


def test_the_bucket_in_the_name_of_the_host(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        fresh = client.again()
        for number in range(4):  # Why `again/`: the path is just as if it named the bucket
            data = put(fresh, f"h{number}", Host="again.s3.localhost")
            reply, short = await ask(fresh, data)
            assert (reply[9:12], short) == (b"200", False)
            assert await body_of(client, f"again/h{number}") == b"new"
            assert await body_of(client, f"h{number}") is None

    run(test)


def test_pieces_and_several_at_once(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        both, short = await ask(client, put(client, "one") + put(client, "two"))
        assert both.count(b"HTTP/1.1 200 OK") == 2 and not short
        whole = put(client, "three")
        assert (await ask(client, whole[:60]))[0] == b""
        assert (await ask(client, whole[60:]))[0][9:12] == b"200"
        connection, wire = client.connection, client.wire
        wire.pause_reading = wire.resume_reading = lambda: None  # type: ignore[method-assign]
        wire.sent = b""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def feed() -> None:
            connection.data_received(put(client, "four"))
            connection.data_received(put(client, "five"))
            connection.data_received(client.signed("/again/five"))
            done.set()

        loop.call_soon(feed)
        await done.wait()
        while connection.task is not None:
            await connection.task
        assert wire.sent.count(b"HTTP/1.1 200 OK") == 3 and wire.sent.endswith(b"\r\n\r\nnew")
        assert await body_of(client, "four") == b"new"

    run(test)


def test_what_it_rests_on_changes(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        await client.of("s3", "PutBucketVersioning", Bucket="again", VersioningConfiguration={"Status": "Enabled"})
        for _ in range(3):
            reply, short = await ask(client, put(client))
            assert b"x-amz-version-id" in reply and not short
        deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::again/secret/*"}
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
        await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
        await client.of("s3", "CreateBucket", Bucket="plain")
        await learnt(client, bucket="plain")
        reply, short = await ask(client, put(client, "secret/x", bucket="plain"))
        assert (reply[9:12], short) == (b"200", True)
        deny["Resource"] = "arn:aws:s3:::plain/secret/*"
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})
        await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
        await learnt(client, bucket="plain")
        for _ in range(2):
            reply, short = await ask(client, put(client, "secret/x", bucket="plain"))
            assert (reply[9:12], short) == (b"403", False)
        await learnt(client, bucket="plain")
        to = {"LoggingEnabled": {"TargetBucket": "plain", "TargetPrefix": "log/"}}
        await client.of("s3", "PutBucketLogging", Bucket="plain", BucketLoggingStatus=to)
        for _ in range(3):
            assert not (await ask(client, put(client, bucket="plain")))[1]
        await client.of("s3", "PutBucketLogging", Bucket="plain", BucketLoggingStatus={})
        await learnt(client, bucket="plain")
        await client.of("iam", "UpdateAccessKey", UserName="ann", AccessKeyId=client.key[0], Status="Inactive")
        assert (await ask(client, put(client, bucket="plain")))[0][9:12] == b"403"

    run(test)


def test_decisions_by_conditions_are_made_each_time(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        condition = {"DateLessThan": {"aws:CurrentTime": "2999-01-01T00:00:00Z"}}
        allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        await client.of("iam", "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=document)
        for _ in range(4):
            reply, short = await ask(client, put(client))
            assert (reply[9:12], short) == (b"200", False)

    run(test)


def test_a_bucket_that_changes_meanwhile_and_a_disk_that_refuses(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        database = client.chamber.doors.database

        def suspend(tx: Any) -> None:
            tx.execute("UPDATE s3_buckets SET versioning = 'Enabled' WHERE name = 'again'")

        first = asyncio.ensure_future(database.write(suspend))
        reply, short = await ask(client, put(client, "v"))  # it shares the transaction, and comes after
        await first
        assert b"x-amz-version-id" in reply and not short
        await database.write(
            lambda tx: tx.execute("UPDATE s3_buckets SET versioning = '' WHERE name = 'again'") and None
        )
        await learnt(client)
        publish, left = database._publish, [1]

        def refuse(tx: Any) -> None:
            if left[0]:
                left[0] -= 1
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            publish(tx)

        database._publish = refuse  # type: ignore[method-assign]
        reply, short = await ask(client, put(client, "again-then"))
        assert (reply[9:12], short, left) == (b"200", False, [0])
        assert await body_of(client, "again-then") == b"new"

    run(test)


def test_a_session_ends(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        doors = client.chamber.doors
        who = doors.identities.credential(client.key[0], "", doors.clock.now()).principal
        made = doors.identities.issue(who, doors.clock.now() - timedelta(seconds=890), 900)
        client.key, client.token = (made.access_key_id, made.secret_key), made.session_token
        await learnt(client)

        class Later:
            def now(self) -> datetime:
                return datetime.now(UTC) + timedelta(seconds=11)

        client.connection._stores._clock = Later()  # type: ignore[union-attr]
        assert not (await ask(client, put(client)))[1]

    run(test)


def test_clients_that_never_say_the_same_are_not_learnt_from_each_time(run: Any, monkeypatch: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        from cloudchamber.front import stores

        count = 0
        learn = stores.Basis.learn

        def counted(*given: Any) -> Any:
            nonlocal count
            count += 1
            return learn(*given)

        monkeypatch.setattr(stores.Basis, "learn", counted)
        fresh = client.again()
        for number in range(20):
            await ask(fresh, put(fresh, **{"x-amz-meta-mtime": str(number)}))
        assert count <= 2

    run(test)


def test_no_octet_that_changes_is_overlooked(run: Any) -> None:  # noqa: F811
    async def test(client: Client) -> None:
        await ready(client)
        like: Any = client.connection._stores
        right = put(client)
        taken: list[bytes] = []
        like._database = type("Written", (), {"settled": like._settled, "submit": lambda *_: True})()
        assert like.take(right, taken.append)

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(st.integers(0, len(right)), st.binary(max_size=3) | st.sampled_from(PIECES), st.integers(0, 3))
        def change(at: int, octets: bytes, gone: int) -> None:
            data = right[:at] + octets + right[at + gone :]
            if data != right:
                assert not like.take(data, taken.append), data

        change()

    run(test)

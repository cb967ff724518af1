# SPDX-License-Identifier: Apache-2.0
"""Credentials that have expired: the whole way in, with a clock that is moved, in the words of each protocol."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudchamber import services
from cloudchamber.base.body import Held
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.service import discover
from cloudchamber.front.pipeline import Pipeline
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.track.track import Segment
from cloudchamber.wire.http import Headers, HttpRequest

ACCOUNT, REGION = "000000000000", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
LIFETIME_S = 60
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "Logs_20140328.DescribeLogGroups"}
ASKED = {
    "s3": ("GET", "/", {}, b"", S3SigV4Auth, "ExpiredToken"),
    "s3 presigned": ("GET", "/", {}, b"", S3SigV4QueryAuth, "ExpiredToken"),
    "sts": ("POST", "/", FORM, b"Action=GetCallerIdentity&Version=2011-06-15", SigV4Auth, "ExpiredToken"),
    "lambda": ("GET", "/2015-03-31/functions/", {}, b"", SigV4Auth, "ExpiredToken"),
    "logs": ("POST", "/", JSON, b"{}", SigV4Auth, "ExpiredToken"),
}


class Moved:
    """A clock that is ahead of the machine's by what a test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return 0.0


class Forgetful:
    """A recorder of nothing."""

    def record(self, segment: Segment) -> None:
        return None


@pytest.fixture
async def house(tmp_path: Path):
    found, clock, database, pipeline = discover(services), Moved(), Database(tmp_path / "chamber.db"), Pipeline()
    await migrate(database, {s.name: s.migrations for s in found.values() if s.migrations})
    make: Any = found["iam"].identities
    rest: Any = None
    recorder: Any = Forgetful()
    doors = Doors(
        account=ACCOUNT, region=REGION, endpoint="http://127.0.0.1:4566", folder=tmp_path, clock=clock,
        database=database, outbox=rest, recorder=recorder, sandboxes=rest, authority=rest,
        identities=make(database, tmp_path, ACCOUNT, None, clock), services=found, ask=pipeline.ask, parts={},
    )  # fmt: skip
    pipeline.open(doors)
    yield pipeline, doors, clock
    await database.close()


async def session(doors: Doors) -> Credentials:
    """Credentials of a role that may do everything, for a minute."""
    iam = doors.services["iam"].operations
    call = Call(
        Principal("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT), ACCOUNT, REGION, "r", doors.clock.now(),
        doors, Segment("t", "s", "", "x", "y", 0),
    )  # fmt: skip
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = (await iam["CreateRole"].run(call, {"RoleName": "app", "AssumeRolePolicyDocument": document}))["Role"]
    every = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    await iam["PutRolePolicy"].run(call, {"RoleName": "app", "PolicyName": "p", "PolicyDocument": every})
    who = Principal("assumed-role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/app/i", f"{role['RoleId']}:i", ROLE)
    issued = doors.identities.issue(who, doors.clock.now(), LIFETIME_S)
    return Credentials(issued.access_key_id, issued.secret_key, issued.session_token)


async def answer(pipeline: Pipeline, credentials: Credentials, kind: str) -> tuple[int, str]:
    method, path, headers, body, signer, _ = ASKED[kind]
    asked = AWSRequest(method, f"http://127.0.0.1:4566{path}", headers=dict(headers), data=body)
    signer(credentials, kind.partition(" ")[0], REGION).add_auth(asked)
    _, _, query = asked.url.partition("?")
    given = Headers({"host": "127.0.0.1:4566", **dict(asked.headers.items())}.items())
    reply = await pipeline.handle(HttpRequest(method, path, query, given), Held(body))  # type: ignore[arg-type]
    assert isinstance(reply.body, bytes)
    return reply.status, reply.body.decode() + str(reply.headers)


@pytest.mark.parametrize("kind", ASKED)
async def test_expired_credentials_are_refused_from_the_next_second_on(house: Any, kind: str) -> None:
    pipeline, doors, clock = house
    credentials = await session(doors)
    clock.ahead = timedelta(seconds=LIFETIME_S - 5)
    status, told = await answer(pipeline, credentials, kind)
    assert status == 200, told
    clock.ahead = timedelta(seconds=LIFETIME_S + 1)
    status, told = await answer(pipeline, credentials, kind)
    assert status in (400, 403) and ASKED[kind][5] in told, told

# SPDX-License-Identifier: Apache-2.0
"""A remembered decision is the decision that would be taken now, whatever changed in between."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber.base.clock import SystemClock
from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.call import Call
from cloudchamber.contract.identity import Principal, service_principal
from cloudchamber.contract.operation import Facts, Need, Operation
from cloudchamber.front import authorize as step
from cloudchamber.front import remembered
from cloudchamber.services import iam
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.track.track import Segment
from cloudchamber.wire.http import Headers

ACCOUNT = "000000000000"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
BODIES: tuple[Any, ...] = (
    {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
    {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/${aws:username}/*"},
    {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"s3:prefix": "a*"}}},
    {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    {
        "Effect": "Allow",
        "Action": "*",
        "Resource": "*",
        "Condition": {"DateLessThan": {"aws:CurrentTime": "2026-01-01"}},
    },
    {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/t": "1"}}},
    {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/t": "1"}}},
    {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*", "Condition": {"Null": {"s3:prefix": "false"}}},
)
BUCKETS: tuple[Any, ...] = (
    None,
    {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "arn:aws:s3:::b/x"},
    {"Effect": "Allow", "Principal": {"AWS": USER}, "Action": "s3:GetObject", "Resource": "*"},
    {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "*", "Resource": "*"},
    {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"},
    "broken",
)
numbers = st.integers(0, 99)
steps = st.lists(
    st.tuples(st.just("ask"), numbers, numbers)
    | st.tuples(st.sampled_from(("policy", "unpolicy", "boundary", "bucket", "tag")), numbers, numbers),
    min_size=5,
    max_size=25,
)


def written(body: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [body]})


class World:
    """IAM over a real database, and a bucket whose policy and tags are ours to change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SystemClock()
        self.database = Database(folder / "chamber.db")
        self.bucket: Any = {"policy": "", "tags": {}, "object": {}}

    async def start(self) -> None:
        assert iam.SERVICE.migrations is not None
        await migrate(self.database, {"iam": iam.SERVICE.migrations})
        self.doors = self.fresh()
        await self.do("CreateUser", UserName="ann")
        for number, body in enumerate(BODIES[:3]):
            await self.do("CreatePolicy", PolicyName=f"p{number}", PolicyDocument=written(body))
        self.user = Principal("user", ACCOUNT, USER, "AIDA", USER, tags={})

    def fresh(self) -> Any:
        """Doors that remember nothing."""
        make: Any = iam.SERVICE.identities
        facts = lambda doors, arn: Facts(ACCOUNT, self.bucket["policy"], "bucket policy", self.bucket["tags"])  # noqa: E731
        return SimpleNamespace(
            account=ACCOUNT, region="us-east-1", folder=self.folder, clock=self.clock, database=self.database,
            identities=make(self.database, self.folder, ACCOUNT, None, self.clock),
            services={"iam": iam.SERVICE, "s3": SimpleNamespace(facts=facts)},
        )  # fmt: skip

    def call(self, principal: Principal, number: int) -> Call:
        headers = (None, Headers([("user-agent", "a")]), Headers([]))[number % 3]
        now = self.clock.now() - timedelta(days=3650 * (number % 2))
        return Call(principal, ACCOUNT, "us-east-1", "r", now, self.doors, Segment("t", "s", "", "s3", "y", 0),
                    headers=headers, peer=("10.0.0.1", "127.0.0.1")[number % 2])  # fmt: skip

    async def do(self, name: str, **request: Any) -> None:
        root = self.doors.identities.root.principal
        await iam.SERVICE.operations[name].run(self.call(root, 0), request)

    async def change(self, what: str, one: int, two: int) -> None:
        if what == "policy":
            await self.do("PutUserPolicy", UserName="ann", PolicyName=f"q{two % 2}",
                          PolicyDocument=written(BODIES[one % len(BODIES)]))  # fmt: skip
        elif what == "unpolicy":
            await self.do("PutUserPolicy", UserName="ann", PolicyName=f"q{two % 2}", PolicyDocument=written(BODIES[7]))
            await self.do("DeleteUserPolicy", UserName="ann", PolicyName=f"q{two % 2}")
        elif what == "boundary":
            arn = f"arn:aws:iam::{ACCOUNT}:policy/p{one % 3}"
            await self.do("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=arn)
            if two % 3 == 0:
                await self.do("DeleteUserPermissionsBoundary", UserName="ann")
        else:
            if what == "bucket":
                body = BUCKETS[one % len(BUCKETS)]
                self.bucket["policy"] = "" if body is None else "{" if body == "broken" else written(body)
            else:
                self.bucket["tags"] = {"t": str(one % 2)}
            # Why: facts come from the database, from tables that are not busy
            await self.database.write(lambda tx: tx.execute("UPDATE iam_change SET number = number") and None)
            self.bucket["object"] = {"s3:ExistingObjectTag/t": str(two % 2)}

    def ask(self, one: int, two: int) -> None:
        services = [service_principal(f"{name}.amazonaws.com", ACCOUNT) for name in ("logs", "s3")]
        who = (self.user, self.user, self.doors.identities.root.principal, *services)[one % 5]
        call = self.call(who, two)
        context: dict[str, Any] = ({}, {"s3:Prefix": "abc"}, {"s3:prefix": ("x", "abc")})[one % 3]
        need = Need(
            ("s3:GetObject", "s3:PutObject", "s3:DeleteBucketPolicy")[two % 3],
            ("arn:aws:s3:::b/x", "arn:aws:s3:::b/ann/k", "arn:aws:s3:::b", "*")[one % 4],
            context,
            ("s3:existingobjecttag/", lambda: self.bucket["object"]) if two % 4 else None,
        )
        service: Any = SimpleNamespace(name="s3")
        try:
            step.authorize(call, service, Operation("X", lambda c, r: (need,), None), {})  # type: ignore[arg-type]
            allowed = True
        except AccessDenied:
            allowed = False
        kept, remembered._memory = remembered._memory, None
        try:
            anew = step.decide(replace(call, doors=self.fresh()), need)
        finally:
            remembered._memory = kept
        assert allowed == anew.verdict.allowed
        assert call.segment.decisions == [anew.told]
        assert json.loads(json.dumps(call.segment.decisions)) == call.segment.decisions


async def live(found: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        await world.start()
        await world.change("policy", len(found), 0)
        try:
            for what, one, two in found:
                if what == "ask":
                    for other in range(6):  # the same caller, action and resource, and another context
                        world.ask(one + 20 * other, two + 3 * other)
                else:
                    await world.change(what, one, two)
        finally:
            await world.database.close()


@settings(max_examples=60, deadline=None)
@given(steps)
def test_remembered_is_decided_anew(found: list[Any]) -> None:
    asyncio.run(live(found))

# SPDX-License-Identifier: Apache-2.0
"""How fast IAM decides: compiled against naive, the whole step of a request, and its share of a small PUT."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudchamber.base.body import Held
from cloudchamber.base.clock import SystemClock
from cloudchamber.contract.call import Call, Doors
from cloudchamber.front import pipeline as front
from cloudchamber.front.authenticate import authenticate
from cloudchamber.front.authorize import authorize
from cloudchamber.policy.document import Question, Subject, context_of
from cloudchamber.policy.evaluate import IdentityPolicies, evaluate, policy
from cloudchamber.services import iam, s3
from cloudchamber.services.s3.part import S3Part
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.store.outbox import Outbox
from cloudchamber.track.recorder import Recorder
from cloudchamber.track.track import Segment
from cloudchamber.wire.http import Headers, HttpRequest
from cloudchamber.wire.route import Offered, route
from tools import naive

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "000000000000"
ROUNDS = 20
COUNT = 1000
"""Requests of a kind that go through the pipeline."""


def best(work: Callable[[], Any], times: int) -> float:
    """Microseconds of CPU that one run takes: the best of several rounds, so that what else runs here counts little."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            work()
        fastest = min(fastest, time.thread_time() - began)
    return fastest / times * 1e6


def document(statements: int) -> dict[str, Any]:
    """A policy: a third denies, all have conditions, and only the last of those that allow does."""
    made: list[dict[str, Any]] = []
    for number in range(statements):
        last = number == statements - 1
        made.append(
            {
                "Effect": "Deny" if number % 3 == 0 and not last else "Allow",
                "Action": ["s3:GetObject", "s3:Put*"],
                "Resource": f"arn:aws:s3:::bucket{'' if last else number}/${{aws:username}}/*",
                "Condition": {
                    "StringEquals": {"aws:RequestedRegion": ["us-east-1", "eu-west-1"]},
                    "IpAddress": {"aws:SourceIp": "127.0.0.0/8"},
                    "NumericLessThan": {"s3:max-keys": "100"},
                },
            }
        )
    return {"Version": "2012-10-17", "Statement": made}


def decisions(say: Callable[[str, float, str], None]) -> None:
    """The evaluator by itself."""
    context = {
        "aws:username": "ann",
        "aws:RequestedRegion": "us-east-1",
        "aws:SourceIp": "127.0.0.1",
        "s3:max-keys": "9",
    }
    subject = Subject("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ann")
    for count in (5, 20):
        written = document(count)
        policies = IdentityPolicies((policy("p", "identity", json.dumps(written)),))
        lowered = context_of(context)

        def ask(policies: IdentityPolicies = policies, lowered: Any = lowered) -> bool:
            question = Question(subject, "s3:GetObject", "arn:aws:s3:::bucket/ann/key", lowered, ACCOUNT)
            return evaluate(question, policies).allowed

        asked = naive.Asked(f"arn:aws:iam::{ACCOUNT}:user/ann", "s3:GetObject", "arn:aws:s3:::bucket/ann/key", context)

        def plainly(written: Any = written, asked: naive.Asked = asked) -> bool:
            return naive.decide(asked, [written]) == "Allowed"

        if not ask() or not plainly():
            raise AssertionError("the benchmark's policy must allow")
        quick, slow = best(ask, 1000), best(plainly, 40)
        say(f"a decision, {count} statements with 3 conditions each, compiled", quick, f"{1e6 / quick:,.0f}/s")
        say(f"the same, naive (reads the JSON's values at each decision), {slow / quick:.0f} times", slow, "")


async def rig(folder: Path) -> tuple[Doors, front.Pipeline]:
    """A chamber of IAM and S3, without doors to the outside."""
    database, clock = Database(folder / "chamber.db"), SystemClock()
    owners = {"iam": iam.SERVICE.migrations, "s3": s3.SERVICE.migrations}
    await migrate(database, {name: path for name, path in owners.items() if path is not None})
    make: Any = iam.SERVICE.identities
    made, unused = front.Pipeline(), cast("Any", None)
    parts: dict[str, Any] = {}
    doors = Doors(
        account=ACCOUNT, region="us-east-1", endpoint="http://127.0.0.1:4566", folder=folder, clock=clock,
        database=database, outbox=Outbox(database, clock), recorder=Recorder(folder / "tracks.db"), sandboxes=unused,
        authority=unused, identities=make(database, folder, ACCOUNT, None, clock),
        services={"iam": iam.SERVICE, "s3": s3.SERVICE}, ask=made.ask, parts=parts,
    )  # fmt: skip
    await doors.outbox.start()
    parts["s3"] = S3Part(doors)
    made.open(doors)
    return doors, made


def call_of(doors: Any, principal: Any, headers: Headers | None) -> Call:
    """A call as the pipeline makes it."""
    segment = Segment("t", "s", "", "s3", "x", 0)
    return Call(
        principal, ACCOUNT, "us-east-1", "r", doors.clock.now(), doors, segment, headers=headers, signed_by="header"
    )


async def do(doors: Any, service: Any, name: str, **request: Any) -> Any:
    """Run an operation as the root user, without being asked."""
    return await service.operations[name].run(call_of(doors, doors.identities.root.principal, None), request)


async def user(doors: Any) -> tuple[str, str]:
    """A user with five statements, and its key."""
    await do(doors, iam.SERVICE, "CreateUser", UserName="ann")
    key = (await do(doors, iam.SERVICE, "CreateAccessKey", UserName="ann"))["AccessKey"]
    text = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:*", "Resource": "*",
         "Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"},
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::bucket/*"},
        {"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"},
    ]})  # fmt: skip
    await do(doors, iam.SERVICE, "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=text)
    return key["AccessKeyId"], key["SecretAccessKey"]


def signed(method: str, path: str, key: tuple[str, str], body: bytes = b"") -> HttpRequest:
    """A request as boto3 signs it."""
    asked = AWSRequest(method, f"http://127.0.0.1:4566{path}", data=body)
    S3SigV4Auth(Credentials(*key), "s3", "us-east-1").add_auth(asked)  # pyright: ignore[reportUnknownMemberType] - botocore
    headers = {"host": "127.0.0.1:4566", "content-length": str(len(body)), **dict(asked.headers.items())}
    return HttpRequest(method, path, "", Headers(headers.items()))


async def steps(say: Callable[[str, float, str], None], folder: Path) -> None:
    """The step of a request that asks IAM, and both steps in a whole PUT."""
    doors, made = await rig(folder)
    key = await user(doors)
    await do(doors, s3.SERVICE, "CreateBucket", Bucket="bucket")
    principal = doors.identities.credential(key[0], "", doors.clock.now()).principal
    headers = signed("GET", "/bucket/a", key).headers
    get = s3.SERVICE.operations["GetObject"]
    call = call_of(doors, principal, headers)

    def ask(name: str) -> None:
        call.segment.decisions.clear()
        authorize(call, s3.SERVICE, get, {"Bucket": "bucket", "Key": name})

    say("authorize a GetObject seen before, 5 statements", best(lambda: ask("a"), 1000), "")
    numbers = iter(range(10_000_000))
    say("authorize a GetObject of a new key", best(lambda: ask(f"k{next(numbers)}"), 500), "")

    def needs() -> None:
        for _ in get.needs(call, {"Bucket": "bucket", "Key": "a"}):
            pass

    say("  of these, S3's own needs()", best(needs, 1000), "")
    request = signed("GET", "/bucket/a", key)
    routed = route(request, None, Offered({"s3": s3.SERVICE.signing_names}))
    now = doors.clock.now()

    def both() -> None:
        authenticate(request, routed, None, doors.identities, "us-east-1", now)
        ask("a")

    say("signature and decision of a GetObject, warm key", best(both, 500), "")
    await share(say, made, key)
    await doors.outbox.stop()
    doors.recorder.close()
    await doors.database.close()


async def share(say: Callable[[str, float, str], None], made: front.Pipeline, key: tuple[str, str]) -> None:
    """Whole PUTs and GETs of 1 KiB through the pipeline, with the CPU that signature and decision take in them."""
    spent: dict[str, list[float]] = {"authenticate": [], "authorize": [], "whole": []}

    def timed(name: str, work: Any) -> Any:
        def run(*given: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*given)
            finally:
                spent[name].append((time.thread_time() - began) * 1e6)

        return run

    plain = front.authenticate, front.authorize
    front.authenticate, front.authorize = timed("authenticate", plain[0]), timed("authorize", plain[1])
    try:
        for method, body in (("PUT", b"x" * 1024), ("GET", b"")):
            requests = [signed(method, f"/bucket/k{number}", key, body) for number in range(COUNT)]
            for found in spent.values():
                found.clear()
            for request in requests:
                began = time.thread_time()
                reply = await made.handle(request, cast("Any", Held(body)))
                spent["whole"].append((time.thread_time() - began) * 1e6)
                if reply.status != 200:
                    raise AssertionError(f"{method} answered {reply.status} {reply.body!r}")
            tell(say, method, {name: median(found) for name, found in spent.items()})
    finally:
        front.authenticate, front.authorize = plain


def tell(say: Callable[[str, float, str], None], method: str, usual: dict[str, float]) -> None:
    """What one kind of request costs, and which part of it is ours."""
    whole = usual.pop("whole")
    say(f"a {method} of 1 KiB through the pipeline: CPU of the loop's thread (median)", whole, "")
    for name, micros in usual.items():
        say(f"  of it, {name}", micros, f"{micros / whole:.1%}")
    both = sum(usual.values())
    say("  signature and decision together", both, f"{both / whole:.1%}")


def main() -> int:
    """Measure, and print a line each."""

    def say(what: str, micros: float, more: str) -> None:
        print(f"{micros:9.2f} us  {what}  {more}".rstrip(), flush=True)

    decisions(say)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(steps(say, Path(folder)))
    return 0

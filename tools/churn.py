# SPDX-License-Identifier: Apache-2.0
"""Instances and functions that come and go at random while the chamber is killed: what is left must be what is said.

``python -m tools churn [--minutes 10] [--seed 1]`` starts a chamber of its own, and prints what it did and found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import RunningChamber

ALIVE_MAX = 8
SETTLED_WITHIN_S = 180.0
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::churn-done/*"}],
}
CODE = """
import boto3
s3 = boto3.client("s3")

def handle(event, context):
    for record in event.get("Records", []):
        key = record["s3"]["object"]["key"]
        s3.put_object(Bucket="churn-done", Key=f"{key}/{context.aws_request_id}", Body=b"")
    return "done"
"""


def code() -> bytes:
    """The function, as a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", CODE)
    return out.getvalue()


@dataclass
class Tally:
    """What was done and what was found."""

    seed: int
    done: dict[str, int] = field(default_factory=dict[str, int])
    refused: dict[str, int] = field(default_factory=dict[str, int])
    kills: int = 0
    put: set[str] = field(default_factory=set[str])
    lost: list[str] = field(default_factory=list[str])
    duplicates: int = 0
    wrong: list[str] = field(default_factory=list[str])
    left: list[str] = field(default_factory=list[str])

    def count(self, what: str) -> None:
        """One more of these."""
        self.done[what] = self.done.get(what, 0) + 1

    def refuse(self, error: Exception) -> None:
        """One call that was refused, or met nobody."""
        said = str(error)[:200] if isinstance(error, ClientError) else ""
        reason = f"{type(error).__name__} {re.sub(r'[0-9a-f]{8,}', '*', said)}".strip()
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Churn:
    """One run against one chamber."""

    def __init__(self, chamber: RunningChamber, seed: int) -> None:
        self._chamber = chamber
        self._random = random.Random(seed)
        self.tally = Tally(seed)
        self._ending = threading.Event()
        self._up = threading.Event()
        self._up.set()
        self._clients: dict[str, Any] = {}

    def _client(self, service: str) -> Any:
        """One for all threads: to make one takes longer than most calls."""
        if service not in self._clients:
            self._clients[service] = self._chamber.client(service)
        return self._clients[service]

    def prepare(self) -> None:
        """Buckets, a role, and the function that answers events."""
        client = self._client
        s3, iam, functions = client("s3"), client("iam"), client("lambda")
        for name in ("churn-in", "churn-done"):
            s3.create_bucket(Bucket=name)
        role = iam.create_role(RoleName="churn", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="churn", PolicyName="p", PolicyDocument=json.dumps(ALLOWED))
        self._role = role
        made = self._function("churn-events")
        functions.add_permission(
            FunctionName="churn-events", StatementId="s3", Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::churn-in",
        )  # fmt: skip
        events = [{"LambdaFunctionArn": made, "Events": ["s3:ObjectCreated:*"]}]
        s3.put_bucket_notification_configuration(
            Bucket="churn-in", NotificationConfiguration={"LambdaFunctionConfigurations": events}
        )
        image = client("ec2").describe_images(Owners=["amazon"])["Images"][0]
        self._image = image["ImageId"]
        self._kind = "t3.nano" if image["Architecture"] == "x86_64" else "t4g.nano"

    def _function(self, name: str) -> str:
        functions = self._client("lambda")
        made = functions.create_function(
            FunctionName=name, Runtime="python3.12", Handler="app.handle", Role=self._role, Code={"ZipFile": code()}
        )
        return made["FunctionArn"]

    def run(self, *, rounds: int, kills: int, seconds: float = 0.0) -> Tally:
        """Do `rounds` things with each worker, or as many as fit into `seconds`; kill the chamber `kills` times."""
        ends = time.monotonic() + seconds if seconds else None
        works = (self._instance, self._instance, self._one_function, self._one_function, self._one_function, self._put)
        with ThreadPoolExecutor(len(works) + 1) as workers:
            tasks = [workers.submit(self._work, what, rounds, ends) for what in works]
            killer = workers.submit(self._kill, kills, seconds)
            for task in tasks:
                task.result()
            self._ending.set()
            killer.result()
        self._settle()
        return self.tally

    def _work(self, what: Callable[[], None], rounds: int, ends: float | None) -> None:
        count = 0
        while not self._ending.is_set() and ((count < rounds) if ends is None else (time.monotonic() < ends)):
            self._up.wait()
            count += 1
            try:
                what()
            except (BotoCoreError, ClientError) as error:
                self.tally.refuse(error)  # the chamber was just dead, or another one was faster
                self._ending.wait(0.1)

    def _kill(self, kills: int, seconds: float) -> None:
        for _ in range(kills):
            pause = self._random.uniform(0.5, 1.5) * (seconds / kills if seconds else 4.0)
            if self._ending.wait(pause):
                return
            self._up.clear()
            self._chamber.kill()
            self.tally.kills += 1
            print(f"killed after {json.dumps(self.tally.done)}", file=sys.stderr, flush=True)
            try:
                self._chamber.start()
            except BaseException:
                self._ending.set()
                raise
            finally:
                self._up.set()

    def _instance(self) -> None:
        ec2 = self._client("ec2")
        pages = ec2.get_paginator("describe_instances").paginate()
        rows = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
        alive = [row for row in rows if row["State"]["Name"] not in ("terminated", "shutting-down")]
        chosen = self._random.choice(alive)["InstanceId"] if alive else ""
        verb = self._random.choice(("run", "run", "stop", "start", "terminate", "reboot"))
        if verb == "run" or not chosen:
            if len(alive) >= ALIVE_MAX:
                verb = "terminate"
            else:
                script = self._random.choice(("", "#!/bin/sh\nsleep 1000 &\nwait\n", "#!/bin/sh\nshutdown now\n"))
                ec2.run_instances(ImageId=self._image, InstanceType=self._kind, MinCount=1, MaxCount=1, UserData=script)
                self.tally.count("run instance")
                return
        getattr(ec2, f"{verb}_instances")(InstanceIds=[chosen])
        self.tally.count(f"{verb} instance")

    def _one_function(self) -> None:
        functions = self._client("lambda")
        name = f"churn-{self._random.randrange(1 << 40):010x}"
        self._function(name)
        try:
            answer = functions.invoke(FunctionName=name, Payload=b"{}")
            if "FunctionError" in answer or answer["Payload"].read() != b'"done"':
                self.tally.wrong.append(f"{name} answered {answer}")
            self.tally.count("function")
        finally:
            self._until_gone(name)

    def _until_gone(self, name: str) -> None:
        while True:
            self._up.wait()
            try:
                self._client("lambda").delete_function(FunctionName=name)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceNotFoundException":
                    return
                raise
            except BotoCoreError:
                self._ending.wait(0.1)
            else:
                return

    def _put(self) -> None:
        key = f"k{self._random.randrange(1 << 48):012x}"
        self._client("s3").put_object(Bucket="churn-in", Key=key, Body=b"x")
        self.tally.put.add(key)
        self.tally.count("put")

    def _settle(self) -> None:
        """Wait until nothing is under way, then compare what is said with what is there."""
        ec2 = self._client("ec2")
        ends = time.monotonic() + SETTLED_WITHIN_S
        while True:
            pages = ec2.get_paginator("describe_instances").paginate()
            rows = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
            moving = [
                row["InstanceId"] for row in rows if row["State"]["Name"] not in ("running", "stopped", "terminated")
            ]
            missing = self._missing()
            if (not moving and not missing) or time.monotonic() > ends:
                break
            time.sleep(0.3)
        self.tally.wrong += [f"{one} never came to rest" for one in moving]
        self.tally.lost = sorted(missing)
        for row in rows:
            self._compare(row["InstanceId"], row["State"]["Name"])

    def _missing(self) -> set[str]:
        pages = self._client("s3").get_paginator("list_objects_v2").paginate(Bucket="churn-done")
        done = [one["Key"].partition("/")[0] for page in pages for one in page.get("Contents", ())]
        self.tally.duplicates = len(done) - len(set(done))
        return self.tally.put - set(done)

    def _compare(self, instance_id: str, state: str) -> None:
        """An instance that is said to run answers; one that does not has no process; a terminated one no folder."""
        if state == "running":
            answered = self._chamber.cli("shell", instance_id, "--", "echo", "here", check=False)
            # Why again: it may have ended by itself meanwhile, as its script says.
            if "here" not in answered.stdout and self._state(instance_id) == "running":
                self.tally.wrong.append(f"{instance_id} is said to run: {answered.stderr[-200:]}")
            return
        folder = self._chamber.state / "ec2" / instance_id
        if state == "terminated" and folder.exists():
            self.tally.left.append(f"the folder of {instance_id}, which is terminated")
        if (folder / "ctl.sock").exists():
            self.tally.left.append(f"the control socket of {instance_id}, which is {state}")

    def _state(self, instance_id: str) -> str:
        answer = self._client("ec2").describe_instances(InstanceIds=[instance_id])
        return answer["Reservations"][0]["Instances"][0]["State"]["Name"]

    def clear(self) -> None:
        """Terminate and delete everything, and stop the chamber."""
        ec2 = self._client("ec2")
        pages = ec2.get_paginator("describe_instances").paginate()
        rows = [i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]]
        if rows:
            ec2.terminate_instances(InstanceIds=rows)
            ends = time.monotonic() + SETTLED_WITHIN_S
            while any(self._state(one) != "terminated" for one in rows) and time.monotonic() < ends:
                time.sleep(0.1)
        self._chamber.stop()


def remains(state: Path) -> list[str]:
    """What of a chamber that was stopped is still on this machine: processes, mounts, control groups."""
    mark = str(state)
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            opened = [str(one.readlink()) for one in (folder / "fd").iterdir()]
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            mounts = (folder / "mountinfo").read_text(errors="replace")
            if mark in line or any(mark in one for one in opened) or (mark in mounts and folder.name != "self"):
                found.append(f"process {folder.name}: {line[:100]}")
    for group in Path("/sys/fs/cgroup").glob("**/*" + state.name + "*"):
        found.append(f"control group {group}")
    return found


def report(tally: Tally) -> dict[str, Any]:
    """The tally as plain values."""
    return {
        "seed": tally.seed,
        "done": tally.done,
        "kills": tally.kills,
        "refused": tally.refused,
        "events": len(tally.put),
        "lost events": len(tally.lost),
        "duplicates": tally.duplicates,
        "wrong": tally.wrong,
        "left behind": tally.left,
    }


def main(arguments: list[str]) -> int:
    """Run it against a chamber of its own."""
    from tests.conftest import end_chamber, new_chamber

    parser = argparse.ArgumentParser(prog="python -m tools churn", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    running = new_chamber()
    running.start()
    try:
        churn = Churn(running, given.seed)
        churn.prepare()
        tally = churn.run(rounds=0, kills=given.kills, seconds=given.minutes * 60)
        churn.clear()
        tally.left += remains(running.state)
        print(json.dumps(report(tally), indent=1))
    finally:
        end_chamber(running)
    return int(bool(tally.lost or tally.wrong or tally.left))

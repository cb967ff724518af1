# SPDX-License-Identifier: Apache-2.0
"""How quick functions are: cold, warm, many at once, after a PUT; beside a plain new process and, if given, ministack.

``python -m tools bench lambda [--ministack PATH-TO-ITS-PYTHON]``. Rows of one run are comparable; the load is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

EMPTY = "def handler(event, context):\n    return event\n"
BOTO3 = "import boto3\ndef handler(event, context):\n    return event\n"
CLIENT = "import boto3\ns3 = boto3.client('s3')\ndef handler(event, context):\n    return event\n"
SLOW = "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return 1\n"
STARTED = (
    "import time\nnow = time.time\n"
    "def handler(event, context):\n    print('BEGAN', event['Records'][0]['s3']['object']['key'], now())\n"
)
COLD_ROUNDS, WARM_ROUNDS, PUT_ROUNDS, MANY = 12, 400, 40, 40
RUNTIME = f"python3.{sys.version_info.minor}"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LOGS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}


def package(source: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("index.py", source)
    return held.getvalue()


class Subject:
    """One emulator under measurement."""

    def __init__(self, name: str, endpoint: str, key: str, secret: str) -> None:
        import boto3
        from botocore.config import Config

        self.name = name
        session: Any = boto3.Session(key, secret, region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=64)

        def client(service: str) -> Any:
            return session.client(service, endpoint_url=endpoint, config=config)

        self.client = client
        self.functions = self.client("lambda")
        self.role = self._role()

    def _role(self) -> str:
        iam = self.client("iam")
        arn = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName="bench", PolicyName="logs", PolicyDocument=json.dumps(LOGS))
        return str(arn)

    def create(self, name: str, source: str, **members: Any) -> None:
        members.setdefault("MemorySize", 512)
        self.functions.create_function(
            FunctionName=name, Runtime=RUNTIME, Handler="index.handler", Role=self.role, Timeout=30,
            Code={"ZipFile": package(source)}, **members,
        )  # fmt: skip
        self.functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def invoke(self, name: str) -> float:
        began = time.perf_counter()
        self.functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read()
        return (time.perf_counter() - began) * 1000

    def recycle(self, name: str, round_: int) -> None:
        """End its environments, by a change of its configuration."""
        variables = {"ROUND": str(round_)}
        self.functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        self.functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def cold(self, name: str, source: str, rounds: int = COLD_ROUNDS) -> list[float]:
        self.create(name, source)
        self.invoke(name)
        took: list[float] = []
        for number in range(rounds):
            self.recycle(name, number)
            took.append(self.invoke(name))
        return took

    def warm(self, name: str, rounds: int = WARM_ROUNDS) -> list[float]:
        for _ in range(20):
            self.invoke(name)
        return [self.invoke(name) for _ in range(rounds)]

    def many(self, name: str) -> float:
        """Seconds until `MANY` environments have answered, none of them warm before."""
        self.create(name, SLOW, MemorySize=128)
        self.invoke(name)
        self.recycle(name, 0)
        with ThreadPoolExecutor(MANY) as threads:
            began = time.perf_counter()
            list(threads.map(self.invoke, [name] * MANY))
            return time.perf_counter() - began - 0.3

    def put_to_start(self, rounds: int = PUT_ROUNDS) -> list[float]:
        """From the start of a PUT to the first line of the function that it sets off; both clocks are the machine's."""
        self.create("bench-put", STARTED)
        s3 = self.client("s3")
        s3.create_bucket(Bucket="bench-put")
        self.functions.add_permission(
            FunctionName="bench-put", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
            SourceArn="arn:aws:s3:::bench-put",
        )  # fmt: skip
        arn = self.functions.get_function_configuration(FunctionName="bench-put")["FunctionArn"]
        wanted = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        s3.put_bucket_notification_configuration(Bucket="bench-put", NotificationConfiguration=wanted)
        began: dict[str, float] = {}
        for number in range(rounds + 3):
            began[str(number)] = time.time()
            s3.put_object(Bucket="bench-put", Key=str(number), Body=b"x" * 1000)
            time.sleep(0.03)
        started = self._started(set(began))
        return [(started[key] - at) * 1000 for key, at in began.items() if key in started and int(key) >= 3]

    def _started(self, wanted: set[str]) -> dict[str, float]:
        logs = self.client("logs")
        found: dict[str, float] = {}
        ends = time.monotonic() + 30
        while wanted - found.keys() and time.monotonic() < ends:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/bench-put")
            with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
                lines = [event["message"].split() for page in pages for event in page["events"]]
                found = {line[1]: float(line[2]) for line in lines if line[:1] == ["BEGAN"]}
            time.sleep(0.2)
        return found


def plain_process(source: str, rounds: int = COLD_ROUNDS) -> list[float]:
    """A new Python that loads the function and says so: what a cold start without any of this costs."""
    took: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", source + "\nhandler({}, None)"], check=True)
        took.append((time.perf_counter() - began) * 1000)
    return took


@contextlib.contextmanager
def chamber() -> Generator[Subject]:
    state = Path(tempfile.mkdtemp(prefix="bench-"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
    environment["CLOUDCHAMBER_ROOT_KEY"] = "AKIAROOTROOTROOTROOT:bench-secret"
    argv = [sys.executable, "-m", "cloudchamber", "start", "--foreground", "--state", str(state), "--port", "0"]
    process = subprocess.Popen(
        [*argv, "--https-port", "0"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (state / "chamber.json").exists():
            if process.poll() is not None:
                raise SystemExit("the chamber did not start")
            time.sleep(0.02)
        endpoint = json.loads((state / "chamber.json").read_text())["endpoint"]
        yield Subject("cloudchamber", endpoint, "AKIAROOTROOTROOTROOT", "bench-secret")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(state, ignore_errors=True)


@contextlib.contextmanager
def ministack(python: str) -> Generator[Subject]:
    port = "14566"
    environment = {"PATH": os.environ["PATH"], "HOME": tempfile.mkdtemp(), "BIND_HOST": "127.0.0.1"}
    environment |= {"GATEWAY_PORT": port, "EDGE_PORT": port, "LAMBDA_EXECUTOR": "local"}
    process = subprocess.Popen(
        [f"{Path(python).parent}/ministack"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(4)
        yield Subject("ministack", f"http://127.0.0.1:{port}", "test", "test")
    finally:
        process.terminate()
        process.wait()


def row(what: str, who: str, values: list[float], bar: str = "") -> None:
    ordered = sorted(values)
    p50, p90 = statistics.median(ordered), ordered[int(len(ordered) * 0.9)]
    shown = f"p50 {p50:8.2f}  p90 {p90:8.2f}  min {ordered[0]:8.2f} ms  (n={len(values)}) {bar}"
    print(f"{what:34} {who:14} {shown}", flush=True)


def measure(subject: Subject, *, bars: bool) -> None:
    for name, source, bar in (
        ("empty", EMPTY, ""),
        ("import-boto3", BOTO3, "bar: 40 and a tenth of a plain process"),
        ("s3-client", CLIENT, ""),
    ):
        row(f"cold, {name}", subject.name, subject.cold(f"bench-{name}", source), bar if bars else "")
    row("warm", subject.name, subject.warm("bench-empty"), "bar: p50 2" if bars else "")
    print(f"{f'{MANY} environments':34} {subject.name:14} {subject.many('bench-many'):.2f} s", "bar: 1" if bars else "")
    row("PUT to function started", subject.name, subject.put_to_start(), "bar: p50 15" if bars else "")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="tools bench lambda", description=__doc__)
    parser.add_argument("--ministack", help="python of an environment that has ministack")
    options = parser.parse_args(sys.argv[3:])
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {RUNTIME}, threads {threading.active_count()}")
    for name, source in (("empty", EMPTY), ("import-boto3", BOTO3), ("s3-client", CLIENT)):
        row(f"plain process, {name}", "python", plain_process(source))
    with chamber() as subject:
        measure(subject, bars=True)
    if options.ministack:
        with ministack(options.ministack) as subject:
            try:
                measure(subject, bars=False)
            except Exception as error:
                print(f"ministack: {type(error).__name__}: {error}")
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0

# SPDX-License-Identifier: Apache-2.0
"""LocalStack's tests of S3 that were recorded on AWS, against a chamber of their own: `python -m tools conformance`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.snapshot_plugin import IN_PROCESS, PORT

if TYPE_CHECKING:
    import argparse

    from tests.conftest import RunningChamber

LIST = Path(__file__).parent.parent / "tests" / "data" / "conformance" / "snapshots.txt"
FOLDER = "tests/aws/services/s3"
FIRST = "test_s3.py"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
ROOT = "test:test"
"""The key of the root user, which tests of presigned URLs have built in."""
LIMIT_S = 3600


def read() -> dict[str, bool]:
    """The list: test -> whether it is to pass."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    return {line.removeprefix("- "): not line.startswith("- ") for line in lines if line and not line.startswith("#")}


def write(passed: dict[str, bool]) -> None:
    """The same, by name."""
    lines = [name if passed[name] else f"- {name}" for name in sorted(passed)]
    LIST.write_text("\n".join(lines) + "\n", encoding="utf-8")


def callers(running: RunningChamber) -> dict[str, str]:
    """Who the tests call as: an administrator, as when they were recorded, and the root user of another account."""
    iam = running.client("iam", ROOT)
    iam.create_user(UserName="administrator")
    iam.attach_user_policy(UserName="administrator", PolicyArn=ADMINISTRATOR)
    key = iam.create_access_key(UserName="administrator")["AccessKey"]
    running.client("s3", ROOT).create_bucket(Bucket="another-bucket-of-the-account")  # Why: recorded
    other = json.loads(running.cli("account", "add", "second", "--json").stdout)
    return {
        "TEST_AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "TEST_AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "TEST_AWS_ACCOUNT_ID": running.client("sts", ROOT).get_caller_identity()["Account"],
        "SECONDARY_TEST_AWS_ACCESS_KEY_ID": other["AccessKeyId"],
        "SECONDARY_TEST_AWS_SECRET_ACCESS_KEY": other["SecretAccessKey"],
        "SECONDARY_TEST_AWS_ACCOUNT_ID": other["Id"],
    }


def results(given: argparse.Namespace) -> dict[str, Outcome]:
    """What each test did."""
    from tests.conftest import end_chamber, new_chamber

    running = new_chamber()
    running.more["CLOUDCHAMBER_ROOT_KEY"] = ROOT
    running.more["CLOUDCHAMBER_S3_ENCRYPTION"] = given.encryption
    running.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "results.xml"
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
            environment |= callers(running) | {
                "TEST_SKIP_LOCALSTACK_START": "1", "TEST_AWS_REGION_NAME": "us-east-1", "DISABLE_EVENTS": "1",
                "TEST_AWS_ENDPOINT_URL": f"http://s3.localhost.localstack.cloud:{PORT}", "SKIP_SSL_CERT_DOWNLOAD": "1",
                "GATEWAY_LISTEN": f"127.0.0.1:{PORT}", "SNAPSHOT_PORT": str(running.port), "TZ": "UTC",
                "PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
            }  # fmt: skip
            command = [
                given.python, "-m", "pytest", "-q", "-p", "snapshot_plugin", "-p", "no:cacheprovider", "-p",
                "no:logging", "--show-capture=no", "--tb=line", "-W", "ignore", "-m", "aws_validated", "--timeout=60",
                f"--junitxml={written}", *(["-k", given.only] if given.only else []), FOLDER,
            ]  # fmt: skip
            subprocess.run(
                command, cwd=given.suite, env=environment, stdout=subprocess.DEVNULL, timeout=LIMIT_S, check=False
            )
            return outcomes(written)
    finally:
        end_chamber(running)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test did; `why` is the first line of what was wrong, `counted` whether LocalStack's own count has it."""

    passed: bool
    skipped: bool
    why: str
    counted: bool


def outcomes(written: Path) -> dict[str, Outcome]:
    """What pytest wrote."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.parse(written).getroot().iter("testcase"):
        *_, file, group = str(case.get("classname")).split(".")
        wrong = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped") is not None
        told = "" if wrong is None else str(wrong.get("message", "")).partition("\n")[0]
        inside = any(one.get("name") == IN_PROCESS for one in case.iter("property"))
        passed = wrong is None and not skipped
        found[f"{file}.py::{group}::{case.get('name')}"] = Outcome(passed, skipped, told, not inside)
    return found


def table(done: dict[str, Outcome]) -> str:
    """The counts by file: all, and those of LocalStack's own count, which has the skipped ones in it."""
    lines = [f"{'':<40}{'passed':>8}{'of':>6}{'counted':>10}{'of':>6}{'skipped':>9}"]
    files = sorted({name.partition("::")[0] for name in done})
    for file in (*files, "all"):
        of = [one for name, one in done.items() if file in ("all", name.partition("::")[0])]
        counted = [one for one in of if one.counted]
        lines.append(
            f"{file:<40}{sum(one.passed for one in of):>8}{sum(not one.skipped for one in of):>6}"
            f"{sum(one.passed for one in counted):>10}{len(counted):>6}{sum(one.skipped for one in counted):>9}"
        )
    return "\n".join(lines)


def main(given: argparse.Namespace) -> int:
    """Run them; 1 if a test that passed before does not pass any more."""
    if not (given.suite / FOLDER / FIRST).exists():
        print(f"{given.suite} is no checkout of localstack/localstack", file=sys.stderr)
        return 2
    before, done = read(), results(given)
    ran = {name: one for name, one in done.items() if not one.skipped}
    lost = 0
    for name, one in sorted(ran.items()):
        if one.passed != before.get(name, False):
            lost += not one.passed
            print("won " if one.passed else "LOST", name, one.why)
    print(table(done))
    counted = [one for one in done.values() if one.counted]
    print(
        f"snapshots: {sum(one.passed for one in ran.values())} of {len(ran)} pass; in LocalStack's own count "
        f"{sum(one.passed for one in counted)} of {len(counted)}"
    )
    if given.update:
        write(before | {name: one.passed for name, one in ran.items()})
    return int(lost > 0)

# SPDX-License-Identifier: Apache-2.0
"""Other people's tests against a chamber of their own, held against what passed before.

``python -m tools conformance ceph --suite FOLDER [--tier core iam] [--only WORD] [--jobs 2] [--python PYTHON]
[--update]``: FOLDER is a checkout of ceph/s3-tests (``git clone https://github.com/ceph/s3-tests``), PYTHON one that
has its requirements (boto3 requests PyYAML munch isodate pytz httplib2 lxml pytest). The lists lie in
tests/data/conformance: a line for each test, with ``- `` before those that do not pass; why not is in
docs/reference/conformance.md. 1 if a test was lost; `--update` writes the lists anew.

``python -m tools conformance snapshots --suite FOLDER --python PYTHON [--only EXPRESSION] [--encryption all]
[--update]``: the S3 tests of a checkout of localstack/localstack (archived in March 2026), by a Python 3.13 that has
its ``requirements-test.txt`` and ``localstack-core==4.14.0``. Recorded answers are compared whole; the list is
``snapshots.txt``. Counted are all tests that were validated on AWS, and the 492 of them that LocalStack counts: those
that it does not mark ``requires_in_process``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.conftest import RunningChamber

LISTS = Path(__file__).parent.parent / "tests" / "data" / "conformance"
HERE = "s3tests/functional/"
"""Where the suite's tests lie; the lists leave it out."""
ALONE = "test_list_buckets_paginated"
"""Wants an account without buckets."""
LIMIT_S = 3600
SHARED = ("iam",)
"""Tiers whose tests share users: one process."""
ADMIN = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)  # fmt: skip


def read(tier: str) -> dict[str, bool]:
    """A list: test -> whether it is to pass."""
    lines = (LISTS / f"ceph_{tier}.txt").read_text(encoding="utf-8").splitlines()
    return {line.removeprefix("- "): not line.startswith("- ") for line in lines if line and not line.startswith("#")}


def write(tier: str, passed: Mapping[str, bool]) -> None:
    """The same, by name."""
    lines = [name if passed[name] else f"- {name}" for name in sorted(passed)]
    (LISTS / f"ceph_{tier}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def people(running: RunningChamber, tier: str) -> dict[str, dict[str, str]]:
    """The sections of the suite's configuration that name accounts: their keys, canonical ids and addresses."""
    keys = {"main": ("AKIAROOTROOTROOTROOT", "test-root-secret")}
    for name in ("alt", "tenant"):
        made = json.loads(running.cli("account", "add", name, "--json", "--email", f"{name}@example.com").stdout)
        keys[name] = (made["AccessKeyId"], made["SecretAccessKey"])
    told: dict[str, dict[str, str]] = {}
    for name, (key, secret) in keys.items():
        owner = running.client("s3", f"{key}:{secret}").list_buckets()["Owner"]
        told[name] = {
            "access_key": key, "secret_key": secret, "user_id": owner["ID"], "display_name": owner["DisplayName"],
            "email": f"{name}@example.com",
        }  # fmt: skip
    kms = running.client("kms")
    main = told["main"] | {
        word: kms.create_key()["KeyMetadata"]["Arn"] for word in ("kms_keyid", "kms_keyid2")
    } | {"api_name": "eu-west-1", "storage_classes": "GLACIER DEEP_ARCHIVE"}  # fmt: skip
    root = told["main"] | {"user_id": running.client("sts").get_caller_identity()["Account"]}
    alt = told["alt"]
    user = alt if tier == "core" else alt | _user(running, alt)
    return {
        "s3 main": main, "s3 alt": user, "s3 tenant": told["tenant"] | {"tenant": "testx"},
        "iam": alt, "iam root": root, "iam alt root": alt,
    }  # fmt: skip


def _user(running: RunningChamber, alt: Mapping[str, str]) -> dict[str, str]:
    """An administrator of the second account, whose name is the account's canonical id: the suite takes one for the
    other."""
    iam = running.client("iam", f"{alt['access_key']}:{alt['secret_key']}")
    iam.create_user(UserName=alt["user_id"])
    policy = iam.create_policy(PolicyName="everything", PolicyDocument=ADMIN)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=alt["user_id"], PolicyArn=policy)
    key = iam.create_access_key(UserName=alt["user_id"])["AccessKey"]
    return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}


def configuration(running: RunningChamber, tier: str) -> str:
    """The suite's configuration file."""
    sections: dict[str, dict[str, str]] = {
        "DEFAULT": {"host": "127.0.0.1", "port": str(running.port), "is_secure": "False", "ssl_verify": "False"},
        "fixtures": {"bucket prefix": "ceph-{random}-", "iam name prefix": "ceph-", "iam path prefix": "/ceph/"},
        **people(running, tier),
    }
    lines: list[str] = []
    for section, members in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in members.items()), ""]
    return "\n".join(lines)


def run(given: argparse.Namespace, tier: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the named tests did, by name, in a chamber with the older defaults of buckets."""
    from tests.conftest import end_chamber, new_chamber

    running = new_chamber()
    running.more["CLOUDCHAMBER_S3_NEW_BUCKET_DEFAULTS"] = "legacy"
    running.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "s3tests.conf").write_text(configuration(running, tier), encoding="utf-8")
            results = Path(folder) / "results"
            results.touch()
            first, rest = [n for n in names if ALONE in n], [n for n in names if ALONE not in n]
            jobs = 1 if tier in SHARED else given.jobs
            for shards in ([first], [rest[number::jobs] for number in range(jobs)]):
                begun = [_pytest(given, Path(folder), number, shard) for number, shard in enumerate(shards) if shard]
                for process in begun:
                    process.wait(LIMIT_S)
            done = (json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
            return {one["test"].removeprefix(HERE): one for one in done}
    finally:
        end_chamber(running)


def _pytest(given: argparse.Namespace, folder: Path, number: int, names: Iterable[str]) -> subprocess.Popen[bytes]:
    (folder / f"tests{number}").write_text("\n".join(HERE + name for name in names) + "\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_", "PYTEST_"))}
    environment |= {
        "S3TEST_CONF": str(folder / "s3tests.conf"), "CEPH_RESULTS": str(folder / "results"),
        "PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    command = [given.python, "-m", "pytest", "-q", "-p", "ceph_plugin", "-p", "no:cacheprovider", "--tb=no"]
    return subprocess.Popen(
        [*command, f"@{folder}/tests{number}"], cwd=given.suite, env=environment, stdout=subprocess.DEVNULL
    )


def main(arguments: list[str]) -> int:
    """Run the tiers; 1 if a test that passed before does not pass any more."""
    parser = argparse.ArgumentParser(prog="python -m tools conformance", description=__doc__)
    parser.add_argument("of", choices=["ceph", "snapshots"])
    parser.add_argument("--suite", type=Path, required=True)
    parser.add_argument("--tier", nargs="+", choices=["core", "iam"], default=["core", "iam"])
    parser.add_argument("--only", default="", help="tests whose names have this in them")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--encryption", choices=["asked", "all"], default="asked", help="of S3, for the snapshots")
    parser.add_argument("--update", action="store_true")
    given = parser.parse_args(arguments)
    if given.of == "snapshots":
        from tools import snapshots

        return snapshots.main(given)
    if not (given.suite / HERE / "test_s3.py").exists():
        parser.error(f"{given.suite} is no checkout of ceph/s3-tests")
    lost = 0
    for tier in given.tier:
        before = read(tier)
        names = [name for name in before if given.only in name]
        done = run(given, tier, names)
        now = {name: done.get(name, {}).get("outcome") == "passed" for name in names}
        for name in names:
            if now[name] != before[name]:
                what = done.get(name, {"outcome": "did not run", "message": ""})
                print(
                    "won " if now[name] else "LOST", name, "" if now[name] else f"{what['outcome']}: {what['message']}"
                )
        lost += sum(before[name] and not now[name] for name in names)
        print(f"{tier}: {sum(now.values())} of {len(names)} pass, {sum(before[n] for n in names)} before")
        if given.update:
            write(tier, before | now)
    return int(lost > 0)

# SPDX-License-Identifier: Apache-2.0
"""Loaded by pytest inside a checkout of ceph/s3-tests; changes nothing there.

Each test gets names of its own for what it makes, instead of a search for everything that earlier ones left: one bucket
that cannot be deleted would fail all that follow. Outcomes are written as they come.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
from contextlib import suppress
from typing import Any

import pytest

_TIMEOUT_S = 25


def pytest_configure(config: pytest.Config) -> None:
    """Give the suite's clients limits and a region, and its set-up other work."""
    import boto3
    import s3tests.functional as suite  # pyright: ignore[reportMissingImports] - it is the checkout
    from botocore.config import Config

    sdk: Any = boto3
    made = sdk.client

    def client(*arguments: Any, **options: Any) -> Any:
        # Why: the suite asks IAM and STS in a region without a name, which is Ceph's
        return made(*arguments, **{**options, "region_name": options.get("region_name") or "us-east-1"})

    Config.OPTION_DEFAULTS["read_timeout"] = _TIMEOUT_S  # type: ignore[attr-defined]
    sdk.client = client
    functional: Any = suite
    functional.setup = _begin
    functional.teardown = _end


def _begin() -> None:
    import s3tests.functional as suite  # pyright: ignore[reportMissingImports]

    functional: Any = suite
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    mark = hashlib.sha1(test.encode(), usedforsecurity=False).hexdigest()[:10]
    functional.prefix = f"ceph-{mark}-"
    functional.bucket_counter = itertools.count(1)
    functional.config.iam_name_prefix = f"ceph-{mark}-"
    functional.config.iam_path_prefix = f"/ceph-{mark}/"
    random.seed(test)


def _end() -> None:
    """Take from the user that all tests share what a test that failed has left with it."""
    import s3tests.functional as suite  # pyright: ignore[reportMissingImports]

    functional: Any = suite
    user = functional.get_alt_user_id()
    with suppress(Exception):
        iam = functional.get_iam_client()
        for name in iam.list_user_policies(UserName=user)["PolicyNames"]:
            iam.delete_user_policy(UserName=user, PolicyName=name)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line of JSON for each test."""
    if report.when == "teardown" or (report.when == "setup" and report.passed):
        return
    crash = getattr(report.longrepr, "reprcrash", None)
    message = " ".join(str(crash.message if crash else report.longrepr or "").split())[:200]
    with open(os.environ["CEPH_RESULTS"], "a", encoding="utf-8") as file:
        file.write(json.dumps({"test": report.nodeid, "outcome": report.outcome, "message": message}) + "\n")

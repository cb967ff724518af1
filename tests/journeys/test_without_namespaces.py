# SPDX-License-Identifier: Apache-2.0
"""Where sandboxes have no namespaces: instances are refused before anything is made, the rest works."""

from __future__ import annotations

import json

import pytest

from tests.conftest import new_chamber
from tests.journeys.conftest import EXAMPLE


@pytest.fixture
def plain():
    running = new_chamber()
    running.cli("start", "--sandbox", "plain", "--port", "0", "--https-port", "0")
    yield running
    running.cli("reset", "--yes")


def test_up_refuses_instances_and_says_what_helps(plain):
    refused = plain.cli("up", str(EXAMPLE), check=False)
    assert refused.returncode == 1
    assert "instances need Linux namespaces" in refused.stderr and "--sandbox plain" in refused.stderr
    assert "next: 'cloudchamber stop', then start it without --sandbox" in refused.stderr
    assert "creating stack" not in refused.stderr
    found = {f["name"]: f for f in json.loads(plain.cli("doctor", "--json").stdout)}
    assert "the disk is not" in found["limits"]["detail"] or "disk are not" in found["limits"]["detail"]
    assert not found["sandbox"]["ok"] and "EC2 instances need namespaces" in found["sandbox"]["detail"]
    values = json.loads(plain.cli("env", "--json").stdout)
    plain.about = {"endpoint": values["AWS_ENDPOINT_URL"]}
    key = f"{values['AWS_ACCESS_KEY_ID']}:{values['AWS_SECRET_ACCESS_KEY']}"
    assert plain.client("cloudformation", key).list_stacks()["StackSummaries"] == []
    assert plain.client("s3", key).list_buckets()["Buckets"] == []
    assert plain.client("ec2", key).describe_instances()["Reservations"] == []

# SPDX-License-Identifier: Apache-2.0
"""The RDS CA bundle inside an instance, as user data downloads it on AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudchamber.services.ec2 import truststore

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/global/global-bundle.pem", 200),
        ("GET", "/us-east-1/us-east-1-bundle.pem?x=1", 200),
        ("HEAD", "/us-gov-west-1/us-gov-west-1-bundle.pem", 200),
        ("GET", "/us-east-1/eu-west-1-bundle.pem", 404),
        ("GET", "/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/global/global-bundle.pem", 405),
    ],
)
def test_answers(method: str, target: str, status: int) -> None:
    assert truststore.answer(method, target, b"pem") == (status, b"pem" if status == 200 else b"")


def test_curl_inside_gets_the_bundle(lab: Lab) -> None:
    host = "https://truststore.pki.rds.amazonaws.com"
    script = f"""#!/bin/bash
curl -fsS --retry 5 -o /opt/bundle.pem {host}/global/global-bundle.pem && echo "fetched"
curl -fsS {host}/us-east-1/us-east-1-bundle.pem | cmp - /opt/bundle.pem && echo "the same"
curl -s -o /dev/null -w "status %{{http_code}}\\n" {host}/else
cat /opt/bundle.pem
"""
    instance = lab.run(script)
    lab.wait(instance)
    console = lab.until_console(instance, "user data ended")
    lines = console.splitlines()
    assert "fetched" in lines and "the same" in lines and "status 404" in lines, console
    assert (lab.chamber.state / "ca" / "ca.pem").read_text().strip() in console.replace("\r\n", "\n")
    lab.ec2.terminate_instances(InstanceIds=[instance])

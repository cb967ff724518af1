# SPDX-License-Identifier: Apache-2.0
"""What the EC2 tests share: clients, unique names, requests to an instance's own address."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


@dataclass
class Lab:
    """A chamber, and what tests do with instances in it."""

    chamber: Any
    ec2: Any
    image: str
    kind: str

    def group(self, *ports: int) -> str:
        made = self.ec2.create_security_group(GroupName=unique("web"), Description="test")["GroupId"]
        for port in ports:
            self.ec2.authorize_security_group_ingress(
                GroupId=made, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp="0.0.0.0/0"
            )
        return made

    def run(self, user_data: str = "", **given: Any) -> str:
        request = {
            "ImageId": self.image,
            "InstanceType": self.kind,
            "MinCount": 1,
            "MaxCount": 1,
            "UserData": user_data,
        }
        return self.ec2.run_instances(**request | given)["Instances"][0]["InstanceId"]

    def wait(self, instance_id: str, state: str = "running") -> dict[str, Any]:
        if state == "running":
            waiter = self.ec2.get_waiter("instance_running")
            waiter.config.delay, waiter.config.max_attempts = 0.05, 1200
            waiter.wait(InstanceIds=[instance_id])
        return self.until(lambda: v if (v := self.view(instance_id))["State"]["Name"] == state else None, state)

    def view(self, instance_id: str) -> dict[str, Any]:
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def console(self, instance_id: str) -> str:
        return self.ec2.get_console_output(InstanceId=instance_id)["Output"]

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """What `look` gives, once it gives something; an API call each time is the wait."""
        for _ in range(3000):
            found = look()
            if found:
                return found
        raise AssertionError(f"never: {what}")

    def until_console(self, instance_id: str, text: str) -> str:
        def look() -> str:
            return said if text in (said := self.console(instance_id)) else ""

        return self.until(look, f"{text!r} on the console:\n{self.console(instance_id)}")

    def profile(self, *statements: dict[str, Any]) -> tuple[str, str]:
        """An instance profile with a role; names of both."""
        iam = self.chamber.client("iam")
        name = unique("app")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return name, name

    def https_port(self) -> int:
        rows = json.loads(self.chamber.cli("status", "--json").stdout)
        row = next(r for r in _rows(rows) if r.get("kind") == "https")
        return int(row["id"].rstrip("/").rpartition(":")[2])

    def connect(self, instance_id: str) -> http.client.HTTPSConnection:
        """A connection to ``https://<instance-id>.ec2.localhost``, verified against the chamber's CA."""
        context = ssl.create_default_context(cafile=str(self.chamber.state / "ca" / "ca.pem"))
        host = f"{instance_id}.ec2.localhost"
        connection = http.client.HTTPSConnection(host, self.https_port(), context=context, timeout=60)
        raw = socket.create_connection(("127.0.0.1", connection.port), timeout=60)
        connection.sock = context.wrap_socket(raw, server_hostname=host)
        return connection


def _rows(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(row for one in value.values() for row in _rows(one))] if "kind" not in value else [value]
    return [row for one in value for row in _rows(one)] if isinstance(value, list) else []


def lab_of(chamber: Any) -> Lab:
    ec2 = chamber.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]
    return Lab(chamber, ec2, image["ImageId"], "t3.micro" if image["Architecture"] == "x86_64" else "t4g.micro")


@pytest.fixture
def lab(chamber: Any) -> Lab:
    return lab_of(chamber)

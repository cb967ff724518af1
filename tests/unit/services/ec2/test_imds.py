# SPDX-License-Identifier: Apache-2.0
"""The metadata service renews a role's credentials in time, and sees at once that the profile changed."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cloudchamber.services.ec2.imds import Imds
from cloudchamber.services.ec2.tables import Instance

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = timedelta(hours=1)


class World:
    """One instance, a clock, and an STS that counts; what `Imds` asks of its doors."""

    def __init__(self) -> None:
        self.at = BEGAN
        self.folder = Path("/nowhere")
        self.roles = ["arn:aws:iam::000000000000:role/first"]
        self.issued = 0
        self.row = Instance(
            "i-0123456789abcdef0", "000000000000", "us-east-1", "r-1", 0, "", "running", 0.0, 0.0, "ami-1", "t3.micro",
            "us-east-1a", "subnet-1", "172.31.0.4", "eni-1", (),
            profile_arn="arn:aws:iam::000000000000:instance-profile/p", http_tokens="optional",
        )  # fmt: skip
        self.clock = SimpleNamespace(now=lambda: self.at, monotonic=lambda: self.at.timestamp())
        self.database = SimpleNamespace(read=lambda _look: self.row)
        self.identities = SimpleNamespace(profile_roles=lambda _account, _profile: self.roles)
        self.imds = Imds(self)  # pyright: ignore[reportArgumentType] - as much of `Doors` as it uses

    async def ask(self, _service: str, _operation: str, request: dict[str, Any], **_more: Any) -> dict[str, Any]:
        self.issued += 1
        keys = {"SecretAccessKey": "s", "SessionToken": "t", "Expiration": self.at + LIFE}
        return {"Credentials": {"AccessKeyId": f"ASIA{request['RoleArn'].rpartition('/')[2]}{self.issued}", **keys}}

    def get(self, role: str) -> dict[str, Any] | int:
        path = f"/latest/meta-data/iam/security-credentials/{role}"
        answer = asyncio.run(self.imds._answer(self.row.id, "GET", path, {}))
        return json.loads(answer.body) if answer.status == 200 else answer.status

    def key(self, role: str = "first") -> str:
        body = self.get(role)
        assert isinstance(body, dict)
        assert datetime.fromisoformat(body["Expiration"]) > self.at
        return body["AccessKeyId"]


def test_fresh_credentials_come_before_the_old_ones_end() -> None:
    world = World()
    first = world.key()
    world.at = BEGAN + timedelta(minutes=39)
    assert world.key() == first
    # SDKs ask again 15 to 10 minutes before the end: there must be new ones by then.
    world.at = BEGAN + timedelta(minutes=44)
    second = world.key()
    assert second != first
    world.at += timedelta(minutes=1)
    assert world.key() == second
    for _ in range(50):
        world.at += timedelta(minutes=7)
        world.key()


def test_another_profile_is_seen_at_the_next_request() -> None:
    world = World()
    first = world.key()
    world.roles = ["arn:aws:iam::000000000000:role/team/second"]
    assert world.get("first") == 404
    assert world.key("second") != first
    world.roles = ["arn:aws:iam::000000000000:role/first"]
    assert world.key("first") != first, "credentials of before must not come back"


def test_without_a_role_there_are_no_credentials() -> None:
    world = World()
    world.key()
    world.roles = []
    assert world.get("first") == 404
    world.roles = ["arn:aws:iam::000000000000:role/first"]
    world.row = replace(world.row, profile_arn="")
    assert world.get("first") == 404

# SPDX-License-Identifier: Apache-2.0
"""A house with nothing but CloudFormation in it, and resource types whose behaviour a test decides."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.contract.service import Service
from cloudchamber.services.cloudformation import SERVICE, engine
from cloudchamber.services.cloudformation.engine import Engine
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.track.track import Segment

ROOT = Principal("root", "000000000000", "arn:aws:iam::000000000000:root", "000000000000")


class Ticking:
    """A clock that moves by a millisecond at each look."""

    def __init__(self) -> None:
        self._epoch = 1_790_000_000.0

    def now(self) -> datetime:
        self._epoch += 0.001
        return datetime.fromtimestamp(self._epoch, UTC)

    def monotonic(self) -> float:
        return self._epoch


class World:
    """What the test's resource types made; `broken` names what fails, `gates` what waits."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.broken: set[str] = set()
        self.gates: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.asked: list[tuple[str, str, Any, Principal]] = []
        self.secrets = {"db": '{"password": "s3cret"}'}

    async def step(self, verb: str, logical_id: str) -> None:
        self.log.append(f"{verb} {logical_id}")
        key = f"{verb} {logical_id}"
        if key in self.reached:
            self.reached[key].set()
        if key in self.gates:
            await self.gates[key].wait()
        if key in self.broken:
            raise ValidationError(f"{logical_id} is broken")

    def thing(self) -> ResourceType:
        async def create(agent: Any, properties: Any) -> Made:
            name = properties.get("Name") or agent.name(40, lower=True)
            await agent.ask("test", "Create", {"Name": name})
            if name in self.things:
                raise ValidationError(f"{name} already exists")
            self.things[name] = dict(properties)
            try:
                await self.step("create", agent.logical_id)
            except ValidationError:
                del self.things[name]
                raise
            return Made(name, {"Arn": f"arn:thing:{name}", "Endpoint.Address": f"{name}.local", "Size": "1"})

        async def update(agent: Any, physical_id: str, before: Any, after: Any) -> Made:
            await self.step("update", agent.logical_id)
            self.things[physical_id] = dict(after)
            return Made(physical_id, {"Arn": f"arn:thing:{physical_id}", "Endpoint.Address": f"{physical_id}.local"})

        async def delete(agent: Any, physical_id: str, properties: Any) -> None:
            await self.step("delete", agent.logical_id)
            self.things.pop(physical_id, None)

        shape = {
            "Name": Property("replace"),
            "Fixed": Property("replace"),
            "Value": Property(),
            "Needs": Property(),
            "Tags": Property(),
            "Deep": Property(shape={"Soft": Property(), "Hard": Property("replace")}),
        }
        return ResourceType("Test::Thing", shape, create, delete, update, ("Arn", "Endpoint.Address"))


class House:
    """Calls operations as the pipeline does, without authorization."""

    def __init__(self, doors: Doors, world: World, engine: Engine) -> None:
        self.doors, self.world, self.engine = doors, world, engine

    def call(self) -> Call:
        now = self.doors.clock.now()
        segment = Segment("1-5759e988-bd862e3fe1be46a994272793", "0123456789abcdef", "", "cloudformation", "x", 0.0)
        return Call(ROOT, self.doors.account, self.doors.region, "request", now, self.doors, segment)

    async def do(self, operation: str, **request: Any) -> Any:
        found = SERVICE.operations[operation]
        call = self.call()
        list(found.needs(call, request))
        return await found.run(call, request)

    async def settled(self, name: str) -> dict[str, Any]:
        await asyncio.gather(*self.engine._running.values())
        return (await self.do("DescribeStacks", StackName=name))["Stacks"][0]

    async def told(self, name: str) -> list[str]:
        events = (await self.do("DescribeStackEvents", StackName=name))["StackEvents"]
        return [f"{e['LogicalResourceId']} {e['ResourceStatus']}" for e in reversed(events)]


async def open_house(folder: Path, world: World) -> House:
    database = Database(folder / "chamber.db")
    assert SERVICE.migrations is not None
    await migrate(database, {"cloudformation": SERVICE.migrations})

    async def ask(service: str, operation: str, request: Any, *, principal: Principal, **more: Any) -> Any:
        world.asked.append((service, operation, request, principal))
        if operation == "GetParameters":
            return {"Parameters": [{"Name": n, "Value": f"ami-{len(n)}"} for n in request["Names"] if "none" not in n]}
        if operation == "GetSecretValue":
            return {"SecretString": world.secrets[request["SecretId"]]}
        if operation == "GetObject":
            return {"Body": world.secrets[request["Key"]].encode()}
        return {}

    parts: dict[str, Any] = {}
    services = {
        "cloudformation": SERVICE,
        "test": Service("test", {}, {"Test::Thing": world.thing()}),
    }
    nothing: Any = None
    doors = Doors(
        account="000000000000", region="us-east-1", endpoint="http://127.0.0.1:4566", folder=folder, clock=Ticking(),
        database=database, outbox=nothing, recorder=nothing, sandboxes=nothing, authority=nothing, identities=nothing,
        services=services, ask=ask, parts=parts,
    )  # fmt: skip
    live = Engine(doors)
    parts["cloudformation"] = live
    return House(doors, world, live)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def house(tmp_path: Path, world: World) -> Any:
    house = await open_house(tmp_path, world)
    yield house
    await house.engine.stop()
    await house.doors.database.close()


@pytest.fixture
async def next_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The next chamber on the state of one that ended."""
    monkeypatch.setattr(engine, "SETTLE_S", 0)
    opened: list[House] = []

    async def open_next(last: House) -> House:
        later = await open_house(tmp_path, last.world)
        opened.append(later)
        await later.engine.start()
        assert later.engine._recovery is not None
        await later.engine._recovery
        return later

    yield open_next
    for house in opened:
        await house.engine.stop()
        await house.doors.database.close()


__all__ = ["House", "World", "open_house", "replace"]

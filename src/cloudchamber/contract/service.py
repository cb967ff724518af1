# SPDX-License-Identifier: Apache-2.0
"""What a service is, and how the chamber finds it."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cloudchamber.contract.operation import Facts, Operation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import ModuleType

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.operation import AnyOperation
    from cloudchamber.contract.resource import ResourceType
    from cloudchamber.track.track import Segment
    from cloudchamber.wire.http import HttpReply, HttpRequest
    from cloudchamber.wire.route import Routed


class Part(Protocol):
    """The live side of a service: pools, listeners, supervisors, outbox subscribers."""

    async def start(self) -> None:
        """Begin; everything else of the chamber exists, though not every part has started."""
        ...

    async def stop(self) -> None:
        """End in good order; what outlives the chamber (instances, databases) is left running."""
        ...

    def status(self) -> list[Mapping[str, Any]]:
        """One row for each thing that runs: ``{"kind", "id", "state", "detail"}``, for `status` and the console."""
        ...


@runtime_checkable
class Outliving(Protocol):
    """A part whose things live on when the chamber dies: instances, databases."""

    async def halt(self) -> None:
        """End them in good order, before `stop`; they begin again at the next start."""
        ...


@runtime_checkable
class Scrubbing(Protocol):
    """A part that keeps octets, and can look whether they are still what they were."""

    def scrub(self, bucket: str, octets_per_s: float) -> AsyncIterator[Mapping[str, Any]]:
        """Look at all of them, or at those of a bucket; yields how far it is and what is wrong, as JSON objects."""
        ...

    async def put_aside(self, *, discard: bool) -> list[dict[str, Any]]:
        """What was found to be wrong so far; `discard` forgets what was mended since."""
        ...


def no_facts(doors: Doors, arn: str) -> Facts | None:
    """A service without resource policies or tags."""
    return None


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """What a service tells browsers, by the configuration of what is asked for."""

    preflight: Callable[[Doors, HttpRequest, str, str], list[tuple[str, str]]]
    """Headers for ``OPTIONS`` about a bucket and a key; raises ServiceError where no rule lets it."""
    headers: Callable[[Doors, HttpRequest, str], list[tuple[str, str]]]
    """Headers of any other answer about a bucket."""


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that the rest of the chamber knows of one service."""

    name: str
    """botocore's name of the model, which is also the endpoint prefix that clients use: ``s3``, ``lambda``."""
    operations: Mapping[str, AnyOperation]
    resources: Mapping[str, ResourceType] = field(default_factory=dict[str, "ResourceType"])
    part: Callable[[Doors], Part] | None = None
    facts: Callable[[Doors, str], Facts | None] = no_facts
    """What the service knows of one of its resources, by ARN; None if it does not exist or says nothing."""
    migrations: Path | None = None
    identities: Callable[..., Any] | None = None
    """Only iam: makes the `Identities` of the chamber."""
    signing_names: tuple[str, ...] = ()
    """Names in credential scopes that mean this service, besides `name`."""
    cross_origin: CrossOrigin | None = None
    """Only s3: what browsers are told for pages of other origins."""
    served: Callable[[Doors, HttpRequest, Routed, HttpReply, Segment], None] | None = None
    """Only s3: is told of every answer about a bucket, for access logs. Must be quick."""
    busy: frozenset[str] = frozenset()
    """Tables that are written to all the time, and on which no decision rests: see `Database.settled`."""
    remembered: frozenset[str] = frozenset()
    """Those of them whose rows the service remembers: see `Database.stamp`."""
    policies: tuple[tuple[str, str], ...] = ()
    """Tables and columns with texts of resource policies, in which iam follows principals that go or are renamed."""
    shared: Mapping[str, Callable[[], bytes]] | None = None
    """Several chambers may offer it over the same database and blobs, if they have the same of these: files in the
    state folder, and what makes one. None: it runs on one machine only."""


def service(
    name: str,
    *modules: ModuleType,
    resources: tuple[ResourceType, ...] = (),
    part: Callable[[Doors], Part] | None = None,
    facts: Callable[[Doors, str], Facts | None] = no_facts,
    identities: Callable[..., Any] | None = None,
    signing_names: tuple[str, ...] = (),
    cross_origin: CrossOrigin | None = None,
    served: Callable[[Doors, HttpRequest, Routed, HttpReply, Segment], None] | None = None,
    busy: frozenset[str] = frozenset(),
    remembered: frozenset[str] = frozenset(),
    policies: tuple[tuple[str, str], ...] = (),
    shared: Mapping[str, Callable[[], bytes]] | None = None,
) -> Service:
    """Collect the operations that `modules` define; migrations lie in ``migrations/`` beside the first module."""
    found: dict[str, AnyOperation] = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Operation):
                if value.name in found and found[value.name] is not value:
                    raise ValueError(f"{name}:{value.name} is defined twice")
                found[value.name] = value
    where = Path(modules[0].__file__ or "").parent / "migrations" if modules else None
    return Service(
        name,
        MappingProxyType(found),
        MappingProxyType({r.name: r for r in resources}),
        part,
        facts,
        where,
        identities,
        signing_names,
        cross_origin,
        served,
        busy,
        remembered,
        policies,
        shared,
    )


def discover(package: ModuleType) -> dict[str, Service]:
    """Find every service folder of `package`, by its `SERVICE`."""
    services: dict[str, Service] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
        if info.ispkg:
            found: Service = importlib.import_module(f"{package.__name__}.{info.name}").SERVICE
            services[found.name] = found
    return services

# SPDX-License-Identifier: Apache-2.0
"""From a request to what a stack shall be: template, parameters, transform, checks. Nothing is created here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.body import FileSlice
from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.services.cloudformation import graph, parameters, shapes, tables, template
from cloudchamber.services.cloudformation.custom import custom_type, is_custom
from cloudchamber.services.cloudformation.errors import InsufficientCapabilitiesException
from cloudchamber.services.cloudformation.execute import Aim
from cloudchamber.services.cloudformation.intrinsics import Scope, check_rules, condition
from cloudchamber.services.cloudformation.names import s3_location
from cloudchamber.services.cloudformation.parameters import Value
from cloudchamber.services.cloudformation.plan import Goal
from cloudchamber.services.cloudformation.transform import check_transforms, serverless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.contract.resource import ResourceType
    from cloudchamber.services.cloudformation.agent import Caller
    from cloudchamber.services.cloudformation.tables import Stack
    from cloudchamber.services.cloudformation.template import Template


@dataclass(frozen=True, slots=True)
class Prepared:
    """A template that was read, with its parameters; `processed` is its body after transforms."""

    text: str
    original: Template
    processed: Mapping[str, Any]
    values: Mapping[str, Value]
    aim: Aim


class Types(Mapping[str, "ResourceType"]):
    """Every resource type that some service provides, and those of custom resources under whatever name."""

    def __init__(self, built: Mapping[str, ResourceType]) -> None:
        self._built = built

    def __getitem__(self, name: str) -> ResourceType:
        if name not in self._built and is_custom(name):
            return custom_type(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._built)

    def __len__(self) -> int:
        return len(self._built)


def resource_types(doors: Doors) -> Types:
    """Every resource type that there is."""
    return Types({name: kind for service in doors.services.values() for name, kind in service.resources.items()})


async def template_text(call: Call, request: Mapping[str, Any]) -> str:
    """The template of a request, from its body or from our own S3.

    Raises:
        ValidationError: neither or both are given, it is too long, or it cannot be read.
    """
    body, url = request.get("TemplateBody"), request.get("TemplateURL")
    if (body is None) == (url is None):
        raise ValidationError("Either Template URL or Template Body must be specified.")
    if body is not None:
        if len(body.encode()) > template.INLINE_MAX_BYTES:
            raise ValidationError(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                f"length less than or equal to {template.INLINE_MAX_BYTES}"
            )
        return body
    bucket, key, version = s3_location(str(url), call.doors.endpoint)
    wanted = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
    try:
        answer = await call.ask("s3", "GetObject", wanted)
    except ServiceError as error:
        raise ValidationError(f"S3 error: {error.message or error.code}") from error
    if answer.get("ContentLength", 0) > template.URL_MAX_BYTES:
        raise ValidationError(f"Template may not exceed {template.URL_MAX_BYTES} bytes in size.")
    data = await _bytes(answer.get("Body", b""))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationError("Template format error: the template is not UTF-8") from None


async def _bytes(body: Any) -> bytes:
    """All of an answer's body, whatever form it has."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, FileSlice):
        return await asyncio.to_thread(_slice, body)
    parts: list[bytes] = []
    async for chunk in body:
        parts.append(chunk)
        if sum(map(len, parts)) > template.URL_MAX_BYTES:
            raise ValidationError(f"Template may not exceed {template.URL_MAX_BYTES} bytes in size.")
    return b"".join(parts)


def _slice(part: FileSlice) -> bytes:
    with part.path.open("rb") as file:
        file.seek(part.offset)
        return file.read(min(part.length, template.URL_MAX_BYTES + 1))


async def read_template(text: str) -> Template:
    """Read a template; a long one on a thread of its own.

    Raises:
        ValidationError: what is wrong with it.
    """
    if len(text) < 20_000:
        return template.parse(text)
    return await asyncio.to_thread(template.parse, text)


def check_template(original: Template) -> None:
    """Checks that need no parameters and nothing but the template."""
    check_transforms(original.transforms)
    parameters.check_declarations(original.parameters)
    if not original.transforms:
        graph.check_names(original)


async def prepare(
    doors: Doors,
    caller: Caller,
    stack: Stack,
    text: str,
    given: Sequence[Mapping[str, Any]],
    *,
    acknowledged: Sequence[str],
    expand: bool,
) -> Prepared:
    """Everything that is checked before a stack is touched.

    Args:
        stack: the stack with the settings that it shall have; its present parameters are the previous values.
        expand: whether a transform needs no ``CAPABILITY_AUTO_EXPAND`` (change sets).

    Raises:
        ValidationError: what is wrong, by name.
        InsufficientCapabilitiesException: capabilities that the request must acknowledge.
    """
    original = await read_template(text)
    check_template(original)
    if original.transforms and not expand and "CAPABILITY_AUTO_EXPAND" not in acknowledged:
        raise InsufficientCapabilitiesException("Requires capabilities : [CAPABILITY_AUTO_EXPAND]")
    chosen = parameters.choose(original.parameters, given, stack.parameters)
    await parameters.check_patterns(original.parameters, chosen)
    values = await _meanings(original, chosen, caller)
    processed, final = original.body, original
    if original.transforms:
        plain = {name: parameters.meaning(original.parameters[name], value) for name, value in values.items()}
        processed = await serverless(original.body, plain, stack.region)
        final = template.shape(processed)
        graph.check_names(final)
    zones = await _zones(final, caller)
    aim = make_aim(doors, stack, final, values, zones)
    check_rules(final.rules, aim.goal.scope)
    types = resource_types(doors)
    shapes.check_types(aim.goal.resources, types)
    needed, _ = shapes.capabilities(final.resources)
    enough = {"CAPABILITY_NAMED_IAM"} | ({"CAPABILITY_IAM"} & set(needed))
    if needed and not enough & set(acknowledged):
        raise InsufficientCapabilitiesException(f"Requires capabilities : [{needed[0]}]")
    live = {n: o for n, o in final.outputs.items() if not o.condition or condition(o.condition, aim.goal.scope)}
    shapes.check_attributes(aim.goal.resources, live, types)
    return Prepared(text, original, processed, values, aim)


async def _meanings(original: Template, chosen: Mapping[str, str], caller: Caller) -> dict[str, Value]:
    wanted = {name: text for name, text in chosen.items() if parameters.is_ssm(original.parameters[name])}
    found: dict[str, str] = {}
    names = sorted(set(wanted.values()))
    for start in range(0, len(names), 10):
        answer = await caller.ask("ssm", "GetParameters", {"Names": names[start : start + 10]})
        found.update({item["Name"]: item["Value"] for item in answer.get("Parameters", [])})
    missing = [name for name in names if name not in found]
    if missing:
        raise ValidationError(
            f"Unable to fetch parameters [{','.join(missing)}] from parameter store for this account."
        )
    return {name: Value(text, found.get(text, "") if name in wanted else "") for name, text in chosen.items()}


async def _zones(final: Template, caller: Caller) -> tuple[str, ...]:
    if "Fn::GetAZs" not in json.dumps(final.body):
        return ()
    answer = await caller.ask("ec2", "DescribeAvailabilityZones", {})
    return tuple(sorted(zone["ZoneName"] for zone in answer.get("AvailabilityZones", [])))


def make_aim(
    doors: Doors, stack: Stack, final: Template, values: Mapping[str, Value], zones: tuple[str, ...] = ()
) -> Aim:
    """A processed template with the scopes that resolve it.

    Raises:
        ValidationError: a condition or a dependency is wrong.
    """
    imports: set[str] = set()

    def export(name: str) -> str:
        found = doors.database.read(lambda db: tables.export(db, stack.account, stack.region, name))
        if found is None:
            raise ValidationError(f"No export named {name} found.")
        imports.add(name)
        return found[1]

    declared = final.parameters
    scope = Scope(
        {name: parameters.meaning(declared[name], value) for name, value in values.items() if name in declared},
        {
            "AWS::AccountId": stack.account,
            "AWS::NotificationARNs": list(stack.settings.notification_arns),
            "AWS::Partition": "aws",
            "AWS::Region": stack.region,
            "AWS::StackId": stack.stack_id,
            "AWS::StackName": stack.name,
            "AWS::URLSuffix": "amazonaws.com",
        },
        final.mappings,
        final.conditions,
        frozenset(final.resources),
        zones,
        export=export,
    )
    resources = graph.active(final, scope)
    masked = {name: parameters.masked(declared[name], value) for name, value in values.items() if name in declared}
    edges = graph.edges(resources, scope, final)
    # Why conditions stay those of the true values: a masked parameter must not flip what a condition decides.
    decided = {name: condition(name, scope) for name in final.conditions}
    shown = replace(scope, parameters=masked, conditions=decided)
    return Aim(final, Goal(resources, edges, scope, shown), imports)

# SPDX-License-Identifier: Apache-2.0
"""AWS::Lambda::Function, AWS::Lambda::Permission, AWS::Lambda::EventInvokeConfig.

Source: CloudFormation Template Reference, AWS Lambda resource types.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.lambda_.answering import beside
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, ServiceException
from cloudchamber.services.lambda_.published_resources import unless_gone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

_POLL_S = 0.02
_NUMBERS = ("Timeout", "MemorySize")
_CONFIGURED = (
    "Role", "Runtime", "Handler", "Description", "Timeout", "MemorySize", "Environment", "EphemeralStorage",
    "LoggingConfig", "TracingConfig", "Layers", "DeadLetterConfig",
)  # fmt: skip
_UPDATE_DEFAULTS: Mapping[str, Any] = {
    "Description": "",
    "Timeout": 3,
    "MemorySize": 128,
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "LoggingConfig": {},
    "Layers": [],
    "DeadLetterConfig": {},
    "TracingConfig": {"Mode": "PassThrough"},
}
_INLINE_MAX = 4 * 1024 * 1024


def inline_package(text: str, runtime: str = "python") -> bytes:
    """A package from code in the template: ``index.py`` or ``index.js``, by its runtime, and what it asks for beside.

    The same text gives the same octets.
    """
    if len(text.encode()) > _INLINE_MAX:
        raise InvalidParameterValueException(f"Code.ZipFile must be at most {_INLINE_MAX} bytes")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        index = "index.js" if runtime.startswith("nodejs") else "index.py"
        for name, content in {index: text, **beside(text)}.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            package.writestr(entry, content)
    return held.getvalue()


def _code(properties: Properties) -> dict[str, Any]:
    code = properties["Code"]
    if "ZipFile" in code:
        return {"ZipFile": inline_package(str(code["ZipFile"]), str(properties.get("Runtime", "")))}
    return {name: code[name] for name in ("S3Bucket", "S3Key", "S3ObjectVersion") if name in code}


def _configured(properties: Properties) -> dict[str, Any]:
    """Members of the API from properties; templates may write numbers as text."""
    made = {name: properties[name] for name in _CONFIGURED if name in properties}
    for name in _NUMBERS:
        if name in made:
            made[name] = _number(name, made[name])
    if "EphemeralStorage" in made:
        made["EphemeralStorage"] = {"Size": _number("EphemeralStorage.Size", made["EphemeralStorage"]["Size"])}
    if variables := made.get("Environment", {}).get("Variables"):
        made["Environment"] = {"Variables": {name: _text(value) for name, value in variables.items()}}
    return made


def _number(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise InvalidParameterValueException(f"{name}: {value!r} is not a number") from error


def _text(value: Any) -> str:
    """CloudFormation's text of a scalar."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tags(agent: Agent, properties: Properties) -> dict[str, str]:
    own = {str(tag["Key"]): _text(tag["Value"]) for tag in properties.get("Tags", ())}
    return {**agent.stack_tags, **own}


async def _usable(agent: Agent, name: str) -> Made:
    """Wait until the function is Active and its last update is over."""
    while True:
        shown = await agent.ask("lambda", "GetFunctionConfiguration", {"FunctionName": name})
        if shown["State"] == "Failed" or shown.get("LastUpdateStatus") == "Failed":
            reason = shown.get("StateReason") or shown.get("LastUpdateStatusReason") or "no reason given"
            raise ServiceException(f"Function {name} did not become usable: {reason}")
        if shown["State"] == "Active" and shown.get("LastUpdateStatus") != "InProgress":
            return Made(name, {"Arn": shown["FunctionArn"]})
        await asyncio.sleep(_POLL_S)


async def _create(agent: Agent, properties: Properties) -> Made:
    name = str(properties.get("FunctionName") or agent.name(64))
    request = {
        "FunctionName": name,
        "Code": _code(properties),
        **_configured(properties),
        "Tags": _tags(agent, properties),
    }
    if "Architectures" in properties:
        request["Architectures"] = list(properties["Architectures"])
    await agent.ask("lambda", "CreateFunction", request)
    try:
        made = await _usable(agent, name)
        await _controls(agent, name, {}, properties)
    except BaseException:
        await _delete(agent, name, properties)
        raise
    return made


async def _controls(agent: Agent, name: str, old: Properties, new: Properties) -> None:
    """Reserved concurrency and recursion control, where they changed."""
    target = {"FunctionName": name}
    wanted = new.get("ReservedConcurrentExecutions")
    if wanted != old.get("ReservedConcurrentExecutions"):
        if wanted is None:
            await agent.ask("lambda", "DeleteFunctionConcurrency", target)
        else:
            number = _number("ReservedConcurrentExecutions", wanted)
            await agent.ask("lambda", "PutFunctionConcurrency", {**target, "ReservedConcurrentExecutions": number})
    loop = new.get("RecursiveLoop", "Terminate")
    if loop != old.get("RecursiveLoop", "Terminate"):
        await agent.ask("lambda", "PutFunctionRecursionConfig", {**target, "RecursiveLoop": loop})


async def _update(agent: Agent, name: str, old: Properties, new: Properties) -> Made:
    if new["Code"] != old["Code"]:
        await agent.ask("lambda", "UpdateFunctionCode", {"FunctionName": name, **_code(new)})
        await _usable(agent, name)
    before, after = _configured(old), _configured(new)
    changed = {n: v for n, v in after.items() if before.get(n) != v}
    changed |= {n: v for n, v in _UPDATE_DEFAULTS.items() if n in before and n not in after}
    if changed:
        await agent.ask("lambda", "UpdateFunctionConfiguration", {"FunctionName": name, **changed})
    made = await _usable(agent, name)
    await _controls(agent, name, old, new)
    await _retag(agent, str(made.attributes["Arn"]), old, new)
    return made


async def _retag(agent: Agent, arn: str, old: Properties, new: Properties) -> None:
    before = {str(tag["Key"]): _text(tag["Value"]) for tag in old.get("Tags", ())}
    after = {str(tag["Key"]): _text(tag["Value"]) for tag in new.get("Tags", ())}
    if gone := sorted(before.keys() - after.keys()):
        await agent.ask("lambda", "UntagResource", {"Resource": arn, "TagKeys": gone})
    if changed := {key: value for key, value in after.items() if before.get(key) != value}:
        await agent.ask("lambda", "TagResource", {"Resource": arn, "Tags": changed})


async def _delete(agent: Agent, name: str, properties: Properties) -> None:
    await unless_gone(agent, "DeleteFunction", {"FunctionName": name})


_REPLACE = Property("replace")
FUNCTION = ResourceType(
    "AWS::Lambda::Function",
    {
        "FunctionName": _REPLACE,
        "PackageType": _REPLACE,
        "Code": Property(
            required=True,
            shape={n: Property() for n in ("ZipFile", "S3Bucket", "S3Key", "S3ObjectVersion")},
        ),
        "Role": Property(required=True),
        "Runtime": Property(),
        "Handler": Property(),
        "Description": Property(),
        "Timeout": Property(),
        "MemorySize": Property(),
        "Environment": Property(shape={"Variables": Property()}),
        "EphemeralStorage": Property(shape={"Size": Property(required=True)}),
        "Architectures": _REPLACE,
        "LoggingConfig": Property(
            shape={n: Property() for n in ("LogGroup", "LogFormat", "ApplicationLogLevel", "SystemLogLevel")}
        ),
        "Layers": Property(),
        "DeadLetterConfig": Property(shape={"TargetArn": Property()}),
        "TracingConfig": Property(shape={"Mode": Property()}),
        "ReservedConcurrentExecutions": Property(),
        "RecursiveLoop": Property(),
        "Tags": Property(),
    },
    create=_create,
    update=_update,
    delete=_delete,
    attributes=("Arn",),
)

_PERMISSION = (
    "Action", "Principal", "SourceArn", "SourceAccount", "EventSourceToken", "PrincipalOrgID", "FunctionUrlAuthType",
)  # fmt: skip


async def _create_permission(agent: Agent, properties: Properties) -> Made:
    sid = agent.name(100)
    request: dict[str, Any] = {name: str(properties[name]) for name in _PERMISSION if name in properties}
    if "InvokedViaFunctionUrl" in properties:
        request["InvokedViaFunctionUrl"] = _text(properties["InvokedViaFunctionUrl"]) == "true"
    await agent.ask(
        "lambda", "AddPermission", {"FunctionName": properties["FunctionName"], "StatementId": sid, **request}
    )
    return Made(sid, {"Id": sid})


async def _delete_permission(agent: Agent, sid: str, properties: Properties) -> None:
    request = {"FunctionName": properties["FunctionName"], "StatementId": sid}
    await unless_gone(agent, "RemovePermission", request)


PERMISSION = ResourceType(
    "AWS::Lambda::Permission",
    {
        "FunctionName": Property("replace", required=True),
        "Action": Property("replace", required=True),
        "Principal": Property("replace", required=True),
        **dict.fromkeys((*_PERMISSION[2:], "InvokedViaFunctionUrl"), _REPLACE),
    },
    create=_create_permission,
    delete=_delete_permission,
    attributes=("Id",),
)

_EVENT_INVOKE = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


def _event_invoke(properties: Properties) -> dict[str, Any]:
    request: dict[str, Any] = {name: properties[name] for name in _EVENT_INVOKE if name in properties}
    for name in _EVENT_INVOKE[:2]:
        if name in request:
            request[name] = _number(name, request[name])
    return {"FunctionName": properties["FunctionName"], "Qualifier": properties["Qualifier"], **request}


async def _create_event_invoke(agent: Agent, properties: Properties) -> Made:
    await agent.ask("lambda", "PutFunctionEventInvokeConfig", _event_invoke(properties))
    return Made(f"{properties['FunctionName']}|{properties['Qualifier']}")


async def _update_event_invoke(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    await agent.ask("lambda", "PutFunctionEventInvokeConfig", _event_invoke(new))
    return Made(physical_id)


async def _delete_event_invoke(agent: Agent, physical_id: str, properties: Properties) -> None:
    request = {"FunctionName": properties["FunctionName"], "Qualifier": properties["Qualifier"]}
    await unless_gone(agent, "DeleteFunctionEventInvokeConfig", request)


_DESTINATION = Property(shape={"Destination": Property(required=True)})
EVENT_INVOKE_CONFIG = ResourceType(
    "AWS::Lambda::EventInvokeConfig",
    {
        "FunctionName": Property("replace", required=True),
        "Qualifier": Property("replace", required=True),
        "MaximumRetryAttempts": Property(),
        "MaximumEventAgeInSeconds": Property(),
        "DestinationConfig": Property(shape={"OnSuccess": _DESTINATION, "OnFailure": _DESTINATION}),
    },
    create=_create_event_invoke,
    update=_update_event_invoke,
    delete=_delete_event_invoke,
)

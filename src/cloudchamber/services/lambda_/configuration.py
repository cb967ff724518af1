# SPDX-License-Identifier: Apache-2.0
"""What a function's configuration may be, and how the API shows it. Pure, but for which interpreters were found.

Source: Lambda API Reference, CreateFunction, FunctionConfiguration; Lambda Developer Guide, quotas and
reserved environment variables.
"""

from __future__ import annotations

import json
import platform
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.services.lambda_ import runtimes
from cloudchamber.services.lambda_.errors import InvalidParameterValueException
from cloudchamber.services.lambda_.platform_log import LEVELS, SYSTEM_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.services.lambda_.tables import Function

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
_ROLE = re.compile(r"arn:aws[a-zA-Z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
_HANDLER = re.compile(r"[^\s]{1,128}")
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        *(f"AWS_{name}" for name in ("DEFAULT_REGION", "REGION", "EXECUTION_ENV", "ACCESS_KEY", "ACCESS_KEY_ID")),
        *(f"AWS_{name}" for name in ("SECRET_ACCESS_KEY", "SESSION_TOKEN", "LAMBDA_RUNTIME_API")),
        *(f"AWS_LAMBDA_{name}" for name in ("FUNCTION_NAME", "FUNCTION_MEMORY_SIZE", "FUNCTION_VERSION")),
        *(f"AWS_LAMBDA_{name}" for name in ("INITIALIZATION_TYPE", "LOG_GROUP_NAME", "LOG_STREAM_NAME")),
        *(f"AWS_LAMBDA_{name}" for name in ("MAX_CONCURRENCY", "METADATA_API", "METADATA_TOKEN")),
    }
)
DESCRIBED = "Described"
"""In a version: the description that ``$LATEST`` had, where the version was published with another one."""
_ENVIRONMENT_MAX = 4096
_SAID_MAX = 8192
_NOT_BUILT: Mapping[str, tuple[Any, ...]] = {
    # member -> values that mean "not used", which are accepted
    "VpcConfig": ({}, {"SubnetIds": [], "SecurityGroupIds": []}),
    "KMSKeyArn": ("",),
    "TracingConfig": ({}, {"Mode": "PassThrough"}),
    "FileSystemConfigs": ([],),
    "CodeSigningConfigArn": ("",),
    "ImageConfig": ({},),
    "SnapStart": ({}, {"ApplyOn": "None"}),
    "TenancyConfig": (),
    "CapacityProviderConfig": (),
    "DurableConfig": (),
    "RuntimeConfig": (),
    "AcceleratorConfig": (),
    "PublishTo": (),
    "PackageType": ("Zip",),
    "S3ObjectStorageMode": (),
    "SourceKMSKeyArn": ("",),
    "ImageUri": (),
}


def refuse_unbuilt(request: Mapping[str, Any]) -> None:
    """Refuse members that ask for what is not built here, by name, unless their value means "none"."""
    for name, harmless in _NOT_BUILT.items():
        if name in request and not any(request[name] == value for value in harmless):
            raise InvalidParameterValueException(f"{name} is not supported by this chamber yet")


def _bounded(request: Mapping[str, Any], name: str, low: int, high: int, wire: str) -> None:
    value = request.get(name)
    if value is not None and not low <= int(value) <= high:
        word, bound = ("greater", low) if int(value) < low else ("less", high)
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{value}' at '{wire}' failed to satisfy constraint: Member must have "
            f"value {word} than or equal to {bound}"
        )


def check(request: Mapping[str, Any]) -> None:
    """Check the members of CreateFunction and UpdateFunctionConfiguration that are present; not `Runtime`."""
    refuse_unbuilt(request)
    if "Handler" in request and not _HANDLER.fullmatch(request["Handler"]):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{request['Handler']}' at 'handler' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [^\s]+"
        )
    if "Role" in request and not _ROLE.fullmatch(request["Role"]):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{request['Role']}' at 'role' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
        )
    _bounded(request, "Timeout", 1, 900, "timeout")
    _bounded(request, "MemorySize", 128, 10240, "memorySize")
    _bounded(request.get("EphemeralStorage", {}), "Size", 512, 10240, "ephemeralStorage.size")
    if len(request.get("Description", "")) > 256:
        raise InvalidParameterValueException("Description must have length less than or equal to 256")
    _check_architectures(request.get("Architectures"))
    _check_environment(request.get("Environment", {}).get("Variables") or {})
    _check_logging(request.get("LoggingConfig", {}))
    dead = request.get("DeadLetterConfig", {}).get("TargetArn", "")
    if dead:
        service = dead.split(":")[2] if dead.count(":") >= 5 else ""
        raise InvalidParameterValueException(
            f"DeadLetterConfig {dead[:200]!r}: "
            + (
                f"there is no {service.upper()} here yet; DestinationConfig OnFailure to a bucket or a function does "
                "the same"
                if service in ("sqs", "sns")
                else "The provided dead letter target is not the ARN of an SQS queue or an SNS topic"
            )
        )


def _check_logging(logging: Mapping[str, Any]) -> None:
    """Source: Lambda API Reference, LoggingConfig."""
    form = logging.get("LogFormat", "")
    allowed = {"LogFormat": ("JSON", "Text"), "ApplicationLogLevel": LEVELS, "SystemLogLevel": SYSTEM_LEVELS}
    for member, values in allowed.items():
        if member in logging and logging[member] not in values:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{logging[member]}' at 'loggingConfig.{member[0].lower()}"
                f"{member[1:]}' failed to satisfy constraint: Member must satisfy enum value set: "
                f"[{', '.join(sorted(values))}]"
            )
    if form == "Text" and {"ApplicationLogLevel", "SystemLogLevel"} & set(logging):
        raise InvalidParameterValueException("Log levels cannot be set when LogFormat is set to Text.")


def _check_architectures(wanted: list[str] | None) -> None:
    if wanted is None or wanted == [ARCHITECTURE]:
        return
    if wanted not in (["x86_64"], ["arm64"]):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{wanted}' at 'architectures' failed to satisfy constraint: Member "
            "must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]"
        )
    raise InvalidParameterValueException(
        f"Architectures {wanted[0]}: this chamber's machine is {ARCHITECTURE}, and functions run on it directly"
    )


def _check_environment(variables: Mapping[str, str]) -> None:
    reserved = sorted(_RESERVED & variables.keys())
    if reserved:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys "
                f"must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+] "
                f"({name!r})"
            )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > _ENVIRONMENT_MAX:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {measured[:_SAID_MAX]}"
        )


def modified(now: datetime) -> str:
    """LastModified as Lambda writes it: ``2026-11-23T11:22:33.456+0000``."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}+0000"


def created(request: Mapping[str, Any], name: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """The configuration of a new function, defaults filled in; the request has been checked."""
    made: dict[str, Any] = {
        "Runtime": request["Runtime"],
        "Role": request["Role"],
        "Handler": request["Handler"],
        "Description": request.get("Description", ""),
        "Timeout": int(request.get("Timeout", 3)),
        "MemorySize": int(request.get("MemorySize", 128)),
        "Architectures": [ARCHITECTURE],
        "EphemeralStorage": {"Size": int(request.get("EphemeralStorage", {}).get("Size", 512))},
        "LoggingConfig": _logging(request, name),
    }
    if "Environment" in request:
        made["Environment"] = {"Variables": dict(request["Environment"].get("Variables") or {})}
    if layers:
        made["Layers"] = layers
    return made


def updated(
    current: Mapping[str, Any], request: Mapping[str, Any], name: str, layers: list[dict[str, Any]]
) -> dict[str, Any]:
    """The configuration after an update; what the request does not name stays."""
    made = dict(current)
    for member in ("Runtime", "Role", "Handler", "Description", "Timeout", "MemorySize"):
        if member in request:
            made[member] = request[member]
    if "EphemeralStorage" in request:
        made["EphemeralStorage"] = {"Size": int(request["EphemeralStorage"]["Size"])}
    if "Layers" in request:
        made.pop("Layers", None)
        if layers:
            made["Layers"] = layers
    if "LoggingConfig" in request:
        made["LoggingConfig"] = _logging(request, name, current["LoggingConfig"])
    if "Environment" in request:
        made["Environment"] = {"Variables": dict(request["Environment"].get("Variables") or {})}
    return made


def _logging(request: Mapping[str, Any], name: str, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """LoggingConfig with its defaults; levels are there only where the format is JSON."""
    asked = {**(before or {}), **request.get("LoggingConfig", {})}
    made = {"LogFormat": asked.get("LogFormat", "Text"), "LogGroup": asked.get("LogGroup") or f"/aws/lambda/{name}"}
    if made["LogFormat"] == "JSON":
        made |= {level: asked.get(level, "INFO") for level in ("ApplicationLogLevel", "SystemLogLevel")}
    return made


def _layers(function: Function) -> dict[str, Any]:
    """`Layers` without what only we need to know."""
    layers = function.configuration.get("Layers")
    return {"Layers": [{"Arn": each["Arn"], "CodeSize": each["CodeSize"]} for each in layers]} if layers else {}


_NOT_LISTED = (
    "State", "StateReason", "StateReasonCode", "LastUpdateStatus", "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode", "RuntimeVersionConfig",
)  # fmt: skip


def listed(function: Function) -> dict[str, Any]:
    """A FunctionConfiguration in a list, which has no state. Source: Lambda API Reference, ListFunctions."""
    return {name: value for name, value in shown(function).items() if name not in _NOT_LISTED}


def shown(function: Function) -> dict[str, Any]:
    """A FunctionConfiguration, as GetFunctionConfiguration gives it."""
    answer: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": function.asked_arn,
        **{name: value for name, value in function.configuration.items() if name not in ("Layers", DESCRIBED)},
        **_layers(function),
        "Version": function.version,
        "TracingConfig": {"Mode": "PassThrough"},
        "State": function.state,
        "PackageType": "Zip",
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
    }
    if (found := runtimes.known(function.configuration["Runtime"])) is not None:
        answer["RuntimeVersionConfig"] = {"RuntimeVersionArn": found.arn(function.region)}
    if function.state == "Pending":
        answer |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    elif function.state == "Failed":
        answer |= {"StateReason": function.reason, "StateReasonCode": "InternalError"}
    if function.update_status:
        answer["LastUpdateStatus"] = function.update_status
    if function.update_status == "InProgress":
        answer |= {
            "LastUpdateStatusReason": "The function is being created.",
            "LastUpdateStatusReasonCode": "Creating",
        }
    elif function.update_status == "Failed":
        answer |= {"LastUpdateStatusReason": function.reason, "LastUpdateStatusReasonCode": "InternalError"}
    return answer

# SPDX-License-Identifier: Apache-2.0
"""Parameter Store: parameters of the account's own, and public ones that name images, to read.

Public ones lie below ``/aws/service/ami-amazon-linux-latest/``. Source: Systems Manager API Reference; User Guide,
"AWS Systems Manager Parameter Store", AMI public parameters.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ssm import errors, needs, tables
from cloudchamber.services.ssm.tables import Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

PARAMETERS_MAX = 10_000
VALUE_MAX_BYTES = 4096
TAGS_MAX = 50
_LEVELS_MAX = 15
_NAME = re.compile(r"[a-zA-Z0-9_.\-/]{1,1011}")
_RESERVED = re.compile(r"/?(aws|ssm)", re.IGNORECASE)
_PAGE = 10


def _images(call: Call) -> dict[str, Parameter]:
    """Public parameters, from what EC2 offers on this machine."""
    offered: Mapping[str, tuple[str, str]] = call.doors.parts["ec2"].public_parameters()
    found: dict[str, Parameter] = {}
    for name, (image, created) in offered.items():
        at = datetime.strptime(created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        found[name] = Parameter("", call.region, name, "String", image, modified=at.timestamp())
    return found


def _find(call: Call, asked: str) -> Parameter | None:
    name = needs.plain(asked)
    if name.startswith("/aws/"):
        return _images(call).get(name)
    return call.doors.database.read(lambda db: tables.find(db, call.account, call.region, name))


def _view(found: Parameter, asked: str) -> dict[str, Any]:
    selector = asked.removeprefix(found.name)
    view = {
        "Name": found.name,
        "Type": found.kind,
        "Value": found.value,
        "Version": found.version,
        "LastModifiedDate": datetime.fromtimestamp(found.modified, UTC),
        "ARN": found.arn,
        "DataType": "text",
    }
    return {**view, "Selector": selector} if selector else view


def _has_version(found: Parameter, asked: str) -> bool:
    """Whether a selector, if there is one, names the version that there is."""
    return asked in (found.name, f"{found.name}:{found.version}")


@operation("GetParameter", needs=needs.on_name("GetParameter"))
async def get_parameter(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter.

    Raises:
        ParameterNotFound: there is none of that name.
        ParameterVersionNotFound: it has another version than the name's selector says; older ones are not kept.
    """
    asked = str(request["Name"])
    found = _find(call, asked)
    if found is None:
        raise errors.ParameterNotFound("")
    if not _has_version(found, asked):
        raise errors.ParameterVersionNotFound(
            f"Systems Manager could not find version {asked.partition(':')[2]} of {found.name}. "
            "Verify the version and try again."
        )
    return {"Parameter": _view(found, asked)}


@operation("GetParameters", needs=needs.on_names("GetParameters"))
async def get_parameters(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Several parameters; those that do not exist are named in `InvalidParameters`."""
    asked = [str(name) for name in request["Names"]]
    if len(set(asked)) != len(asked):
        raise errors.ValidationException("Duplicate parameter names in the request.")
    known: dict[str, Parameter] = {}
    for name in asked:
        found = _find(call, name)
        if found is not None and _has_version(found, name):
            known[name] = found
    return {
        "Parameters": [_view(known[name], name) for name in asked if name in known],
        "InvalidParameters": [name for name in asked if name not in known],
    }


@operation("GetParametersByPath", needs=needs.by_path)
async def get_parameters_by_path(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters below a path, or directly below it; ten at a time.

    Raises:
        ValidationException: the path does not begin with a slash, or filters are given.
    """
    path = str(request["Path"])
    if not path.startswith("/"):
        raise errors.ValidationException("The parameter path must begin with a slash (/)")
    if request.get("ParameterFilters"):
        raise errors.ValidationException("ParameterFilters is not supported here")
    after = str(request.get("NextToken", ""))
    if after and not _NAME.fullmatch(after):
        raise errors.InvalidNextToken("The specified token is not valid.")
    start = path.rstrip("/") + "/"
    found = call.doors.database.read(lambda db: tables.below(db, call.account, call.region, path))
    if path.startswith("/aws/"):
        found += [one for name, one in sorted(_images(call).items()) if name.startswith(start)]
    if not request.get("Recursive"):
        found = [one for one in found if "/" not in one.name.removeprefix(start)]
    found = [one for one in found if one.name > after]
    most = int(request.get("MaxResults", _PAGE))
    shown = {"Parameters": [_view(one, one.name) for one in found[:most]]}
    return {**shown, "NextToken": found[most - 1].name} if len(found) > most else shown


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.ValidationException(
            'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
            "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the "
            "following 3 symbols .-_"
        )
    if _RESERVED.match(name):
        raise errors.ValidationException('Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).')
    if "/" in name and not name.startswith("/"):
        raise errors.ValidationException("Parameter name must be a fully qualified name: it begins with a slash.")
    if name.count("/") > _LEVELS_MAX:
        raise errors.HierarchyLevelLimitExceededException(f"A parameter name can have at most {_LEVELS_MAX} levels.")


def _refuse_unsupported(request: Mapping[str, Any]) -> None:
    if request.get("Type") == "SecureString":
        raise errors.UnsupportedParameterType(
            "Parameter type SecureString is not supported here; Secrets Manager is, and keeps its values sealed."
        )
    if request.get("Tier", "Standard") == "Advanced":
        raise errors.ValidationException("Tier Advanced is not supported here")
    if request.get("DataType", "text") != "text":
        raise errors.ValidationException("DataType other than text is not supported here")
    for member in ("KeyId", "AllowedPattern", "Policies"):
        if request.get(member):
            raise errors.ValidationException(f"{member} is not supported here")


def tags_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a request."""
    return {str(tag["Key"]): str(tag["Value"]) for tag in request.get("Tags") or ()}


@operation("PutParameter", needs=needs.put_parameter)
async def put_parameter(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a parameter, or its next version.

    Raises:
        ParameterAlreadyExists: the name is taken, and `Overwrite` is not set.
        UnsupportedParameterType, ValidationException: what is not supported, by name; a bad name or value.
    """
    _refuse_unsupported(request)
    name, value = str(request["Name"]), str(request["Value"])
    _check_name(name)
    if not 0 < len(value.encode()) <= VALUE_MAX_BYTES:
        raise errors.ValidationException(
            f"Standard tier parameters support a maximum parameter value of {VALUE_MAX_BYTES} characters, and at "
            "least one."
        )
    overwrite, tags = bool(request.get("Overwrite")), tags_of(request)
    if overwrite and tags:
        raise errors.ValidationException(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please "
            "remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or "
            "RemoveTagsFromResource."
        )
    _check_tags(tags)

    def publish(tx: Tx) -> int:
        before = tables.find(tx, call.account, call.region, name)
        kind = request.get("Type") or (before.kind if before else "")
        if not kind:
            raise errors.ValidationException("A parameter type is required when you create a parameter.")
        if before is None:
            if tables.count(tx, call.account, call.region) >= PARAMETERS_MAX:
                raise errors.ParameterLimitExceeded(f"An account can have {PARAMETERS_MAX} parameters.")
            before = Parameter(call.account, call.region, name, str(kind), value, version=0, tags=tags)
        elif not overwrite:
            raise errors.ParameterAlreadyExists(
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to "
                "true."
            )
        elif kind != before.kind:
            raise errors.ValidationException("The parameter type cannot be changed; delete the parameter first.")
        said = str(request.get("Description", before.description))
        now = call.now.timestamp()
        made = replace(before, value=value, description=said, version=before.version + 1, modified=now)
        tables.put(tx, made)
        return made.version

    return {"Version": await call.doors.database.write(publish), "Tier": "Standard"}


@operation("DeleteParameter", needs=needs.on_name("DeleteParameter"))
async def delete_parameter(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a parameter.

    Raises:
        ParameterNotFound: there is none of that name.
    """
    name = str(request["Name"])
    if not await call.doors.database.write(lambda tx: tables.drop(tx, call.account, call.region, name)):
        raise errors.ParameterNotFound("")
    return {}


@operation("DeleteParameters", needs=needs.on_names("DeleteParameters"))
async def delete_parameters(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete several parameters; those that do not exist are named in `InvalidParameters`."""
    names = list(dict.fromkeys(str(name) for name in request["Names"]))

    def publish(tx: Tx) -> list[str]:
        return [name for name in names if tables.drop(tx, call.account, call.region, name)]

    deleted = await call.doors.database.write(publish)
    return {"DeletedParameters": deleted, "InvalidParameters": [name for name in names if name not in deleted]}


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise errors.TooManyTagsError(f"A parameter can have at most {TAGS_MAX} tags.")
    if any(key.lower().startswith("aws:") for key in tags):
        raise errors.ValidationException("Tag keys that begin with aws: are reserved for internal use")


def _tagged(tx: Tx, call: Call, request: Mapping[str, Any]) -> Parameter:
    if request["ResourceType"] != "Parameter":
        raise errors.InvalidResourceType(f"Resource type {request['ResourceType']} is not supported here")
    found = tables.find(tx, call.account, call.region, str(request["ResourceId"]))
    if found is None:
        raise errors.InvalidResourceId("The resource ID isn't valid. Verify that you entered the correct ID.")
    return found


@operation("AddTagsToResource", needs=needs.on_tags("AddTagsToResource"))
async def add_tags_to_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give tags to a parameter."""

    def publish(tx: Tx) -> None:
        found = _tagged(tx, call, request)
        tags = {**found.tags, **tags_of(request)}
        _check_tags(tags)
        tables.put(tx, replace(found, tags=tags))

    await call.doors.database.write(publish)
    return {}


@operation("RemoveTagsFromResource", needs=needs.on_tags("RemoveTagsFromResource"))
async def remove_tags_from_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take tags from a parameter."""
    gone = {str(key) for key in request["TagKeys"]}

    def publish(tx: Tx) -> None:
        found = _tagged(tx, call, request)
        tables.put(tx, replace(found, tags={k: v for k, v in found.tags.items() if k not in gone}))

    await call.doors.database.write(publish)
    return {}


@operation("ListTagsForResource", needs=needs.on_tags("ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a parameter."""
    found = call.doors.database.read(lambda db: _tagged(db, call, request))
    return {"TagList": [{"Key": key, "Value": value} for key, value in found.tags.items()]}

# SPDX-License-Identifier: Apache-2.0
"""Rows of launch templates and their versions, and what a launch takes from one."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import (
    inner,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader

_GROUPS = ("SecurityGroupIds", "SecurityGroups", "NetworkInterfaces")


@dataclass(frozen=True, slots=True)
class Template:
    """A launch template. `created` is POSIX seconds."""

    id: str
    account: str
    region: str
    name: str
    created: float
    created_by: str
    default_version: int
    latest_version: int
    client_token: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One version; `data` is JSON of `LaunchTemplateData`."""

    template_id: str
    version: int
    description: str
    created: float
    created_by: str
    data: str


COLUMNS = ", ".join(one.name for one in fields(Template))


def by(db: Reader, column: str, value: str, call: Call) -> Template | None:
    """A template by its id or name."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM ec2_launch_templates WHERE {column} = ? AND account = ? AND region = ?",
        (value, call.account, call.region),
    ).fetchone()
    return Template(*row) if row is not None else None


def find(db: Reader, call: Call, named: Mapping[str, Any]) -> Template:
    """The template that `LaunchTemplateId` or `LaunchTemplateName` names.

    Raises:
        InvalidLaunchTemplateId.NotFound, InvalidLaunchTemplateName.NotFoundException: there is none.
        InvalidParameterCombination, MissingParameter: both are given, or neither.
    """
    identifier, name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if identifier and name:
        raise errors.InvalidParameterCombination(
            "Either provide launch template ID or launch template name to modify the template."
        )
    if not identifier and not name:
        raise errors.MissingParameter(
            "The request must contain the parameter launch template ID or launch template name"
        )
    if identifier:
        found = by(db, "id", identifier, call)
        if found is None:
            raise errors.InvalidLaunchTemplateIdNotFound(
                f"The specified launch template, with template ID {identifier}, does not exist."
            )
        return found
    found = by(db, "name", str(name), call)
    if found is None:
        raise errors.InvalidLaunchTemplateNameNotFound(
            f"The specified launch template, with template name {name}, does not exist."
        )
    return found


def everyone(db: Reader, call: Call) -> list[Template]:
    """All templates of the caller's account in the region, oldest first."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM ec2_launch_templates WHERE account = ? AND region = ? ORDER BY created, id",
        (call.account, call.region),
    )
    return [Template(*row) for row in rows]


def versions(db: Reader, template: Template) -> list[Version]:
    """All versions of a template, oldest first."""
    rows = db.execute(
        "SELECT * FROM ec2_launch_template_versions WHERE template_id = ? ORDER BY version", (template.id,)
    )
    return [Version(*row) for row in rows]


def version(db: Reader, template: Template, wanted: str) -> Version:
    """One version by its number, `$Latest` or `$Default`.

    Raises:
        InvalidLaunchTemplateId.VersionNotFound: there is none.
    """
    number = {"$Latest": template.latest_version, "$Default": template.default_version}.get(wanted)
    if number is None:
        number = int(wanted) if wanted.isdecimal() else 0
    row = db.execute(
        "SELECT * FROM ec2_launch_template_versions WHERE template_id = ? AND version = ?", (template.id, number)
    ).fetchone()
    if row is None:
        raise errors.InvalidLaunchTemplateIdVersionNotFound(
            f"Could not find the specified version {wanted} for the launch template with ID {template.id}."
        )
    return Version(*row)


def merged(call: Call, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A launch with what its template says where it says nothing itself.

    Source: Amazon EC2 API Reference, RunInstances, LaunchTemplate.

    Raises:
        Ec2Error: the template or its version does not exist.
    """
    wanted = inner(request, "LaunchTemplate")
    if not wanted:
        return request

    def look(db: Reader) -> tuple[Template, Version]:
        template = find(db, call, wanted)
        return template, version(db, template, str(wanted.get("Version") or "$Default"))

    template, chosen = call.doors.database.read(look)
    found = {"LaunchTemplateId": template.id, "Version": str(chosen.version)}
    return overlay(json.loads(chosen.data), request) | {"LaunchTemplate": found}


def launch_tags(request: Mapping[str, Any]) -> dict[str, str]:
    """The tags by which AWS says of an instance which template it came from, of a merged launch."""
    found = inner(request, "LaunchTemplate")
    if not found:
        return {}
    return {
        "aws:ec2launchtemplate:id": found["LaunchTemplateId"],
        "aws:ec2launchtemplate:version": found["Version"],
    }


def overlay(data: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """`request` over `data`: what the request says of its network stands for all that the template says of it. Pure."""
    network = {name: data[name] for name in _GROUPS if data.get(name)}
    if any(request.get(name) for name in (*_GROUPS, "SubnetId", "PrivateIpAddress")):
        if request.get("SubnetId") and "NetworkInterfaces" in network:
            raise errors.InvalidParameterCombination(
                "Network interfaces and an instance-level subnet ID may not be specified on the same request"
            )
        network = {name: value for name, value in network.items() if not any(request.get(one) for one in _GROUPS)}
    kept = {name: value for name, value in data.items() if name not in _GROUPS}
    for name in ("MetadataOptions", "Placement"):
        if kept.get(name) and request.get(name):
            kept[name] = {**kept[name], **request[name]}
            request = {one: value for one, value in request.items() if one != name}
    if kept.get("TagSpecifications") and request.get("TagSpecifications"):
        given = {one["ResourceType"] for one in request["TagSpecifications"]}
        both = [
            *request["TagSpecifications"],
            *(o for o in kept["TagSpecifications"] if o["ResourceType"] not in given),
        ]
        request = {**request, "TagSpecifications": both}
    return {**kept, **network, **request}

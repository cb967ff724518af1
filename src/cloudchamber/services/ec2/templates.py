# SPDX-License-Identifier: Apache-2.0
"""Launch templates and their versions."""

from __future__ import annotations

import json
import re
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, errors, market, needs, tables, template_rows
from cloudchamber.services.ec2.checks import (
    described,
    inner,
    many,
    named,
    page,
    refuse,
    same,
    select,
    specified_tags,
    tag_list,
    takes,
    with_token,
)
from cloudchamber.services.ec2.tables import moment
from cloudchamber.services.ec2.template_rows import Template, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

VERSIONS_MAX = 10_000
_NAME = re.compile(r"[A-Za-z0-9().\-/_]{3,128}", re.ASCII)
TAKEN = frozenset(
    {
        "ImageId",
        "InstanceType",
        "KeyName",
        "SecurityGroupIds",
        "SecurityGroups",
        "NetworkInterfaces",
        "IamInstanceProfile",
        "UserData",
        "TagSpecifications",
        "MetadataOptions",
        "InstanceInitiatedShutdownBehavior",
        "DisableApiTermination",
        "DisableApiStop",
        "Placement",
        "Monitoring",
        "MaintenanceOptions",
        "BlockDeviceMappings",
        "EbsOptimized",
        "InstanceMarketOptions",
        "HibernationOptions",
        "CpuOptions",
        "CreditSpecification",
        "EnclaveOptions",
        "CapacityReservationSpecification",
        "PrivateDnsNameOptions",
    }
)
"""What a template may say: all that RunInstances carries out."""


def _template(db: Reader, row: Template) -> dict[str, Any]:
    return {
        "LaunchTemplateId": row.id,
        "LaunchTemplateName": row.name,
        "CreateTime": moment(row.created),
        "CreatedBy": row.created_by,
        "DefaultVersionNumber": row.default_version,
        "LatestVersionNumber": row.latest_version,
        "Tags": tag_list(tables.tags(db, row.id)),
        "Operator": {"Managed": False},
    }


def _version(row: Version, template: Template) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionNumber": row.version,
        "CreateTime": moment(row.created),
        "CreatedBy": row.created_by,
        "DefaultVersion": row.version == template.default_version,
        "LaunchTemplateData": json.loads(row.data),
        "Operator": {"Managed": False},
    }
    if row.description:
        shown["VersionDescription"] = row.description
    return shown


def _data(given: Mapping[str, Any]) -> str:
    """`LaunchTemplateData` to keep; what a launch would not carry out is refused now."""
    if not given:
        raise errors.MissingParameter("The request must contain the parameter LaunchTemplateData")
    refuse("LaunchTemplateData.", given, TAKEN)
    market.check(given, catalog.TYPES.get(given.get("InstanceType") or ""))
    return json.dumps(given, separators=(",", ":"))


@operation("CreateLaunchTemplate", needs=needs.create("CreateLaunchTemplate", "launch-template"))
@takes("LaunchTemplateName", "LaunchTemplateData", "VersionDescription", "TagSpecifications", "ClientToken")
async def create_launch_template(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a template with its first version, which is the default.

    Raises:
        InvalidLaunchTemplateName.AlreadyExistsException: there is one of that name.
        UnsupportedOperation: the data says something that a launch here would not carry out.

    Source: Amazon EC2 API Reference, CreateLaunchTemplate.
    """
    name: str = request["LaunchTemplateName"]
    if not _NAME.fullmatch(name):
        raise errors.InvalidLaunchTemplateNameMalformed(
            "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
            "following characters: - ( ) . / _."
        )
    data = _data(inner(request, "LaunchTemplateData"))
    tags = specified_tags(request, "launch-template").get("launch-template", {})
    now, token = call.now.timestamp(), request.get("ClientToken") or ""
    row = Template(ids.hex_id("lt"), call.account, call.region, name, now, call.principal.arn, 1, 1, token)

    def change(tx: Tx) -> dict[str, Any]:
        before = template_rows.by(tx, "name", name, call)
        if before is not None:
            if token and before.client_token == token:
                return _template(tx, before)
            raise errors.InvalidLaunchTemplateNameAlreadyExists("Launch template name already in use.")
        marks = ", ".join("?" for _ in fields(Template))
        tx.execute(f"INSERT INTO ec2_launch_templates ({template_rows.COLUMNS}) VALUES ({marks})", astuple(row))
        first = Version(row.id, 1, request.get("VersionDescription") or "", now, row.created_by, data)
        tx.execute("INSERT INTO ec2_launch_template_versions VALUES (?, ?, ?, ?, ?, ?)", astuple(first))
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return _template(tx, row)

    return {"LaunchTemplate": await call.doors.database.write(change)}


@operation("CreateLaunchTemplateVersion", needs=needs.on_template("CreateLaunchTemplateVersion"))
@takes(
    "LaunchTemplateId",
    "LaunchTemplateName",
    "LaunchTemplateData",
    "SourceVersion",
    "VersionDescription",
    "ClientToken",
)
async def create_launch_template_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add a version, from nothing or over `SourceVersion`.

    Source: Amazon EC2 API Reference, CreateLaunchTemplateVersion.
    """
    given = json.loads(_data(inner(request, "LaunchTemplateData")))
    now, token = call.now.timestamp(), request.get("ClientToken") or ""

    def change(tx: Tx) -> dict[str, Any]:
        template = template_rows.find(tx, call, request)
        used = tables.token(tx, call.account, call.region, token) if token else None
        if used is not None and used[0] == template.id:
            return _version(template_rows.version(tx, template, used[1]), template)
        if template.latest_version >= VERSIONS_MAX:
            raise errors.VersionLimitExceeded("The maximum number of launch template versions has been reached.")
        data = given
        if request.get("SourceVersion"):
            data = {**json.loads(template_rows.version(tx, template, str(request["SourceVersion"])).data), **given}
        number = template.latest_version + 1
        description = request.get("VersionDescription") or ""
        row = Version(template.id, number, description, now, call.principal.arn, json.dumps(data))
        tx.execute("INSERT INTO ec2_launch_template_versions VALUES (?, ?, ?, ?, ?, ?)", astuple(row))
        tx.execute("UPDATE ec2_launch_templates SET latest_version = ? WHERE id = ?", (number, template.id))
        if token:
            tables.keep_token(tx, call.account, call.region, token, template.id, str(number))
        return _version(row, template)

    return {"LaunchTemplateVersion": await call.doors.database.write(change)}


@operation("ModifyLaunchTemplate", needs=needs.on_template("ModifyLaunchTemplate"))
@takes("LaunchTemplateId", "LaunchTemplateName", "DefaultVersion", "ClientToken")
async def modify_launch_template(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make another version the default.

    Source: Amazon EC2 API Reference, ModifyLaunchTemplate.
    """

    def change(tx: Tx) -> dict[str, Any]:
        template = template_rows.find(tx, call, request)
        if request.get("DefaultVersion"):
            number = _to_be_default(tx, template, str(request["DefaultVersion"]))
            tx.execute("UPDATE ec2_launch_templates SET default_version = ? WHERE id = ?", (number, template.id))
        return _template(tx, template_rows.find(tx, call, {"LaunchTemplateId": template.id}))

    return {"LaunchTemplate": await call.doors.database.write(change)}


def _to_be_default(tx: Tx, template: Template, wanted: str) -> int:
    try:
        return template_rows.version(tx, template, wanted).version
    except errors.InvalidLaunchTemplateIdVersionNotFound:
        raise errors.InvalidLaunchTemplateIdVersionNotFound(
            f"The launch template version {wanted} is not found for the specified launch template."
        ) from None


@operation("DeleteLaunchTemplate", needs=needs.on_template("DeleteLaunchTemplate"))
@takes("LaunchTemplateId", "LaunchTemplateName")
async def delete_launch_template(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a template with all its versions; instances stay.

    Source: Amazon EC2 API Reference, DeleteLaunchTemplate.
    """

    def change(tx: Tx) -> dict[str, Any]:
        template = template_rows.find(tx, call, request)
        shown = _template(tx, template)
        tables.delete_tags(tx, template.id)
        tx.execute("DELETE FROM ec2_launch_templates WHERE id = ?", (template.id,))
        return shown

    return {"LaunchTemplate": await call.doors.database.write(change)}


@operation("DeleteLaunchTemplateVersions", needs=needs.on_template("DeleteLaunchTemplateVersions"))
@takes("LaunchTemplateId", "LaunchTemplateName", "Versions")
async def delete_launch_template_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete versions, each by itself; the default version stays.

    Source: Amazon EC2 API Reference, DeleteLaunchTemplateVersions.
    """

    def change(tx: Tx) -> dict[str, Any]:
        template = template_rows.find(tx, call, request)
        gone: list[dict[str, Any]] = []
        kept: list[dict[str, Any]] = []
        for wanted in request["Versions"]:
            shown: dict[str, Any] = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
            try:
                number = template_rows.version(tx, template, str(wanted)).version
                if number == template.default_version:
                    raise errors.OperationNotPermitted("The default version of a launch template cannot be deleted.")
            except errors.Ec2Error as error:
                code = "launchTemplateVersionDoesNotExist" if "NotFound" in error.code else "unexpectedError"
                if str(wanted).isdecimal():
                    shown["VersionNumber"] = int(wanted)
                kept.append({**shown, "ResponseError": {"Code": code, "Message": error.message}})
                continue
            tx.execute(
                "DELETE FROM ec2_launch_template_versions WHERE template_id = ? AND version = ?", (template.id, number)
            )
            gone.append({**shown, "VersionNumber": number})
        return {
            "SuccessfullyDeletedLaunchTemplateVersions": gone,
            "UnsuccessfullyDeletedLaunchTemplateVersions": kept,
        }

    return await call.doors.database.write(change)


@operation("DescribeLaunchTemplates", needs=needs.look("DescribeLaunchTemplates"))
@takes("LaunchTemplateIds", "LaunchTemplateNames", "Filters", "NextToken", "MaxResults")
async def describe_launch_templates(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List templates.

    Source: Amazon EC2 API Reference, DescribeLaunchTemplates.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        return [_template(db, row) for row in template_rows.everyone(db, call)]

    rows = call.doors.database.read(read)
    rows = named(
        rows, "LaunchTemplateId", many(request, "LaunchTemplateIds"),
        lambda one: errors.InvalidLaunchTemplateIdNotFound(
            f"The specified launch template, with template ID {one}, does not exist."
        ),
    )  # fmt: skip
    rows = named(
        rows, "LaunchTemplateName", many(request, "LaunchTemplateNames"),
        lambda _: errors.InvalidLaunchTemplateNameNotFound(
            "At least one of the launch templates specified in the request does not exist."
        ),
    )  # fmt: skip
    paths = {"launch-template-name": "LaunchTemplateName", "create-time": "CreateTime"}
    return described(rows, request, "LaunchTemplates", "LaunchTemplateId", paths)


@operation("DescribeLaunchTemplateVersions", needs=needs.look("DescribeLaunchTemplateVersions"))
@takes(
    "LaunchTemplateId",
    "LaunchTemplateName",
    "Versions",
    "MinVersion",
    "MaxVersion",
    "Filters",
    "NextToken",
    "MaxResults",
)
async def describe_launch_template_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List versions of one template, newest first; or, of all templates, the latest or the default ones.

    Source: Amazon EC2 API Reference, DescribeLaunchTemplateVersions.
    """
    one = request.get("LaunchTemplateId") or request.get("LaunchTemplateName")
    if not one:
        _check_of_all(request)

    def read(db: Reader) -> list[dict[str, Any]]:
        templates = [template_rows.find(db, call, request)] if one else template_rows.everyone(db, call)
        return [_version(row, each) for each in templates for row in _chosen(db, each, request)]

    rows = call.doors.database.read(read)
    paths = {
        "is-default-version": "DefaultVersion",
        "image-id": "LaunchTemplateData.ImageId",
        "instance-type": "LaunchTemplateData.InstanceType",
        "iam-instance-profile": "LaunchTemplateData.IamInstanceProfile.Arn",
    }
    rows, token = page(
        select(rows, request.get("Filters"), paths, same), request,
        lambda row: f"{row['LaunchTemplateId']} {row['VersionNumber']}",
    )  # fmt: skip
    return with_token({"LaunchTemplateVersions": rows}, token)


def _check_of_all(request: Mapping[str, Any]) -> None:
    """Of all templates at once, only the latest and the default versions can be asked for."""
    wanted = many(request, "Versions")
    if wanted and set(wanted) <= {"$Latest", "$Default"}:
        return
    kind = errors.InvalidParameterValue if wanted else errors.MissingParameter
    raise kind(
        "To describe the launch template data for all your launch templates, for \u2018--versions\u2019 specify "
        "\u2018$Latest\u2019, \u2018$Default\u2019, or both, and omit \u2018--launch-template-id\u2019, "
        "\u2018--launch-template-name\u2019, and version numbers. To describe the launch template data for a specific "
        "launch template, specify \u2018--launch-template-id\u2019 or \u2018--launch-template-name\u2019, and for "
        "\u2018--versions\u2019 specify one or more of the following values: \u2018$Latest\u2019, "
        "\u2018$Default\u2019, or one or more version numbers."
    )


def _chosen(db: Reader, template: Template, request: Mapping[str, Any]) -> Sequence[Version]:
    if request.get("Versions"):
        found = [template_rows.version(db, template, str(one)) for one in request["Versions"]]
        return list(dict.fromkeys(found))
    least, most = int(request.get("MinVersion") or 1), int(request.get("MaxVersion") or VERSIONS_MAX)
    return [one for one in reversed(template_rows.versions(db, template)) if least <= one.version <= most]

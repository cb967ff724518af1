# SPDX-License-Identifier: Apache-2.0
"""Log groups: create, describe, delete, retention, tags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.logs import names, needs, tables
from cloudchamber.services.logs.errors import (
    InvalidParameterException,
    ResourceAlreadyExistsException,
    TooManyTagsException,
    ValidationException,
)
from cloudchamber.services.logs.part import LogsPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.logs.tables import Group
    from cloudchamber.store.database import Reader, Tx

_PAGE = 50
_TAGS_MAX = 50


def now_ms(call: Call) -> int:
    """Now, in milliseconds."""
    return int(call.now.timestamp() * 1000)


def name_of(request: Mapping[str, Any]) -> str:
    """The group's name, by name or identifier."""
    name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
    if name and identifier:
        raise ValidationException("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if not name and not identifier:
        raise InvalidParameterException("Exactly one of logGroupName and logGroupIdentifier must be given")
    return names.check_group(str(name) if name else names.identified(str(identifier)))


def read_group(call: Call, request: Mapping[str, Any]) -> Group:
    """The group that a request names."""
    name = name_of(request)
    return call.doors.database.read(lambda db: tables.get_group(db, call.account, call.region, name))


@operation("CreateLogGroup", needs=needs.create_group)
async def create_log_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Create a group. Source: CloudWatch Logs API Reference, CreateLogGroup."""
    name = names.check_group(str(request["logGroupName"]))
    if request.get("kmsKeyId") or request.get("deletionProtectionEnabled"):
        raise InvalidParameterException("kmsKeyId, deletionProtectionEnabled: not supported by this chamber yet")
    if request.get("logGroupClass", "STANDARD") != "STANDARD":
        raise InvalidParameterException("logGroupClass: only STANDARD is supported by this chamber yet")
    tags = dict(request.get("tags", {}))
    _check_tags(tags)
    created = now_ms(call)

    def publish(tx: Tx) -> None:
        if tables.find_group(tx, call.account, call.region, name) is not None:
            raise ResourceAlreadyExistsException("The specified log group already exists")
        tx.execute(
            "INSERT INTO logs_groups (account, region, name, created, tags) VALUES (?, ?, ?, ?, ?)",
            (call.account, call.region, name, created, json.dumps(tags)),
        )

    await call.doors.database.write(publish)
    return {}


@operation("DeleteLogGroup", needs=needs.on_group("DeleteLogGroup"))
async def delete_log_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a group with its streams and events. Source: CloudWatch Logs API Reference, DeleteLogGroup."""
    name = names.check_group(str(request["logGroupName"]))

    def publish(tx: Tx) -> None:
        group = tables.get_group(tx, call.account, call.region, name)
        tx.execute("DELETE FROM logs_groups WHERE id = ?", (group.id,))

    await call.doors.database.write(publish)
    return {}


@operation("DescribeLogGroups", needs=needs.describe_groups)
async def describe_log_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Groups by name. Source: CloudWatch Logs API Reference, DescribeLogGroups."""
    for member in ("accountIdentifiers", "logGroupIdentifiers", "includeLinkedAccounts"):
        if request.get(member):
            raise InvalidParameterException(f"{member} is not supported by this chamber yet")
    prefix, inside = str(request.get("logGroupNamePrefix", "")), str(request.get("logGroupNamePattern", ""))
    if prefix and inside:
        raise InvalidParameterException(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
        )
    limit = names.limit(request, _PAGE)
    after = names.unseal(str(request["nextToken"])) if request.get("nextToken") else ""

    def look(db: Reader) -> list[Group]:
        rows = db.execute(
            "SELECT * FROM logs_groups WHERE account = ? AND region = ? AND name > ? AND substr(name, 1, ?) = ? "
            "AND instr(lower(name), lower(?)) > 0 ORDER BY name LIMIT ?",
            (call.account, call.region, after, len(prefix), prefix, inside, limit + 1),
        )
        return [tables.group_of(row) for row in rows]

    found = await call.doors.database.query(look)
    answer: dict[str, Any] = {"logGroups": [_shown(group, by_pattern=bool(inside)) for group in found[:limit]]}
    if len(found) > limit:
        answer["nextToken"] = pages.token(found[limit - 1].name)
    return answer


def _shown(group: Group, *, by_pattern: bool) -> dict[str, Any]:
    """A group; searched by a pattern, AWS leaves out what it would have to look up."""
    arn = names.group_arn(group.account, group.region, group.name)
    answer: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "logGroupClass": "STANDARD",
    }
    if not by_pattern:
        answer |= {"storedBytes": group.stored_bytes, "deletionProtectionEnabled": False}
    if group.retention_days is not None:
        answer["retentionInDays"] = group.retention_days
    return answer


@operation("PutRetentionPolicy", needs=needs.on_group("PutRetentionPolicy"))
async def put_retention_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep events for so many days; older ones are removed within the hour.

    Source: CloudWatch Logs API Reference, PutRetentionPolicy.
    """
    days = int(request["retentionInDays"])
    if days not in names.RETENTION_DAYS:
        raise InvalidParameterException(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member "
            f"must satisfy enum value set: {sorted(names.RETENTION_DAYS)}"
        )
    await _retain(call, request, days)
    return {}


@operation("DeleteRetentionPolicy", needs=needs.on_group("DeleteRetentionPolicy"))
async def delete_retention_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep events for ever. Source: CloudWatch Logs API Reference, DeleteRetentionPolicy."""
    await _retain(call, request, None)
    return {}


async def _retain(call: Call, request: Mapping[str, Any], days: int | None) -> None:
    name = names.check_group(str(request["logGroupName"]))

    def publish(tx: Tx) -> None:
        group = tables.get_group(tx, call.account, call.region, name)
        tx.execute("UPDATE logs_groups SET retention_days = ? WHERE id = ?", (days, group.id))

    await call.doors.database.write(publish)
    if days is not None:
        call.doors.part("logs", LogsPart).nudge()


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > _TAGS_MAX:
        raise TooManyTagsException(f"A resource can have at most {_TAGS_MAX} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise InvalidParameterException(f"tags: key {key[:130]!r} or its value is not valid")


async def _retag(call: Call, name: str, change: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    def publish(tx: Tx) -> None:
        group = tables.get_group(tx, call.account, call.region, name)
        tags = change(group.tags)
        _check_tags(tags)
        tx.execute("UPDATE logs_groups SET tags = ? WHERE id = ?", (json.dumps(tags), group.id))

    await call.doors.database.write(publish)


def _group_in(request: Mapping[str, Any]) -> str:
    return names.check_group(names.identified(str(request["resourceArn"])))


@operation("TagResource", needs=needs.on_arn("TagResource"))
async def tag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or replace tags of a group. Source: CloudWatch Logs API Reference, TagResource."""
    await _retag(call, _group_in(request), lambda tags: {**tags, **request["tags"]})
    return {}


@operation("UntagResource", needs=needs.on_arn("UntagResource"))
async def untag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags of a group. Source: CloudWatch Logs API Reference, UntagResource."""
    gone = set(request["tagKeys"])
    await _retag(call, _group_in(request), lambda tags: {k: v for k, v in tags.items() if k not in gone})
    return {}


@operation("ListTagsForResource", needs=needs.on_arn("ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tags of a group. Source: CloudWatch Logs API Reference, ListTagsForResource."""
    return {"tags": dict(read_group(call, {"logGroupName": _group_in(request)}).tags)}


@operation("TagLogGroup", needs=needs.on_group("TagLogGroup"))
async def tag_log_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The older TagResource. Source: CloudWatch Logs API Reference, TagLogGroup."""
    await _retag(call, names.check_group(str(request["logGroupName"])), lambda tags: {**tags, **request["tags"]})
    return {}


@operation("UntagLogGroup", needs=needs.on_group("UntagLogGroup"))
async def untag_log_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The older UntagResource. Source: CloudWatch Logs API Reference, UntagLogGroup."""
    gone, name = set(request["tags"]), names.check_group(str(request["logGroupName"]))
    await _retag(call, name, lambda tags: {k: v for k, v in tags.items() if k not in gone})
    return {}


@operation("ListTagsLogGroup", needs=needs.on_group("ListTagsLogGroup"))
async def list_tags_log_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The older ListTagsForResource. Source: CloudWatch Logs API Reference, ListTagsLogGroup."""
    return {"tags": dict(read_group(call, request).tags)}

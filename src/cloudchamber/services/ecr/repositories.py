# SPDX-License-Identifier: Apache-2.0
"""Repositories: create, describe, delete, settings, tags. Source: Amazon ECR API Reference."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.ecr import errors, needs, tables
from cloudchamber.services.ecr.tables import Repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

REPOSITORIES_MAX = 10_000
TAGS_MAX = 50
_NAME = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*")
_PAGE = 100


def own_registry(call: Call, request: Mapping[str, Any]) -> None:
    """Refuse another account's registry.

    Raises:
        RepositoryNotFoundException: it is another's.
    """
    if request.get("registryId", call.account) != call.account:
        raise errors.RepositoryNotFoundException(f"There is no registry with id '{request['registryId']}' here")


def existing(db: Reader, call: Call, name: str) -> Repository:
    """A repository that must exist.

    Raises:
        RepositoryNotFoundException: there is none.
    """
    found = tables.find(db, call.account, call.region, name)
    if found is None:
        raise errors.RepositoryNotFoundException(
            f"The repository with name '{name}' does not exist in the registry with id '{call.account}'"
        )
    return found


def _view(found: Repository) -> dict[str, Any]:
    return {
        "repositoryArn": found.arn,
        "registryId": found.account,
        "repositoryName": found.name,
        "repositoryUri": found.uri,
        "createdAt": datetime.fromtimestamp(found.created, UTC),
        "imageTagMutability": found.mutability,
        "imageScanningConfiguration": {"scanOnPush": found.scan_on_push},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


def _tags(request: Mapping[str, Any]) -> dict[str, str]:
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in request.get("tags") or ()}
    if any(key.lower().startswith("aws:") for key in tags):
        raise errors.InvalidTagParameterException("Tag keys that begin with aws: are reserved")
    return tags


def _mutability(request: Mapping[str, Any]) -> str:
    if request.get("imageTagMutabilityExclusionFilters"):
        raise errors.InvalidParameterException("imageTagMutabilityExclusionFilters is not supported here")
    wanted = str(request.get("imageTagMutability", "MUTABLE"))
    if wanted not in ("MUTABLE", "IMMUTABLE"):
        raise errors.InvalidParameterException(f"imageTagMutability {wanted} is not supported here")
    return wanted


@operation("CreateRepository", needs=needs.on_name("CreateRepository"))
async def create_repository(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a repository. It stays empty: there is no registry to push to.

    Raises:
        RepositoryAlreadyExistsException: the name is taken.
        InvalidParameterException: a bad name, or what is not supported, by name.
    """
    own_registry(call, request)
    name, tags = str(request["repositoryName"]), _tags(request)
    if not 2 <= len(name) <= 256 or not _NAME.fullmatch(name):
        raise errors.InvalidParameterException(
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression "
            f"'{_NAME.pattern}''"
        )
    encryption: Mapping[str, Any] = request.get("encryptionConfiguration") or {}
    if encryption.get("encryptionType", "AES256") != "AES256" or encryption.get("kmsKey"):
        raise errors.InvalidParameterException("encryptionConfiguration other than AES256 is not supported here")
    if len(tags) > TAGS_MAX:
        raise errors.TooManyTagsException(f"A repository can have at most {TAGS_MAX} tags")
    scanning: Mapping[str, Any] = request.get("imageScanningConfiguration") or {}
    made = Repository(
        call.account, call.region, name, call.now.timestamp(), _mutability(request),
        bool(scanning.get("scanOnPush", False)), tags,
    )  # fmt: skip

    def publish(tx: Tx) -> None:
        if tables.find(tx, call.account, call.region, name) is not None:
            raise errors.RepositoryAlreadyExistsException(
                f"The repository with name '{name}' already exists in the registry with id '{call.account}'"
            )
        if len(tables.every(tx, call.account, call.region)) >= REPOSITORIES_MAX:
            raise errors.LimitExceededException(f"A registry can have {REPOSITORIES_MAX} repositories")
        tables.put(tx, made)

    await call.doors.database.write(publish)
    return {"repository": _view(made)}


@operation("DescribeRepositories", needs=needs.on_names)
async def describe_repositories(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Repositories by name, or all of them by pages.

    Raises:
        RepositoryNotFoundException: one that is named does not exist.
    """
    own_registry(call, request)
    names = [str(name) for name in request.get("repositoryNames") or ()]
    if names:
        found = call.doors.database.read(lambda db: [existing(db, call, name) for name in names])
        return {"repositories": [_view(one) for one in found]}
    after, most = str(request.get("nextToken", "")), int(request.get("maxResults", _PAGE))
    found = call.doors.database.read(lambda db: tables.every(db, call.account, call.region))
    found = [one for one in found if one.name > after]
    shown = {"repositories": [_view(one) for one in found[:most]]}
    return {**shown, "nextToken": found[most - 1].name} if len(found) > most else shown


@operation("DeleteRepository", needs=needs.on_name("DeleteRepository"))
async def delete_repository(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a repository; it is empty always, so `force` makes no difference.

    Raises:
        RepositoryNotFoundException: there is none of that name.
    """
    own_registry(call, request)

    def publish(tx: Tx) -> Repository:
        found = existing(tx, call, str(request["repositoryName"]))
        tables.drop(tx, found)
        return found

    return {"repository": _view(await call.doors.database.write(publish))}


@operation("PutImageTagMutability", needs=needs.on_name("PutImageTagMutability"))
async def put_image_tag_mutability(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether tags of images may be overwritten."""
    own_registry(call, request)
    wanted = _mutability(request)

    def publish(tx: Tx) -> Repository:
        made = replace(existing(tx, call, str(request["repositoryName"])), mutability=wanted)
        tables.put(tx, made)
        return made

    made = await call.doors.database.write(publish)
    return {"registryId": made.account, "repositoryName": made.name, "imageTagMutability": made.mutability}


@operation("PutImageScanningConfiguration", needs=needs.on_name("PutImageScanningConfiguration"))
async def put_image_scanning_configuration(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether images shall be scanned when they are pushed."""
    own_registry(call, request)
    on = bool(request["imageScanningConfiguration"].get("scanOnPush", False))

    def publish(tx: Tx) -> Repository:
        made = replace(existing(tx, call, str(request["repositoryName"])), scan_on_push=on)
        tables.put(tx, made)
        return made

    made = await call.doors.database.write(publish)
    return {
        "registryId": made.account,
        "repositoryName": made.name,
        "imageScanningConfiguration": {"scanOnPush": made.scan_on_push},
    }


def _of_arn(db: Reader, call: Call, request: Mapping[str, Any]) -> Repository:
    try:
        named = Arn.parse(str(request["resourceArn"]))
    except ValueError as error:
        raise errors.InvalidParameterException("Invalid parameter at 'resourceArn'") from error
    if (named.service, named.region, named.account) != ("ecr", call.region, call.account):
        raise errors.InvalidParameterException("Invalid parameter at 'resourceArn'")
    return existing(db, call, named.resource.removeprefix("repository/"))


@operation("TagResource", needs=needs.on_arn("TagResource"))
async def tag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give tags to a repository."""
    given = _tags(request)

    def publish(tx: Tx) -> None:
        found = _of_arn(tx, call, request)
        tags = {**found.tags, **given}
        if len(tags) > TAGS_MAX:
            raise errors.TooManyTagsException(f"A repository can have at most {TAGS_MAX} tags")
        tables.put(tx, replace(found, tags=tags))

    await call.doors.database.write(publish)
    return {}


@operation("UntagResource", needs=needs.on_arn("UntagResource"))
async def untag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take tags from a repository."""
    gone = {str(key) for key in request["tagKeys"]}

    def publish(tx: Tx) -> None:
        found = _of_arn(tx, call, request)
        tables.put(tx, replace(found, tags={k: v for k, v in found.tags.items() if k not in gone}))

    await call.doors.database.write(publish)
    return {}


@operation("ListTagsForResource", needs=needs.on_arn("ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The tags of a repository."""
    found = call.doors.database.read(lambda db: _of_arn(db, call, request))
    return {"tags": [{"Key": key, "Value": value} for key, value in found.tags.items()]}

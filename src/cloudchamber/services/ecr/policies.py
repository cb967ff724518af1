# SPDX-License-Identifier: Apache-2.0
"""Policies of repositories: who may use them, and how long images shall stay. Source: Amazon ECR API Reference."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ecr import document, errors, needs, tables
from cloudchamber.services.ecr.repositories import existing, own_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.ecr.tables import Repository
    from cloudchamber.store.database import Tx

LIFECYCLE_MAX_BYTES = 30_720


def _found(call: Call, request: Mapping[str, Any]) -> Repository:
    own_registry(call, request)
    return call.doors.database.read(lambda db: existing(db, call, str(request["repositoryName"])))


async def _change(call: Call, found: Repository, **values: str) -> None:
    def publish(tx: Tx) -> None:
        tables.put(tx, replace(existing(tx, call, found.name), **values))  # pyright: ignore[reportArgumentType] - texts only

    await call.doors.database.write(publish)


def _policy(found: Repository, text: str) -> dict[str, Any]:
    if not text:
        raise errors.RepositoryPolicyNotFoundException(
            f"Repository policy does not exist for the repository with name '{found.name}' in the registry with id "
            f"'{found.account}'"
        )
    return {"registryId": found.account, "repositoryName": found.name, "policyText": text}


def _lifecycle(found: Repository, text: str) -> dict[str, Any]:
    if not text:
        raise errors.LifecyclePolicyNotFoundException(
            f"Lifecycle policy does not exist for the repository with name '{found.name}' in the registry with id "
            f"'{found.account}'"
        )
    return {"registryId": found.account, "repositoryName": found.name, "lifecyclePolicyText": text}


@operation("SetRepositoryPolicy", needs=needs.on_name("SetRepositoryPolicy"))
async def set_repository_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set who may use a repository, for decisions from then on.

    Raises:
        InvalidParameterException: it is no policy.
    """
    found, text = _found(call, request), str(request["policyText"])
    document.check(found.name, text)
    await _change(call, found, policy=text)
    return _policy(found, text)


@operation("GetRepositoryPolicy", needs=needs.on_name("GetRepositoryPolicy"))
async def get_repository_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The policy of a repository."""
    found = _found(call, request)
    return _policy(found, found.policy)


@operation("DeleteRepositoryPolicy", needs=needs.on_name("DeleteRepositoryPolicy"))
async def delete_repository_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take the policy from a repository."""
    found = _found(call, request)
    gone = _policy(found, found.policy)
    await _change(call, found, policy="")
    return gone


@operation("PutLifecyclePolicy", needs=needs.on_name("PutLifecyclePolicy"))
async def put_lifecycle_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Say how long images shall stay: there are none to go.

    Raises:
        InvalidParameterException: it has no rules.
    """
    found, text = _found(call, request), str(request["lifecyclePolicyText"])
    try:
        rules: Any = json.loads(text)["rules"]
    except (ValueError, KeyError, TypeError, RecursionError):
        rules = None
    if not isinstance(rules, list) or not rules or len(text.encode()) > LIFECYCLE_MAX_BYTES:
        raise errors.InvalidParameterException(
            "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation "
            "failure: rules are missing'"
        )
    await _change(call, found, lifecycle=text)
    return _lifecycle(found, text)


@operation("GetLifecyclePolicy", needs=needs.on_name("GetLifecyclePolicy"))
async def get_lifecycle_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The lifecycle policy of a repository."""
    found = _found(call, request)
    return _lifecycle(found, found.lifecycle)


@operation("DeleteLifecyclePolicy", needs=needs.on_name("DeleteLifecyclePolicy"))
async def delete_lifecycle_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take the lifecycle policy from a repository."""
    found = _found(call, request)
    gone = _lifecycle(found, found.lifecycle)
    await _change(call, found, lifecycle="")
    return gone


@operation("ListImages", needs=needs.on_name("ListImages"))
async def list_images(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The images of a repository: none."""
    _found(call, request)
    return {"imageIds": []}

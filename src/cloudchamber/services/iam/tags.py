# SPDX-License-Identifier: Apache-2.0
"""Tags of users, roles, instance profiles, managed policies, MFA devices, server certificates and identity
providers; and permissions boundaries of users and roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import (
    devices,
    documents,
    entities,
    linked,
    managed,
    needs,
    oidc,
    saml,
    server_certificates,
    tables,
)
from cloudchamber.services.iam.errors import NoSuchEntity
from cloudchamber.services.iam.names import WORDS, Kind, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]
    Run = Callable[[Call, Request], Awaitable[dict[str, Any]]]


Carrier: TypeAlias = "Kind | Literal['policy', 'mfa', 'server-certificate', 'oidc', 'saml']"


def _arn(db: Reader, call: Call, kind: Carrier, request: Request) -> str:
    """ARN of what carries the tags."""
    if kind == "policy":
        return managed.find(db, request["PolicyArn"]).arn
    if kind == "mfa":
        return devices.get(db, call.account, request["SerialNumber"]).serial
    if kind == "server-certificate":
        return server_certificates.get(db, call.account, request["ServerCertificateName"]).arn
    if kind == "oidc":
        return oidc.find(db, call, request).arn
    if kind == "saml":
        return saml.find(db, call, request).arn
    return tables.get(db, call.account, kind, request[f"{WORDS[kind].title}Name"]).arn


def _changed(db: Reader, call: Call, kind: Carrier, request: Request) -> str:
    """ARN of what carries the tags, if they may be changed: those of AWS's own policies may not."""
    if kind == "policy":
        return managed.own(db, request["PolicyArn"]).arn
    return _arn(db, call, kind, request)


def _tag(kind: Carrier) -> Run:
    async def tag(call: Call, request: Request) -> dict[str, Any]:
        """Add tags, replacing those of the same key. Source: IAM API Reference, TagRole."""

        def change(tx: Tx) -> None:
            tables.put_tags(tx, _changed(tx, call, kind, request), request["Tags"])

        await call.doors.database.write(change)
        return {}

    return tag


def _untag(kind: Carrier) -> Run:
    async def untag(call: Call, request: Request) -> dict[str, Any]:
        """Remove tags by key. Source: IAM API Reference, UntagRole."""

        def change(tx: Tx) -> None:
            arn = _changed(tx, call, kind, request)
            tx.executemany("DELETE FROM iam_tags WHERE arn = ? AND key = ?", [(arn, key) for key in request["TagKeys"]])

        await call.doors.database.write(change)
        return {}

    return untag


def _list(kind: Carrier) -> Run:
    async def list_tags(call: Call, request: Request) -> dict[str, Any]:
        """Tags, by key. Source: IAM API Reference, ListRoleTags."""

        def look(db: Reader) -> dict[str, Any]:
            told = tables.tag_list(tables.tags(db, _arn(db, call, kind, request)))
            some, more = page(request, sorted(told, key=lambda one: one["Key"]), lambda one: one["Key"])
            return {"Tags": list(some)} | more

        return call.doors.database.read(look)

    return list_tags


def _put_boundary(kind: Kind) -> Run:
    async def put_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Set the boundary. Source: IAM API Reference, PutRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            documents.boundary(tx, call.account, request["PermissionsBoundary"])
            entities.change(tx, call.account, kind, found.name, "boundary", request["PermissionsBoundary"])

        await call.doors.database.write(change)
        return {}

    return put_boundary


def _delete_boundary(kind: Kind) -> Run:
    async def delete_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Remove the boundary. Source: IAM API Reference, DeleteRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            if not found.boundary:
                raise NoSuchEntity(f"{kind.capitalize()} {found.name} has no permissions boundary.")
            entities.change(tx, call.account, kind, found.name, "boundary", "")

        await call.doors.database.write(change)
        return {}

    return delete_boundary


tag_user = operation("TagUser", needs=needs.entity("TagUser", "user"))(_tag("user"))
tag_role = operation("TagRole", needs=needs.entity("TagRole", "role"))(_tag("role"))
tag_instance_profile = operation("TagInstanceProfile", needs=needs.entity("TagInstanceProfile", "instance-profile"))(
    _tag("instance-profile")
)
tag_policy = operation("TagPolicy", needs=needs.managed("TagPolicy"))(_tag("policy"))
untag_user = operation("UntagUser", needs=needs.entity("UntagUser", "user"))(_untag("user"))
untag_role = operation("UntagRole", needs=needs.entity("UntagRole", "role"))(_untag("role"))
untag_instance_profile = operation(
    "UntagInstanceProfile", needs=needs.entity("UntagInstanceProfile", "instance-profile")
)(_untag("instance-profile"))
untag_policy = operation("UntagPolicy", needs=needs.managed("UntagPolicy"))(_untag("policy"))
list_user_tags = operation("ListUserTags", needs=needs.entity("ListUserTags", "user"))(_list("user"))
list_role_tags = operation("ListRoleTags", needs=needs.entity("ListRoleTags", "role"))(_list("role"))
list_instance_profile_tags = operation(
    "ListInstanceProfileTags", needs=needs.entity("ListInstanceProfileTags", "instance-profile")
)(_list("instance-profile"))
list_policy_tags = operation("ListPolicyTags", needs=needs.managed("ListPolicyTags"))(_list("policy"))
tag_mfa_device = operation("TagMFADevice", needs=devices.on_device("TagMFADevice"))(_tag("mfa"))
untag_mfa_device = operation("UntagMFADevice", needs=devices.on_device("UntagMFADevice"))(_untag("mfa"))
list_mfa_device_tags = operation("ListMFADeviceTags", needs=devices.on_device("ListMFADeviceTags"))(_list("mfa"))
tag_server_certificate = operation(
    "TagServerCertificate", needs=server_certificates.on_certificate("TagServerCertificate")
)(_tag("server-certificate"))
untag_server_certificate = operation(
    "UntagServerCertificate", needs=server_certificates.on_certificate("UntagServerCertificate")
)(_untag("server-certificate"))
list_server_certificate_tags = operation(
    "ListServerCertificateTags", needs=server_certificates.on_certificate("ListServerCertificateTags")
)(_list("server-certificate"))
put_user_permissions_boundary = operation(
    "PutUserPermissionsBoundary", needs=needs.entity("PutUserPermissionsBoundary", "user", keys=("boundary",))
)(_put_boundary("user"))
put_role_permissions_boundary = operation(
    "PutRolePermissionsBoundary", needs=needs.entity("PutRolePermissionsBoundary", "role", keys=("boundary",))
)(_put_boundary("role"))
delete_user_permissions_boundary = operation(
    "DeleteUserPermissionsBoundary", needs=needs.entity("DeleteUserPermissionsBoundary", "user", keys=("boundary",))
)(_delete_boundary("user"))
delete_role_permissions_boundary = operation(
    "DeleteRolePermissionsBoundary", needs=needs.entity("DeleteRolePermissionsBoundary", "role", keys=("boundary",))
)(_delete_boundary("role"))
tag_open_id_connect_provider = operation(
    "TagOpenIDConnectProvider", needs=needs.on("TagOpenIDConnectProvider", oidc.MEMBER)
)(_tag("oidc"))
untag_open_id_connect_provider = operation(
    "UntagOpenIDConnectProvider", needs=needs.on("UntagOpenIDConnectProvider", oidc.MEMBER)
)(_untag("oidc"))
list_open_id_connect_provider_tags = operation(
    "ListOpenIDConnectProviderTags", needs=needs.on("ListOpenIDConnectProviderTags", oidc.MEMBER)
)(_list("oidc"))
tag_saml_provider = operation("TagSAMLProvider", needs=needs.on("TagSAMLProvider", saml.MEMBER))(_tag("saml"))
untag_saml_provider = operation("UntagSAMLProvider", needs=needs.on("UntagSAMLProvider", saml.MEMBER))(_untag("saml"))
list_saml_provider_tags = operation("ListSAMLProviderTags", needs=needs.on("ListSAMLProviderTags", saml.MEMBER))(
    _list("saml")
)

# SPDX-License-Identifier: Apache-2.0
"""Instance profiles: how a role gets to an EC2 instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import entities, linked, needs, tables
from cloudchamber.services.iam.errors import DeleteConflict, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


def _add_role(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """AddRoleToInstanceProfile hands the role to EC2, so that it needs PassRole too."""
    yield from needs.entity("AddRoleToInstanceProfile", "instance-profile")(call, request)
    for need in needs.entity("PassRole", "role")(call, request):
        yield Need(need.action, need.resource, {"iam:PassedToService": "ec2.amazonaws.com"})


@operation("CreateInstanceProfile", needs=needs.create("CreateInstanceProfile", "instance-profile"))
async def create_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make an instance profile without a role. Source: IAM API Reference, CreateInstanceProfile."""

    def change(tx: Tx) -> dict[str, Any]:
        return tables.shape(tx, entities.create(tx, call, "instance-profile", request))

    return {"InstanceProfile": await call.doors.database.write(change)}


@operation("GetInstanceProfile", needs=needs.entity("GetInstanceProfile", "instance-profile"))
async def get_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """An instance profile with its role. Source: IAM API Reference, GetInstanceProfile."""
    return {"InstanceProfile": entities.shape(call, "instance-profile", request["InstanceProfileName"])}


@operation("ListInstanceProfiles", needs=needs.listing("ListInstanceProfiles", "instance-profile"))
async def list_instance_profiles(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Instance profiles below a path prefix, by name. Source: IAM API Reference, ListInstanceProfiles."""

    def look(db: Reader) -> dict[str, Any]:
        found = tables.listed(db, call.account, "instance-profile", request.get("PathPrefix", "/"))
        some, more = page(request, found, lambda profile: profile.name.lower())
        return {"InstanceProfiles": [tables.shape(db, one, whole=False) for one in some]} | more

    return call.doors.database.read(look)


@operation("ListInstanceProfilesForRole", needs=needs.entity("ListInstanceProfilesForRole", "role"))
async def list_instance_profiles_for_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The instance profiles that a role is in. Source: IAM API Reference, ListInstanceProfilesForRole."""

    def look(db: Reader) -> dict[str, Any]:
        role = tables.get(db, call.account, "role", request["RoleName"])
        some, more = page(
            request, tables.collections(db, "instance-profile", role), lambda profile: profile.name.lower()
        )
        return {"InstanceProfiles": [tables.shape(db, one, whole=False) for one in some]} | more

    return call.doors.database.read(look)


@operation("DeleteInstanceProfile", needs=needs.entity("DeleteInstanceProfile", "instance-profile"))
async def delete_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove an instance profile without a role. Source: IAM API Reference, DeleteInstanceProfile."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "instance-profile", request["InstanceProfileName"])
        if tables.members(tx, found):
            raise DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
        entities.delete(tx, found, call.doors)

    await call.doors.database.write(change)
    return {}


@operation("AddRoleToInstanceProfile", needs=_add_role)
async def add_role_to_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put a role into an instance profile, which holds one. Source: IAM API Reference, AddRoleToInstanceProfile."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "instance-profile", request["InstanceProfileName"])
        role = linked.changeable(tx, call.account, "role", request["RoleName"])
        if tables.members(tx, found):
            raise LimitExceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
        tx.execute(
            "INSERT INTO iam_members (account, member, collection, kind) VALUES (?, ?, ?, 'instance-profile')",
            (call.account, role.name, found.name),
        )

    await call.doors.database.write(change)
    return {}


@operation("RemoveRoleFromInstanceProfile", needs=needs.entity("RemoveRoleFromInstanceProfile", "instance-profile"))
async def remove_role_from_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take the role out of an instance profile. Source: IAM API Reference, RemoveRoleFromInstanceProfile."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "instance-profile", request["InstanceProfileName"])
        name = request["RoleName"]
        gone = tx.execute(
            "DELETE FROM iam_members WHERE account = ? AND kind = 'instance-profile' AND collection = ? AND member = ?",
            (call.account, found.name, name),
        )
        if not gone.rowcount:
            raise NoSuchEntity(f"The role with name {name} cannot be found.")

    await call.doors.database.write(change)
    return {}

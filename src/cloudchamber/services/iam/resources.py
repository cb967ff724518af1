# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::IAM types: Role, InstanceProfile, User, Group, AccessKey.

Source: AWS CloudFormation Template Reference, AWS::IAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.iam import policy_resources, provider_resources
from cloudchamber.services.iam.errors import NoSuchEntity
from cloudchamber.services.iam.names import WORDS, Kind
from cloudchamber.services.iam.policy_resources import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.resource import Agent, Properties

_TAG = {"Key": Property(required=True), "Value": Property(required=True)}
_INLINE = {"PolicyName": Property(required=True), "PolicyDocument": Property(required=True)}


def tags_of(agent: Agent, properties: Properties) -> list[dict[str, str]]:
    """A resource's tags, the stack's own included; those that begin with ``aws:`` no client may set."""
    found = {k: v for k, v in agent.stack_tags.items() if not k.startswith("aws:")}
    found |= {str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags", ())}
    return [{"Key": key, "Value": value} for key, value in found.items()]


async def settle(agent: Agent, kind: Kind, name: str, old: Properties, new: Properties) -> None:
    """Bring an entity's policies, tags and groups from `old` to `new`; additions first, so that nothing is missing."""
    title = WORDS[kind].title
    who = {f"{title}Name": name}
    was = {str(p["PolicyName"]): as_text(p["PolicyDocument"]) for p in old.get("Policies", ())}
    now = {str(p["PolicyName"]): as_text(p["PolicyDocument"]) for p in new.get("Policies", ())}
    for policy, text in now.items():
        if was.get(policy) != text:
            await agent.ask("iam", f"Put{title}Policy", who | {"PolicyName": policy, "PolicyDocument": text})
    for arn in _new(old, new, "ManagedPolicyArns"):
        await agent.ask("iam", f"Attach{title}Policy", who | {"PolicyArn": arn})
    for group in _new(old, new, "Groups"):
        await agent.ask("iam", "AddUserToGroup", who | {"GroupName": group})
    for policy in was.keys() - now.keys():
        await gone(agent, f"Delete{title}Policy", who | {"PolicyName": policy})
    for arn in _new(new, old, "ManagedPolicyArns"):
        await gone(agent, f"Detach{title}Policy", who | {"PolicyArn": arn})
    for group in _new(new, old, "Groups"):
        await gone(agent, "RemoveUserFromGroup", who | {"GroupName": group})


def _new(old: Properties, new: Properties, name: str) -> Iterable[str]:
    before = set(old.get(name, ()))
    return [one for one in dict.fromkeys(new.get(name, ())) if one not in before]


async def gone(agent: Agent, operation: str, request: Mapping[str, Any]) -> None:
    """Do what removes something; that it is gone already is a success."""
    try:
        await agent.ask("iam", operation, request)
    except NoSuchEntity:
        return


async def _retag(agent: Agent, kind: Kind, name: str, old: Properties, new: Properties) -> None:
    title = WORDS[kind].title
    who = {f"{title}Name": name}
    now = tags_of(agent, new)
    keys = {tag["Key"] for tag in now}
    dropped = [str(tag["Key"]) for tag in old.get("Tags", ()) if str(tag["Key"]) not in keys]
    if dropped:
        await agent.ask("iam", f"Untag{title}", who | {"TagKeys": dropped})
    if now:
        await agent.ask("iam", f"Tag{title}", who | {"Tags": now})


async def _bound(agent: Agent, kind: Kind, name: str, old: Properties, new: Properties) -> None:
    title = WORDS[kind].title
    before, after = old.get("PermissionsBoundary"), new.get("PermissionsBoundary")
    if after and after != before:
        request = {f"{title}Name": name, "PermissionsBoundary": after}
        await agent.ask("iam", f"Put{title}PermissionsBoundary", request)
    elif before and not after:
        await gone(agent, f"Delete{title}PermissionsBoundary", {f"{title}Name": name})


async def _whole(agent: Agent, kind: Kind, name: str, properties: Properties) -> None:
    """Add what belongs to a new entity; if that fails, take the entity away again."""
    try:
        if kind == "user":
            await _login(agent, name, {}, properties)
        await settle(agent, kind, name, {}, properties)
    except ServiceError:
        await _remove(agent, kind, name)
        raise


async def _remove(agent: Agent, kind: Kind, name: str) -> None:
    """Remove an entity with everything that is attached to it, whoever attached it."""
    title = WORDS[kind].title
    who = {f"{title}Name": name}
    try:
        inline = await agent.ask("iam", f"List{title}Policies", who)
        attached = await agent.ask("iam", f"ListAttached{title}Policies", who)
    except NoSuchEntity:
        return
    for policy in inline["PolicyNames"]:
        await gone(agent, f"Delete{title}Policy", who | {"PolicyName": policy})
    for policy in attached["AttachedPolicies"]:
        await gone(agent, f"Detach{title}Policy", who | {"PolicyArn": policy["PolicyArn"]})
    if kind == "user":
        await gone(agent, "DeleteLoginProfile", who)
        for group in (await agent.ask("iam", "ListGroupsForUser", who))["Groups"]:
            await gone(agent, "RemoveUserFromGroup", who | {"GroupName": group["GroupName"]})
    if kind == "group":
        for user in (await agent.ask("iam", "GetGroup", who))["Users"]:
            await gone(agent, "RemoveUserFromGroup", who | {"UserName": user["UserName"]})
    await gone(agent, f"Delete{title}", who)


def _request(agent: Agent, properties: Properties, *members: str) -> dict[str, Any]:
    request = {name: properties[name] for name in members if name in properties}
    tags = tags_of(agent, properties)
    return request | {"Tags": tags} if tags else request


async def _create_role(agent: Agent, properties: Properties) -> Made:
    request = _request(agent, properties, "Path", "Description", "PermissionsBoundary")
    request["RoleName"] = properties.get("RoleName") or agent.name(64)
    request["AssumeRolePolicyDocument"] = as_text(properties["AssumeRolePolicyDocument"])
    if "MaxSessionDuration" in properties:
        request["MaxSessionDuration"] = int(properties["MaxSessionDuration"])
    role = (await agent.ask("iam", "CreateRole", request))["Role"]
    await _whole(agent, "role", role["RoleName"], properties)
    return _made_role(role)


async def _update_role(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    trust = as_text(new["AssumeRolePolicyDocument"])
    if trust != as_text(old["AssumeRolePolicyDocument"]):
        request = {"RoleName": physical_id, "PolicyDocument": trust}
        await agent.ask("iam", "UpdateAssumeRolePolicy", request)
    request = {"RoleName": physical_id, "Description": new.get("Description", "")}
    request["MaxSessionDuration"] = int(new.get("MaxSessionDuration", 3600))
    await agent.ask("iam", "UpdateRole", request)
    await _bound(agent, "role", physical_id, old, new)
    await _retag(agent, "role", physical_id, old, new)
    await settle(agent, "role", physical_id, old, new)
    return _made_role((await agent.ask("iam", "GetRole", {"RoleName": physical_id}))["Role"])


def _made_role(role: Mapping[str, Any]) -> Made:
    return Made(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def _create_profile(agent: Agent, properties: Properties) -> Made:
    name = properties.get("InstanceProfileName") or agent.name(128)
    request = {"InstanceProfileName": name} | ({"Path": properties["Path"]} if "Path" in properties else {})
    profile = (await agent.ask("iam", "CreateInstanceProfile", request))["InstanceProfile"]
    try:
        for role in properties["Roles"]:
            await agent.ask("iam", "AddRoleToInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
    except ServiceError:
        await _delete_profile(agent, name, properties)
        raise
    return Made(name, {"Arn": profile["Arn"]})


async def _update_profile(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    who = {"InstanceProfileName": physical_id}
    for role in _new(new, old, "Roles"):
        await gone(agent, "RemoveRoleFromInstanceProfile", who | {"RoleName": role})
    for role in _new(old, new, "Roles"):
        await agent.ask("iam", "AddRoleToInstanceProfile", who | {"RoleName": role})
    profile = (await agent.ask("iam", "GetInstanceProfile", who))["InstanceProfile"]
    return Made(physical_id, {"Arn": profile["Arn"]})


async def _delete_profile(agent: Agent, physical_id: str, properties: Properties) -> None:
    who = {"InstanceProfileName": physical_id}
    try:
        profile = (await agent.ask("iam", "GetInstanceProfile", who))["InstanceProfile"]
    except NoSuchEntity:
        return
    for role in profile["Roles"]:
        await gone(agent, "RemoveRoleFromInstanceProfile", who | {"RoleName": role["RoleName"]})
    await gone(agent, "DeleteInstanceProfile", who)


async def _create_user(agent: Agent, properties: Properties) -> Made:
    request = _request(agent, properties, "Path", "PermissionsBoundary")
    request["UserName"] = properties.get("UserName") or agent.name(64)
    user = (await agent.ask("iam", "CreateUser", request))["User"]
    await _whole(agent, "user", user["UserName"], properties)
    return Made(user["UserName"], {"Arn": user["Arn"]})


async def _login(agent: Agent, name: str, old: Properties, new: Properties) -> None:
    """Bring a user's password from `old` to `new`."""
    before, after = old.get("LoginProfile"), new.get("LoginProfile")
    if after == before:
        return
    if not after:
        await gone(agent, "DeleteLoginProfile", {"UserName": name})
        return
    request = {"UserName": name, "Password": after["Password"]}
    request["PasswordResetRequired"] = str(after.get("PasswordResetRequired", False)).lower() == "true"
    await agent.ask("iam", "UpdateLoginProfile" if before else "CreateLoginProfile", request)


async def _update_user(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    if new.get("Path", "/") != old.get("Path", "/"):
        await agent.ask("iam", "UpdateUser", {"UserName": physical_id, "NewPath": new.get("Path", "/")})
    await _bound(agent, "user", physical_id, old, new)
    await _retag(agent, "user", physical_id, old, new)
    await _login(agent, physical_id, old, new)
    await settle(agent, "user", physical_id, old, new)
    return Made(physical_id, {"Arn": (await agent.ask("iam", "GetUser", {"UserName": physical_id}))["User"]["Arn"]})


async def _create_group(agent: Agent, properties: Properties) -> Made:
    request = {"GroupName": properties.get("GroupName") or agent.name(128)}
    if "Path" in properties:
        request["Path"] = properties["Path"]
    group = (await agent.ask("iam", "CreateGroup", request))["Group"]
    await _whole(agent, "group", group["GroupName"], properties)
    return Made(group["GroupName"], {"Arn": group["Arn"]})


async def _update_group(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    if new.get("Path", "/") != old.get("Path", "/"):
        await agent.ask("iam", "UpdateGroup", {"GroupName": physical_id, "NewPath": new.get("Path", "/")})
    await settle(agent, "group", physical_id, old, new)
    return Made(physical_id, {"Arn": (await agent.ask("iam", "GetGroup", {"GroupName": physical_id}))["Group"]["Arn"]})


async def _create_key(agent: Agent, properties: Properties) -> Made:
    user = properties["UserName"]
    key = (await agent.ask("iam", "CreateAccessKey", {"UserName": user}))["AccessKey"]
    agent.begun(key["AccessKeyId"])
    if properties.get("Status", "Active") != "Active":
        request = {"UserName": user, "AccessKeyId": key["AccessKeyId"], "Status": properties["Status"]}
        await agent.ask("iam", "UpdateAccessKey", request)
    return Made(key["AccessKeyId"], {"SecretAccessKey": key["SecretAccessKey"]})


async def _delete_key(agent: Agent, physical_id: str, properties: Properties) -> None:
    await gone(agent, "DeleteAccessKey", {"UserName": properties["UserName"], "AccessKeyId": physical_id})


async def _delete_role(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _remove(agent, "role", physical_id)


async def _delete_user(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _remove(agent, "user", physical_id)


async def _delete_group(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _remove(agent, "group", physical_id)


ROLE = ResourceType(
    "AWS::IAM::Role",
    {
        "AssumeRolePolicyDocument": Property(required=True),
        "Description": Property(),
        "ManagedPolicyArns": Property(),
        "MaxSessionDuration": Property(),
        "Path": Property("replace"),
        "PermissionsBoundary": Property(),
        "Policies": Property(shape=_INLINE),
        "RoleName": Property("replace"),
        "Tags": Property(shape=_TAG),
    },
    _create_role,
    _delete_role,
    _update_role,
    ("Arn", "RoleId"),
)
INSTANCE_PROFILE = ResourceType(
    "AWS::IAM::InstanceProfile",
    {
        "InstanceProfileName": Property("replace"),
        "Path": Property("replace"),
        "Roles": Property(required=True),
    },
    _create_profile,
    _delete_profile,
    _update_profile,
    ("Arn",),
)
USER = ResourceType(
    "AWS::IAM::User",
    {
        "Groups": Property(),
        "LoginProfile": Property(shape={"Password": Property(required=True), "PasswordResetRequired": Property()}),
        "ManagedPolicyArns": Property(),
        "Path": Property(),
        "PermissionsBoundary": Property(),
        "Policies": Property(shape=_INLINE),
        "Tags": Property(shape=_TAG),
        "UserName": Property("replace"),
    },
    _create_user,
    _delete_user,
    _update_user,
    ("Arn",),
)
GROUP = ResourceType(
    "AWS::IAM::Group",
    {
        "GroupName": Property("replace"),
        "ManagedPolicyArns": Property(),
        "Path": Property(),
        "Policies": Property(shape=_INLINE),
    },
    _create_group,
    _delete_group,
    _update_group,
    ("Arn",),
)
ACCESS_KEY = ResourceType(
    "AWS::IAM::AccessKey",
    {
        "Serial": Property("replace"),
        "Status": Property("replace"),
        "UserName": Property("replace", required=True),
    },
    _create_key,
    _delete_key,
    attributes=("SecretAccessKey",),
)

RESOURCES = (
    ROLE,
    INSTANCE_PROFILE,
    USER,
    GROUP,
    ACCESS_KEY,
    *policy_resources.RESOURCES,
    *provider_resources.RESOURCES,
)

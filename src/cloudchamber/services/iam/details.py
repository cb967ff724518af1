# SPDX-License-Identifier: Apache-2.0
"""Everything that decides who may do what in an account, in one answer: GetAccountAuthorizationDetails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import aws_managed, last_used, managed, needs, tables
from cloudchamber.services.iam.names import WORDS, Kind, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader

_KINDS: Mapping[str, Kind] = {"User": "user", "Group": "group", "Role": "role"}
_ORDER = ("User", "Group", "Role", "policy")
_ALL = ("User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy")


@operation("GetAccountAuthorizationDetails", needs=needs.account("GetAccountAuthorizationDetails"))
async def get_account_authorization_details(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Users, groups, roles and policies with all that belongs to them; of AWS's own policies those in use. Source: IAM
    API Reference, GetAccountAuthorizationDetails."""
    wanted = request.get("Filter") or _ALL

    def look(db: Reader) -> dict[str, Any]:
        items: list[tuple[str, str, Entity | str]] = []
        for title in _KINDS:
            if title in wanted:
                items += [(title, one.arn, one) for one in tables.listed(db, call.account, _KINDS[title], "/")]
        for arn in _policies(db, call.account, "LocalManagedPolicy" in wanted, "AWSManagedPolicy" in wanted):
            items.append(("policy", arn, arn))
        items.sort(key=_key)
        some, told = page(request, items, _key)
        told["UserDetailList"] = [_user(db, one) for t, _, one in some if t == "User" and not isinstance(one, str)]
        told["GroupDetailList"] = [_owner(db, one) for t, _, one in some if t == "Group" and not isinstance(one, str)]
        told["RoleDetailList"] = [
            _role(db, call, one) for t, _, one in some if t == "Role" and not isinstance(one, str)
        ]
        told["Policies"] = [_policy(db, call.account, one) for _, _, one in some if isinstance(one, str)]
        return told

    return call.doors.database.read(look)


def _key(item: tuple[str, str, object]) -> str:
    """What a page begins after: the kinds follow one another, each by ARN."""
    return f"{_ORDER.index(item[0])} {item[1]}"


def _policies(db: Reader, account: str, own: bool, aws: bool) -> list[str]:
    found: list[str] = []
    if own:
        found += [row[0] for row in db.execute("SELECT arn FROM iam_policies WHERE account = ?", (account,))]
    if aws:
        used = {row[0] for row in db.execute("SELECT DISTINCT arn FROM iam_attached WHERE account = ?", (account,))}
        sql = "SELECT DISTINCT boundary FROM iam_entities WHERE account = ?"
        used |= {row[0] for row in db.execute(sql, (account,))}
        found += [arn for arn in aws_managed.arns() if arn in used]
    return found


def _owner(db: Reader, one: Entity) -> dict[str, Any]:
    """What the details of users, groups and roles have in common."""
    title = WORDS[one.kind].title
    attached = (tables.managed(db, arn) for arn in tables.attached(db, one))
    told: dict[str, Any] = {
        "Path": one.path,
        f"{title}Name": one.name,
        f"{title}Id": one.id,
        "Arn": one.arn,
        "CreateDate": tables.moment(one.created),
        f"{title}PolicyList": [
            {"PolicyName": name, "PolicyDocument": quote(text, safe="")} for name, text in tables.inline(db, one)
        ],
        "AttachedManagedPolicies": [
            {"PolicyName": known.name, "PolicyArn": known.arn} for known in attached if known is not None
        ],
    }
    if one.boundary:
        told["PermissionsBoundary"] = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": one.boundary}
    if one.kind != "group":
        told["Tags"] = tables.tag_list(tables.tags(db, one.arn))
    return told


def _user(db: Reader, one: Entity) -> dict[str, Any]:
    return _owner(db, one) | {"GroupList": [group.name for group in tables.collections(db, "group", one)]}


def _role(db: Reader, call: Call, one: Entity) -> dict[str, Any]:
    profiles = tables.collections(db, "instance-profile", one)
    return _owner(db, one) | {
        "AssumeRolePolicyDocument": quote(one.trust, safe=""),
        "InstanceProfileList": [tables.shape(db, profile, whole=False) for profile in profiles],
        "RoleLastUsed": last_used.of_role(call.doors, one, call.now),
    }


def _policy(db: Reader, account: str, arn: str) -> dict[str, Any]:
    found = managed.find(db, arn)
    told = managed.shape(db, found, account)
    told.pop("Tags")
    versions = managed.versions(db, found)
    return told | {"PolicyVersionList": [version | {"Document": quote(text, safe="")} for version, text in versions]}

# SPDX-License-Identifier: Apache-2.0
"""Access control lists: pure. How they are asked for, kept, shown, and what they allow, said as a policy.

Source: Amazon S3 User Guide, "Access control list (ACL) overview" (grantees, permissions, canned ACLs, and the table
of what each permission is as actions of a policy).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.contract.accounts import canonical_id
from cloudchamber.services.s3.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedACLError,
    MethodNotAllowed,
    MissingSecurityHeader,
    UnexpectedContent,
    UnknownCannedAcl,
    UnresolvableGrantByEmailAddress,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ENFORCED = "BucketOwnerEnforced"
ANONYMOUS_OWNER = "65a011a29cdf8ec533ec3d1ccaae921c"
"""Canonical id of whoever puts an object without a signature. Source: Amazon S3 User Guide, "ACL overview"."""
ANONYMOUS = "anonymous"
GRANTS_MAX = 100
_GROUPS = {
    "AllUsers": "http://acs.amazonaws.com/groups/global/AllUsers",
    "AuthenticatedUsers": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    "LogDelivery": "http://acs.amazonaws.com/groups/s3/LogDelivery",
}
_NAMES = {uri: name for name, uri in _GROUPS.items()}
_EC2 = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
"""Canonical id of Amazon EC2, to which `aws-exec-read` grants."""
_PUBLIC = ("group:AllUsers", "group:AuthenticatedUsers")
_HEADERS = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
_HEADER_NAMES = {
    "GrantFullControl": "x-amz-grant-full-control",
    "GrantRead": "x-amz-grant-read",
    "GrantReadACP": "x-amz-grant-read-acp",
    "GrantWrite": "x-amz-grant-write",
    "GrantWriteACP": "x-amz-grant-write-acp",
}
_PERMISSIONS = frozenset(_HEADERS.values())
_PAIR = re.compile(r'\s*(id|uri|emailaddress)\s*=\s*"?([^",]*)"?\s*', re.IGNORECASE)
_CANNED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": (("group:AllUsers", "READ"),),
    "public-read-write": (("group:AllUsers", "READ"), ("group:AllUsers", "WRITE")),
    "authenticated-read": (("group:AuthenticatedUsers", "READ"),),
    "aws-exec-read": (("service:ec2.amazonaws.com", "READ"),),
    "log-delivery-write": (("group:LogDelivery", "WRITE"), ("group:LogDelivery", "READ_ACP")),
    "bucket-owner-read": (("bucket-owner", "READ"),),
    "bucket-owner-full-control": (("bucket-owner", "FULL_CONTROL"),),
}
_ON_BUCKET: Mapping[str, tuple[str, ...]] = {
    "READ": ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"),
    # Why ACL and tags of a new object: its writer owns it, and says who else may read it and what it is
    "WRITE": ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl", "s3:PutObjectTagging"),
    "READ_ACP": ("s3:GetBucketAcl",),
    "WRITE_ACP": ("s3:PutBucketAcl",),
}
_ON_OBJECT: Mapping[str, tuple[str, ...]] = {
    "READ": ("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTorrent"),
    "WRITE": (),
    "READ_ACP": ("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    "WRITE_ACP": ("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
}


@dataclass(frozen=True, slots=True)
class Acl:
    """Owner and grants. Grantees: ``account:<id>``, ``group:<name>``, ``service:<host>``."""

    owner: str
    grants: tuple[tuple[str, str], ...]

    def kept(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {"owner": self.owner, "grants": [list(grant) for grant in self.grants]}

    @property
    def public(self) -> bool:
        """Whether it grants anything to everybody, or to everybody who signs."""
        return any(grantee in _PUBLIC for grantee, _ in self.grants)

    @property
    def private(self) -> bool:
        """Whether it grants nothing to anybody but its owner."""
        return all(grantee == f"account:{self.owner}" for grantee, _ in self.grants)


@dataclass(frozen=True, slots=True)
class People:
    """Who may be named in an ACL: accounts by canonical id, name and address; and whether names are shown."""

    accounts: Mapping[str, str]
    """Canonical id -> account."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Account -> display name, where display names are shown (they were until 2025)."""
    addresses: Mapping[str, str] | None = None
    """Address -> account, where grants by address are taken (they were until October 2025)."""


def private(account: str) -> Acl:
    """What there is where nobody said anything."""
    return Acl(account, ((f"account:{account}", "FULL_CONTROL"),))


def kept(value: Mapping[str, Any] | None, owner: str) -> Acl:
    """An ACL as JSON keeps it; None: private."""
    if value is None:
        return private(owner)
    return Acl(value["owner"], tuple((grantee, permission) for grantee, permission in value["grants"]))


def canned(name: str, owner: str, bucket_owner: str) -> Acl:
    """A canned ACL.

    Raises:
        InvalidArgument: there is none of that name.
    """
    grants = _CANNED.get(name)
    if grants is None:
        raise UnknownCannedAcl(ArgumentName="x-amz-acl", ArgumentValue=name)
    if owner == bucket_owner:
        grants = tuple(grant for grant in grants if grant[0] != "bucket-owner")
    real = tuple((f"account:{bucket_owner}" if g == "bucket-owner" else g, p) for g, p in grants)
    return Acl(owner, (*private(owner).grants, *real))


def asked(request: Mapping[str, Any], owner: str, bucket_owner: str, people: People) -> Acl | None:
    """The ACL that a request carries in its headers; None if it carries none."""
    headers = [name for name in _HEADERS if request.get(name)]
    if request.get("ACL"):
        if headers:
            raise InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
        return canned(request["ACL"], owner, bucket_owner)
    if not headers:
        return None
    grants = [
        (grantee, _HEADERS[name])
        for name in headers
        for grantee in _of_header(_HEADER_NAMES[name], request[name], people)
    ]
    return _limited(Acl(owner, tuple(grants)))


def put(request: Mapping[str, Any], owner: str, bucket_owner: str, people: People) -> Acl:
    """The ACL of a PutBucketAcl or PutObjectAcl: in headers or in the body, and only in one of them."""
    by_header = asked(request, owner, bucket_owner, people)
    body: Mapping[str, Any] | None = request.get("AccessControlPolicy")
    if by_header is not None:
        if body:
            raise UnexpectedContent()
        return by_header
    if body is None:
        raise MissingSecurityHeader(MissingHeaderName="x-amz-acl")
    if not body.get("Owner", {}).get("ID") or "Grants" not in body:
        raise MalformedACLError()
    if _account(body["Owner"]["ID"], "CanonicalUser/ID", people) != owner:
        raise MethodNotAllowed("The owner of an ACL cannot be changed.")
    grants = [_of_body(grant, people) for grant in cast("list[Mapping[str, Any]]", body["Grants"])]
    return _limited(Acl(owner, tuple(grants)))


def _limited(made: Acl) -> Acl:
    if len(made.grants) > GRANTS_MAX:
        raise InvalidRequest("The access control list has more than 100 grants")
    return made


def _of_header(header: str, text: str, people: People) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise InvalidArgument("Argument format not recognized", ArgumentName=header, ArgumentValue=text)
        kind, value = pair[1].lower(), pair[2]
        if kind == "id":
            found.append(_grantee(value, "id", people))
        elif kind == "uri":
            found.append(_group(value, "uri"))
        else:
            found.append(_address(value, people))
    return found


def _of_body(grant: Mapping[str, Any], people: People) -> tuple[str, str]:
    grantee, permission = grant.get("Grantee", {}), grant.get("Permission")
    if permission not in _PERMISSIONS:
        raise MalformedACLError()
    kind = grantee.get("Type")
    if kind == "CanonicalUser" and grantee.get("ID"):
        return _grantee(grantee["ID"], "CanonicalUser/ID", people), permission
    if kind == "Group" and grantee.get("URI"):
        return _group(grantee["URI"], "Group/URI"), permission
    if kind == "AmazonCustomerByEmail" and grantee.get("EmailAddress"):
        return _address(grantee["EmailAddress"], people), permission
    raise MalformedACLError()


def _account(text: str, argument: str, people: People) -> str:
    if text == ANONYMOUS_OWNER:
        return ANONYMOUS
    account = people.accounts.get(text)
    if account is None:
        raise InvalidArgument("Invalid id", ArgumentName=argument, ArgumentValue=text)
    return account


def _grantee(text: str, argument: str, people: People) -> str:
    return "service:ec2.amazonaws.com" if text == _EC2 else f"account:{_account(text, argument, people)}"


def _group(uri: str, argument: str) -> str:
    if uri not in _NAMES:
        raise InvalidArgument("Invalid group uri", ArgumentName=argument, ArgumentValue=uri)
    return f"group:{_NAMES[uri]}"


def _address(text: str, people: People) -> str:
    """Source: Amazon S3 User Guide, "ACL overview": grants by address are answered by 405 since October 2025."""
    if people.addresses is None:
        raise MethodNotAllowed("Grants by email address are no longer supported. Use the canonical user ID instead.")
    if text not in people.addresses:
        raise UnresolvableGrantByEmailAddress()
    return f"account:{people.addresses[text]}"


def owner_shown(account: str, people: People) -> dict[str, str]:
    """An `Owner`."""
    if account == ANONYMOUS:
        return {"ID": ANONYMOUS_OWNER}
    name = people.names.get(account)
    return {"ID": canonical_id(account), **({"DisplayName": name} if name else {})}


def shown(acl: Acl, people: People) -> dict[str, Any]:
    """The answer of GetBucketAcl and GetObjectAcl.

    An ACL is a set; S3 tells the owner's grant first. Where names are told, groups come first: the suites that presume
    the older defaults can read no other order.
    """
    told = sorted(acl.grants, key=lambda grant: not grant[0].startswith("group:")) if people.names else acl.grants
    grants = [{"Grantee": _shown(grantee, people), "Permission": permission} for grantee, permission in told]
    return {"Owner": owner_shown(acl.owner, people), "Grants": grants}


def _shown(grantee: str, people: People) -> dict[str, str]:
    kind, _, name = grantee.partition(":")
    if kind == "group":
        return {"Type": "Group", "URI": _GROUPS[name]}
    if kind == "service":
        return {"Type": "CanonicalUser", "ID": _EC2}
    return {**owner_shown(name, people), "Type": "CanonicalUser"}


# What it allows ------------------------------------------------------------------------------------------------------


def statements(acl: Acl, *, of_object: bool, ignore_public: bool) -> list[dict[str, Any]]:
    """What an ACL allows, as statements of a policy of its bucket or object.

    `ignore_public`: the public access block's `IgnorePublicAcls` is on.
    """
    table = _ON_OBJECT if of_object else _ON_BUCKET
    found: list[dict[str, Any]] = []
    for grantee, permission in acl.grants:
        if ignore_public and grantee in _PUBLIC:
            continue
        wanted = ("READ", "WRITE", "READ_ACP", "WRITE_ACP") if permission == "FULL_CONTROL" else (permission,)
        actions = [action for one in wanted for action in table[one]]
        who = _principal(grantee)
        if not actions or who is None:
            continue
        statement: dict[str, Any] = {"Effect": "Allow", "Principal": who, "Action": actions, "Resource": "*"}
        if grantee == "group:AuthenticatedUsers":
            statement["Condition"] = {"StringNotEquals": {"aws:PrincipalType": "Anonymous"}}
        found.append(statement)
    return found


def may_delete(acl: Acl, owner: str, *, ignore_public: bool) -> list[dict[str, Any]]:
    """Whom a bucket's ACL lets delete an object of `owner`: of those who may write, the owners of bucket and object.

    Source: Amazon S3 User Guide, "Access control list (ACL) overview", `WRITE`: "For the bucket and object owners of
    existing objects, also allows deletions".
    """
    found: list[dict[str, Any]] = []
    for grantee, permission in acl.grants:
        if permission not in ("WRITE", "FULL_CONTROL") or (ignore_public and grantee in _PUBLIC):
            continue
        own = grantee in (f"account:{owner}", "group:AllUsers")
        own = own or (grantee == "group:AuthenticatedUsers" and owner != ANONYMOUS)
        who = _principal(f"account:{owner}" if own else grantee)
        one: dict[str, Any] = {"Effect": "Allow", "Principal": who, "Action": "s3:DeleteObject", "Resource": "*"}
        if own and owner == ANONYMOUS:
            found.append(one | {"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalType": "Anonymous"}}})
        elif own or grantee == f"account:{acl.owner}":
            found.append(one)
    return found


def _principal(grantee: str) -> Any:
    kind, _, name = grantee.partition(":")
    if kind == "account":
        return None if name == ANONYMOUS else {"AWS": f"arn:aws:iam::{name}:root"}
    if kind == "service":
        return {"Service": name}
    return {"Service": "logging.s3.amazonaws.com"} if name == "LogDelivery" else "*"

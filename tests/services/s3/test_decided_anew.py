# SPDX-License-Identifier: Apache-2.0
"""What was allowed a moment ago is remembered; whatever a decision rests on, the next request sees it change.

Each row: what the caller may, what makes the answer no, and what makes it yes again.
"""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import end_chamber, new_chamber
from tests.services.s3.conftest import allow, policy, refused

ACCOUNT = "000000000000"
ALL = allow("s3:*", "*")
TIMES = 4
"""Requests before a change: the first is decided, the second remembered."""


@dataclass
class World:
    """One user, one role, one bucket with one object, of a test's own."""

    chamber: Any
    folder: Any
    name: str = field(default_factory=lambda: f"anew-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.iam, self.s3 = self.chamber.client("iam"), self.chamber.client("s3")
        self.control = self.chamber.client("s3control")
        self.iam.create_user(UserName=self.name)
        self.user_arn = f"arn:aws:iam::{ACCOUNT}:user/{self.name}"
        self.key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.user = self.chamber.client("s3", f"{self.key['AccessKeyId']}:{self.key['SecretAccessKey']}")
        self.s3.create_bucket(Bucket=self.name, ObjectOwnership="ObjectWriter")
        self.s3.delete_public_access_block(Bucket=self.name)
        self.s3.put_object(Bucket=self.name, Key="k", Body=b"x", Tagging="team=a")
        self.object = f"arn:aws:s3:::{self.name}/k"

    def may(self, *statements: dict) -> None:
        self.iam.put_user_policy(UserName=self.name, PolicyName="own", PolicyDocument=policy(*statements))

    def bucket_policy(self, *statements: dict) -> None:
        self.s3.put_bucket_policy(Bucket=self.name, Policy=policy(*statements))

    def role(self, *statements: dict, session: str = "") -> Any:
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        self.iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=policy(trust))
        self.iam.put_role_policy(RoleName=self.name, PolicyName="own", PolicyDocument=policy(*statements))
        return self.session(session)

    def session(self, limit: str = "") -> Any:
        more = {"Policy": limit} if limit else {}
        arn = f"arn:aws:iam::{ACCOUNT}:role/{self.name}"
        self.may(allow("sts:AssumeRole", "*"))  # Why: the root user assumes no roles
        sts = self.chamber.client("sts", f"{self.key['AccessKeyId']}:{self.key['SecretAccessKey']}")
        made = sts.assume_role(RoleArn=arn, RoleSessionName="session", **more)["Credentials"]
        return self.chamber.client("s3", f"{made['AccessKeyId']}:{made['SecretAccessKey']}", made["SessionToken"])

    def anonymous(self) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        return self.chamber.client("s3", config=Config(signature_version=UNSIGNED))

    def organize(self, *controls: tuple[str, dict]) -> None:
        """An organization with these policies at its root."""
        made = {
            f"P{n}": {"Type": kind, "Content": {"Version": "2012-10-17", "Statement": [statement]}}
            for n, (kind, statement) in enumerate(controls)
        }
        root: dict[str, Any] = {"Accounts": [{"Id": one} for one in self.members()]}
        scps = [n for n, (kind, _) in zip(made, controls, strict=True) if kind.startswith("SERVICE")]
        rcps = [n for n, (kind, _) in zip(made, controls, strict=True) if kind.startswith("RESOURCE")]
        root["ServiceControlPolicies"] = ["FullAWSAccess", *scps]
        root["ResourceControlPolicies"] = ["RCPFullAWSAccess", *rcps]
        file = self.folder / "organization.json"
        file.write_text(json.dumps({"Policies": made, "Root": root}))
        self.chamber.cli("organization", "apply", str(file))

    def members(self) -> list[str]:
        return [self.other.id] if hasattr(self, "other") else []

    def member(self) -> Any:
        """A user of another account, whom this bucket lets in."""
        from tests.services.test_accounts import Other

        self.other = Other(self.chamber)
        iam = self.other.client("iam")
        iam.create_user(UserName=self.name)
        iam.put_user_policy(UserName=self.name, PolicyName="own", PolicyDocument=policy(ALL))
        key = iam.create_access_key(UserName=self.name)["AccessKey"]
        self.bucket_policy(allow("s3:GetObject", self.object, Principal={"AWS": self.other.id}))
        self.organize()
        return self.chamber.client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


@pytest.fixture(scope="module")
def alone():
    running = new_chamber()
    running.start()
    yield running
    end_chamber(running)


Row = tuple[Any, Callable[[], Any], Callable[[], Any] | None]


def deny(*actions: str, **more: Any) -> dict:
    return {"Effect": "Deny", "Action": list(actions), "Resource": "*", **more}


def bucket_policy(w: World) -> Row:
    w.may(ALL)
    return w.user, lambda: w.bucket_policy(deny("s3:GetObject", Principal="*")), lambda: (
        w.s3.delete_bucket_policy(Bucket=w.name))  # fmt: skip


def bucket_policy_lets_in(w: World) -> Row:
    yes = allow("s3:GetObject", w.object, Principal={"AWS": w.user_arn})
    w.bucket_policy(yes)
    return w.user, lambda: w.s3.delete_bucket_policy(Bucket=w.name), lambda: w.bucket_policy(yes)


def inline_policy(w: World) -> Row:
    w.may(ALL)
    return w.user, lambda: w.may(allow("s3:PutObject", "*")), lambda: w.may(ALL)


def group(w: World) -> Row:
    w.iam.create_group(GroupName=w.name)
    w.iam.put_group_policy(GroupName=w.name, PolicyName="own", PolicyDocument=policy(ALL))
    about = {"GroupName": w.name, "UserName": w.name}
    w.iam.add_user_to_group(**about)
    return w.user, lambda: w.iam.remove_user_from_group(**about), lambda: w.iam.add_user_to_group(**about)


def managed_version(w: World) -> Row:
    arn = w.iam.create_policy(PolicyName=w.name, PolicyDocument=policy(ALL))["Policy"]["Arn"]
    w.iam.attach_user_policy(UserName=w.name, PolicyArn=arn)
    no = policy(allow("s3:List*", "*"))
    return (w.user, lambda: w.iam.create_policy_version(PolicyArn=arn, PolicyDocument=no, SetAsDefault=True),
            lambda: w.iam.set_default_policy_version(PolicyArn=arn, VersionId="v1"))  # fmt: skip


def boundary(w: World) -> Row:
    w.may(ALL)
    no = policy(allow("ec2:*", "*"))
    arn = w.iam.create_policy(PolicyName=f"{w.name}-b", PolicyDocument=no)["Policy"]["Arn"]
    return (w.user, lambda: w.iam.put_user_permissions_boundary(UserName=w.name, PermissionsBoundary=arn),
            lambda: w.iam.delete_user_permissions_boundary(UserName=w.name))  # fmt: skip


def role_policy(w: World) -> Row:
    put = lambda *s: w.iam.put_role_policy(RoleName=w.name, PolicyName="own", PolicyDocument=policy(*s))  # noqa: E731
    return w.role(ALL), lambda: put(deny("s3:*")), lambda: put(ALL)


def role_made_anew(w: World) -> Row:
    def again() -> None:
        w.iam.delete_role_policy(RoleName=w.name, PolicyName="own")
        w.iam.delete_role(RoleName=w.name)
        w.role(ALL)

    return w.role(ALL), again, None


def session_is_revoked(w: World) -> Row:
    later = {"DateLessThan": {"aws:TokenIssueTime": "2099-01-01T00:00:00Z"}}
    revoke = policy(deny("*", Condition=later))
    about = {"RoleName": w.name, "PolicyName": "AWSRevokeOlderSessions"}
    return (w.role(ALL), lambda: w.iam.put_role_policy(**about, PolicyDocument=revoke),
            lambda: w.iam.delete_role_policy(**about))  # fmt: skip


def principal_tag(w: World) -> Row:
    w.may(allow("s3:GetObject", "*", Condition={"StringEquals": {"aws:PrincipalTag/team": "a"}}))
    tag = lambda value: w.iam.tag_user(UserName=w.name, Tags=[{"Key": "team", "Value": value}])  # noqa: E731
    tag("a")
    return w.user, lambda: tag("b"), lambda: tag("a")


def access_key(w: World) -> Row:
    w.may(ALL)
    about = {"UserName": w.name, "AccessKeyId": w.key["AccessKeyId"]}
    return (w.user, lambda: w.iam.update_access_key(**about, Status="Inactive"),
            lambda: w.iam.update_access_key(**about, Status="Active"))  # fmt: skip


def service_control_policy(w: World) -> Row:
    no = ("SERVICE_CONTROL_POLICY", deny("s3:GetObject"))
    return w.member(), lambda: w.organize(no), lambda: w.organize()


def resource_control_policy(w: World) -> Row:
    """Of the bucket's account: that is the first one here, the manager, which none reaches; so the other's bucket."""
    w.member()
    theirs = w.other.client("s3")
    theirs.create_bucket(Bucket=f"{w.name}-t")
    theirs.put_object(Bucket=f"{w.name}-t", Key="k", Body=b"x")
    no = ("RESOURCE_CONTROL_POLICY", deny("s3:GetObject", Principal="*"))
    return (theirs, f"{w.name}-t"), lambda: w.organize(no), lambda: w.organize()  # type: ignore[return-value]


def object_acl(w: World) -> Row:
    acl = lambda name: w.s3.put_object_acl(Bucket=w.name, Key="k", ACL=name)  # noqa: E731
    acl("public-read")
    return w.anonymous(), lambda: acl("private"), lambda: acl("public-read")


def acls_are_ignored(w: World) -> Row:
    w.s3.put_object_acl(Bucket=w.name, Key="k", ACL="public-read")
    block = {"IgnorePublicAcls": True}
    return (w.anonymous(),
            lambda: w.s3.put_public_access_block(Bucket=w.name, PublicAccessBlockConfiguration=block),
            lambda: w.s3.delete_public_access_block(Bucket=w.name))  # fmt: skip


def acls_are_off(w: World) -> Row:
    w.s3.put_object_acl(Bucket=w.name, Key="k", ACL="public-read")

    def own(how: str) -> None:
        w.s3.put_bucket_ownership_controls(Bucket=w.name, OwnershipControls={"Rules": [{"ObjectOwnership": how}]})

    return w.anonymous(), lambda: own("BucketOwnerEnforced"), lambda: own("ObjectWriter")


def bucket_block(w: World) -> Row:
    w.bucket_policy(allow("s3:GetObject", w.object, Principal="*"))
    block = {"RestrictPublicBuckets": True}
    return (w.anonymous(),
            lambda: w.s3.put_public_access_block(Bucket=w.name, PublicAccessBlockConfiguration=block),
            lambda: w.s3.delete_public_access_block(Bucket=w.name))  # fmt: skip


def account_block(w: World) -> Row:
    w.bucket_policy(allow("s3:GetObject", w.object, Principal="*"))
    block = {"RestrictPublicBuckets": True}
    return (w.anonymous(),
            lambda: w.control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=block),
            lambda: w.control.delete_public_access_block(AccountId=ACCOUNT))  # fmt: skip


def account_block_of_acls(w: World) -> Row:
    w.s3.put_object_acl(Bucket=w.name, Key="k", ACL="public-read")
    block = {"IgnorePublicAcls": True}
    return (w.anonymous(),
            lambda: w.control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=block),
            lambda: w.control.delete_public_access_block(AccountId=ACCOUNT))  # fmt: skip


def object_tag(w: World) -> Row:
    w.may(allow("s3:GetObject", "*", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "a"}}))
    tag = lambda v: w.s3.put_object_tagging(  # noqa: E731
        Bucket=w.name, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": v}]})  # fmt: skip
    return w.user, lambda: tag("b"), lambda: tag("a")


def object_tag_of_a_new_object(w: World) -> Row:
    w.may(allow("s3:GetObject", "*", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "a"}}))
    put = lambda tag: w.s3.put_object(Bucket=w.name, Key="k", Body=b"y", Tagging=tag)  # noqa: E731
    return w.user, lambda: put("team=b"), lambda: put("team=a")


def tag_denied_by_the_bucket(w: World) -> Row:
    w.may(ALL)
    secret = {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}
    w.bucket_policy(deny("s3:GetObject", Principal="*", Condition=secret) | {"Resource": f"arn:aws:s3:::{w.name}/*"})
    put = lambda tag: w.s3.put_object(Bucket=w.name, Key="k", Body=b"y", Tagging=tag)  # noqa: E731
    return w.user, lambda: put("secret=yes"), lambda: put("team=a")


def bucket_of_another(w: World) -> Row:
    """The bucket goes, and another account makes one of the same name."""
    from tests.services.test_accounts import Other

    w.may(ALL)
    other = Other(w.chamber)

    def change() -> None:
        for key in ("k", "other"):  # there may be no other: then that is no error
            w.s3.delete_object(Bucket=w.name, Key=key)
        w.s3.delete_bucket(Bucket=w.name)
        theirs = other.client("s3")
        theirs.create_bucket(Bucket=w.name)
        theirs.put_object(Bucket=w.name, Key="k", Body=b"theirs")

    return w.user, change, None


def sign(w: World) -> str:
    about = {"Bucket": w.name, "Key": "k"}
    return w.user.generate_presigned_url("get_object", Params=about)


ROWS = [bucket_policy, bucket_policy_lets_in, inline_policy, group, managed_version, boundary, role_policy,
        role_made_anew, session_is_revoked, principal_tag, access_key, service_control_policy,
        resource_control_policy, object_acl, acls_are_ignored, acls_are_off, bucket_block, account_block,
        account_block_of_acls, object_tag, object_tag_of_a_new_object, tag_denied_by_the_bucket,
        bucket_of_another]  # fmt: skip


@pytest.mark.parametrize("meanwhile", ["objects change", "nothing changes"])
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.__name__)
def test_the_next_request_is_decided_anew(alone, tmp_path, row, meanwhile):
    world = World(alone, tmp_path)
    client, change, back = row(world)
    client, bucket = client if isinstance(client, tuple) else (client, world.name)

    def ask(*, ok: bool) -> None:
        for _ in range(TIMES):
            if meanwhile == "objects change":
                world.s3.put_object(Bucket=world.name, Key="other", Body=b"z")
            for verb in ("get", "head"):
                about = {"Bucket": bucket, "Key": "k"}  # Why no more: such requests are answered from memory
                if ok:
                    getattr(client, f"{verb}_object")(**about)
                else:
                    with pytest.raises(ClientError) as caught:
                        getattr(client, f"{verb}_object")(**about)
                    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, caught.value

    def ask_denied() -> None:
        for verb in ("get", "head"):  # Why first: no other commit lies between the change and these
            with pytest.raises(ClientError) as caught:
                getattr(client, f"{verb}_object")(Bucket=bucket, Key="k")
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, caught.value

    ask(ok=True)
    change()
    ask_denied()
    if back is not None:
        ask(ok=False)
        back()
        ask(ok=True)


def fetch(world: World, url: str, source: str = "127.0.0.1", **headers: str) -> int:
    """Ask from an address of this machine; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", world.chamber.port, timeout=60, source_address=(source, 0))
    try:
        connection.request("GET", url.partition(f":{world.chamber.port}")[2], headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_where_a_request_comes_from_counts_each_time(alone, tmp_path):
    world = World(alone, tmp_path)
    condition = {"IpAddress": {"aws:SourceIp": "127.0.0.2/32"}, "StringEquals": {"aws:Referer": "http://here/"}}
    world.may(allow("s3:GetObject", world.object, Condition=condition))
    url = sign(world)
    for _ in range(3):
        assert fetch(world, url, "127.0.0.2", Referer="http://here/") == 200
        assert fetch(world, url, "127.0.0.3", Referer="http://here/") == 403
        assert fetch(world, url, "127.0.0.2", Referer="http://there/") == 403
        assert fetch(world, url, "127.0.0.2") == 403


def test_what_a_session_gives_up_it_has_not_whoever_else_asked(alone, tmp_path):
    world = World(alone, tmp_path)
    whole = world.role(ALL)
    limited, about = world.session(policy(allow("s3:ListBucket", "*"))), {"Bucket": world.name, "Key": "k"}
    for _ in range(3):
        whole.get_object(**about)
        refused("AccessDenied", limited.get_object, **about)


def test_the_body_of_an_object_that_is_remembered_is_for_those_who_may(alone, tmp_path):
    world, other = World(alone, tmp_path), World(alone, tmp_path)
    world.may(ALL)
    about = {"Bucket": world.name, "Key": "k"}
    for _ in range(3):
        world.user.get_object(**about)
        refused("AccessDenied", other.user.get_object, **about)
        refused("AccessDenied", other.user.get_object, **about, VersionId="null")
        refused("AccessDenied", world.anonymous().get_object, **about)

# SPDX-License-Identifier: Apache-2.0
"""The step that asks IAM: error codes, context keys, what lies on the segment, and sealed sessions."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudchamber.base.clock import SystemClock
from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.contract.accounts import OrgPlace
from cloudchamber.contract.call import Call
from cloudchamber.contract.identity import ANONYMOUS, Principal, service_principal
from cloudchamber.contract.operation import Facts, Need, Operation, each_by_itself, nothing
from cloudchamber.front.authorize import authorize
from cloudchamber.policy.evaluate import policy
from cloudchamber.services import iam
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.track.track import Segment

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
BUCKET_POLICY = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
async def doors(tmp_path: Path):
    database, clock = Database(tmp_path / "chamber.db"), SystemClock()
    assert iam.SERVICE.migrations is not None
    await migrate(database, {"iam": iam.SERVICE.migrations})
    make: Any = iam.SERVICE.identities
    bucket = {"policy": ""}
    yield SimpleNamespace(
        account=ACCOUNT,
        region="us-east-1",
        folder=tmp_path,
        clock=clock,
        database=database,
        bucket=bucket,
        again=lambda: make(database, tmp_path, ACCOUNT, None, clock),
        identities=make(database, tmp_path, ACCOUNT, None, clock),
        services={
            "iam": iam.SERVICE,
            "s3": SimpleNamespace(
                policies=(), facts=lambda doors, arn: Facts(ACCOUNT, bucket["policy"], "bucket policy of b")
            ),
        },
    )
    await database.close()


def put_policy(doors: Any, text: str) -> None:
    doors.bucket["policy"] = text
    doors.database.settled += 1  # as the commit of a real one does


def call_of(doors: Any, principal: Principal) -> Call:
    segment = Segment("t", "s", "", "x", "y", 0)
    return Call(principal, ACCOUNT, "us-east-1", "r", doors.clock.now(), doors, segment)


async def do(doors: Any, operation: str, **request: Any) -> Any:
    return await iam.SERVICE.operations[operation].run(call_of(doors, doors.identities.root.principal), request)


def ask(doors: Any, principal: Principal, service: str, *needs: Need) -> Call:
    call = call_of(doors, principal)
    authorize(call, SimpleNamespace(name=service), Operation("X", lambda c, r: needs, None), {})  # type: ignore[arg-type]
    return call


def refusal(doors: Any, principal: Principal, service: str, need: Need) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        ask(doors, principal, service, need)
    return caught.value


async def a_user(doors: Any, *statements: dict[str, Any]) -> Principal:
    await do(doors, "CreateUser", UserName="alice", Tags=[{"Key": "Team", "Value": "red"}])
    key = (await do(doors, "CreateAccessKey", UserName="alice"))["AccessKey"]["AccessKeyId"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        await do(doors, "PutUserPolicy", UserName="alice", PolicyName="p", PolicyDocument=document)
    return doors.identities.credential(key, "", doors.clock.now()).principal


async def test_each_service_words_its_refusal(doors):
    alice = await a_user(doors)
    found = refusal(doors, alice, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k"))
    assert (found.code, found.status) == ("AccessDenied", 403)
    assert found.message == (
        f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: s3:GetObject on resource: "
        '"arn:aws:s3:::b/k" because no identity-based policy allows the s3:GetObject action'
    )
    found = refusal(doors, alice, "lambda", Need("lambda:ListFunctions", "*"))
    assert (found.code, found.status) == ("AccessDeniedException", 403)
    assert " on resource" not in found.message
    assert refusal(doors, alice, "logs", Need("logs:DescribeLogGroups", "*")).status == 400
    found = refusal(doors, alice, "ec2", Need("ec2:RunInstances", f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/*"))
    assert found.code == "UnauthorizedOperation"
    text, _, sealed = found.message.partition(". Encoded authorization failure message: ")
    assert text.startswith("You are not authorized to perform this operation. User: ")
    story = json.loads(doors.identities.unseal(sealed))
    assert story["context"]["action"] == "ec2:RunInstances"
    assert doors.identities.unseal(sealed[:-8] + "AAAAAAA=") is None
    assert refusal(doors, ANONYMOUS, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k")).message == "Access Denied"


async def test_the_decision_lies_on_the_segment(doors):
    condition = {"StringEquals": {"aws:PrincipalTag/team": "red", "s3:prefix": "home/"}}
    statement = {"Effect": "Allow", "Action": "s3:List*", "Resource": "*", "Sid": "Lists", "Condition": condition}
    alice = await a_user(doors, statement)
    call = ask(doors, alice, "s3", Need("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "home/"}))
    (told,) = call.segment.decisions
    assert told["allowed"]
    assert told["context"] == {"aws:principaltag/team": "red", "s3:prefix": "home/"}
    assert told["because"] == [
        {
            "policy": "inline policy p of user alice",
            "kind": "identity",
            "statement": 0,
            "sid": "Lists",
            "effect": "Allow",
            "line": 1,
            "column": 41,
        }
    ]
    call = call_of(doors, alice)
    need = Need("s3:ListBucket", "arn:aws:s3:::b", {"s3:prefix": "other/"})
    with pytest.raises(AccessDenied):
        authorize(
            call, doors.services["s3"] and SimpleNamespace(name="s3"), Operation("X", lambda c, r: (need,), None), {}
        )  # type: ignore[arg-type]
    (told,) = call.segment.decisions
    assert told["nearest"]["element"] == "Condition StringEquals s3:prefix"
    assert (told["nearest"]["wants"], told["nearest"]["has"]) == (["home/"], "other/")
    assert told["allow_with"][0]["statement"]["Resource"] == "arn:aws:s3:::b"


async def test_root_is_allowed_unless_a_resource_policy_denies(doors):
    root = doors.identities.root.principal
    need = Need("s3:GetObject", "arn:aws:s3:::b/k")
    ask(doors, root, "s3", need)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    put_policy(doors, json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    assert refusal(doors, root, "s3", need).message.endswith("with an explicit deny in a resource-based policy")
    ask(doors, root, "s3", Need("s3:DeleteBucketPolicy", "arn:aws:s3:::b"))


async def test_services_need_the_resources_leave(doors):
    s3 = service_principal("s3.amazonaws.com", ACCOUNT, "arn:aws:s3:::b")
    refusal(doors, s3, "lambda", Need("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:000000000000:function:f"))
    ask(doors, s3, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k"))


async def test_a_policy_that_cannot_be_read_denies(doors):
    put_policy(doors, "{")
    refusal(doors, doors.identities.root.principal, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k"))


async def test_sessions_survive_a_restart_and_end(doors):
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    role = (await do(doors, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document))["Role"]
    now = doors.clock.now()
    session = Principal(
        "assumed-role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/app/i", f"{role['RoleId']}:i", ROLE
    )
    issued = doors.identities.issue(session, now, 900)
    again = doors.again()
    found = again.credential(issued.access_key_id, issued.session_token, now)
    assert found.secret_key == issued.secret_key
    assert found.principal.arn == session.arn
    for key, token, moment, code in (
        (issued.access_key_id, issued.session_token, now + timedelta(seconds=901), "ExpiredToken"),
        ("ASIAAAAAAAAAAAAAAAAA", issued.session_token, now, "InvalidClientTokenId"),
        (issued.access_key_id, "", now, "InvalidClientTokenId"),
    ):
        with pytest.raises(ServiceError) as caught:
            again.credential(key, token, moment)
        assert caught.value.code == code
    await do(doors, "DeleteRole", RoleName="app")
    await do(doors, "CreateRole", RoleName="app", AssumeRolePolicyDocument=document)
    with pytest.raises(ServiceError):
        again.credential(issued.access_key_id, issued.session_token, now)


async def test_private_files_are_private(doors):
    for name in ("session-key", "root-credentials.json"):
        assert (doors.folder / name).stat().st_mode & 0o777 == 0o600
    pair = json.loads((doors.folder / "root-credentials.json").read_text())
    assert doors.again().credential(pair["AccessKeyId"], "", doors.clock.now()).secret_key == pair["SecretAccessKey"]


async def test_what_maps_to_no_action_is_denied_not_allowed(doors: Any):
    with pytest.raises(AccessDenied, match="is not authorized to perform: ec2:X"):
        ask(doors, await a_user(doors), "ec2")
    with pytest.raises(AccessDenied):
        ask(doors, doors.identities.root.principal, "s3")


@pytest.mark.parametrize("needs", [nothing, each_by_itself])
async def test_operations_that_say_so_need_nothing(doors: Any, needs: Any):
    call = call_of(doors, await a_user(doors))
    authorize(call, SimpleNamespace(name="sts"), Operation("X", needs, None), {})  # type: ignore[arg-type]
    assert call.segment.decisions == []


async def test_a_decision_can_be_taken_again_from_what_it_tells(doors: Any):
    alice = await a_user(doors, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    need = Need(
        "s3:PutObject", "arn:aws:s3:::b/k", {"s3:RequestObjectTagKeys": ("a", "b"), "aws:RequestTag/Team": "red"}
    )
    for _ in range(2):
        (told,) = ask(doors, alice, "s3", need).segment.decisions
        assert told["entity"] == f"arn:aws:iam::{ACCOUNT}:user/alice"
        assert told["account"] == ACCOUNT
        assert told["keys"] == {"s3:requestobjecttagkeys": ["a", "b"], "aws:requesttag/team": "red"}
    (told,) = ask(doors, alice, "s3", Need("s3:PutObject", "arn:aws:s3:::b/k")).segment.decisions
    assert told["keys"] == {}
    s3 = service_principal("s3.amazonaws.com", ACCOUNT, "arn:aws:s3:::b")
    assert ask(doors, s3, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k")).segment.decisions[0]["entity"] == ""


async def test_sessions_show_their_mfa_provider_and_claims(doors: Any):
    condition = {
        "Bool": {"aws:MultiFactorAuthPresent": "true"},
        "NumericLessThan": {"aws:MultiFactorAuthAge": "600"},
        "StringEquals": {"aws:FederatedProvider": "arn:p", "idp.example.com:sub": "me"},
        "ForAnyValue:StringEquals": {"idp.example.com:amr": "pwd"},
    }
    alice = await a_user(doors, {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition})
    now = doors.clock.now()
    given = replace(
        alice,
        issued_at=now,
        mfa_at=now - timedelta(seconds=300),
        federated="arn:p",
        extra={"idp.example.com:sub": ("me",), "idp.example.com:amr": ("mfa", "pwd")},
    )
    need = Need("s3:GetObject", "arn:aws:s3:::b/k")
    (told,) = ask(doors, given, "s3", need).segment.decisions
    assert told["context"]["aws:multifactorauthage"] == "300"
    refusal(doors, replace(given, mfa_at=now - timedelta(seconds=601)), "s3", need)
    refusal(doors, replace(given, mfa_at=None), "s3", need)
    refusal(doors, replace(given, extra={}), "s3", need)


async def test_organizations_are_keys_of_both_sides(doors: Any):
    alice = await a_user(doors, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    places = {ACCOUNT: OrgPlace("o-mine", "o-mine/r-1/ou-1/", False)}
    doors.identities.organization = places.get
    condition = {"StringNotEquals": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}
    put_policy(doors, json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    need = Need("s3:GetObject", "arn:aws:s3:::b/k")
    (told,) = ask(doors, alice, "s3", need).segment.decisions
    assert told["context"] == {"aws:principalorgid": "o-mine", "aws:resourceorgid": "o-mine"}
    refusal(doors, replace(alice, account="222222222222"), "s3", need)


async def test_resource_controls_reach_the_services_that_have_them(doors: Any):
    alice = await a_user(doors, {"Effect": "Allow", "Action": "*", "Resource": "*"})
    deny = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}'
    controls = ((policy("RCP", "rcp", deny, "arn:rcp"),),)
    doors.identities.resource_controls = lambda account: controls
    found = refusal(doors, alice, "s3", Need("s3:GetObject", "arn:aws:s3:::b/k"))
    assert found.message.endswith("with an explicit deny in a resource control policy: arn:rcp")
    ask(doors, alice, "ec2", Need("ec2:DescribeInstances", "*"))


async def test_another_account_is_told_less(doors: Any):
    alice = replace(await a_user(doors), account="222222222222")
    need = Need("s3:GetObject", "arn:aws:s3:::b/k")
    assert refusal(doors, alice, "s3", need).message == "Access Denied"
    message = refusal(doors, alice, "lambda", Need("lambda:InvokeFunction", "arn:aws:s3:::b")).message
    assert message.endswith("is not authorized to perform: lambda:InvokeFunction on resource: arn:aws:s3:::b")
    place = OrgPlace("o-mine", "o-mine/r-1/", False)
    doors.identities.organization = lambda account: place
    assert refusal(doors, alice, "s3", need).message.endswith(
        "because no identity-based policy allows the s3:GetObject action"
    )

# SPDX-License-Identifier: Apache-2.0
"""The written policy: allows what was recorded, opens nothing that was refused, has nothing to spare."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.policy import check
from cloudchamber.policy.document import Subject
from cloudchamber.policy.least import Asked, prove, write
from cloudchamber.policy.patterns import MANY, generalise

WHO = Subject(
    "assumed-role",
    "000000000000",
    "arn:aws:sts::000000000000:assumed-role/Web/i-1",
    "arn:aws:iam::000000000000:role/Web",
)
FILES = "arn:aws:s3:::files/"
STREAM = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f:log-stream:"

pieces = st.sampled_from(
    ["users", "a", "b", "1", "42", "7", "*", "?", "${x}", "x*y", "avatar.png", "img-3.png", "img-4.png", "",
     "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "0123456789abcdef", "2026-11-23"]
)  # fmt: skip
keys = st.lists(pieces, min_size=1, max_size=4).map("/".join)
objects = st.tuples(st.sampled_from(["files", "other"]), keys).map(lambda t: f"arn:aws:s3:::{t[0]}/{t[1]}")
object_questions = st.builds(Asked, st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]), objects)
listings = st.builds(
    lambda prefix: Asked("s3:ListBucket", "arn:aws:s3:::files", {} if prefix is None else {"s3:prefix": prefix}),
    st.none() | keys,
)
others = st.sampled_from(
    [Asked("ec2:DescribeInstances", "*"), Asked("logs:PutLogEvents", f"{STREAM}2026/11/23/[$LATEST]{'0a' * 16}"),
     Asked("logs:PutLogEvents", f"{STREAM}main"), Asked("ec2:RunInstances", "arn:aws:ec2:us-east-1:1:instance/*"),
     Asked("ec2:TerminateInstances", "arn:aws:ec2:us-east-1:1:instance/i-0123456789abcdef0"),
     Asked("ec2:TerminateInstances", "arn:aws:ec2:us-east-1:1:instance/i-0123456789abcdef1"),
     Asked("iam:PassRole", "arn:aws:iam::1:role/x", {"iam:passedtoservice": "ec2.amazonaws.com"}),
     Asked("iam:PassRole", "arn:aws:iam::1:role/x", {"iam:passedtoservice": "lambda.amazonaws.com"})]
)  # fmt: skip
questions = st.lists(object_questions | listings | others, max_size=14)


@given(questions, questions)
def test_it_allows_all_that_was_opens_nothing_else_and_has_nothing_to_spare(
    allowed: list[Asked], denied: list[Asked]
) -> None:
    written = write(allowed, denied)
    proof = prove(written.policy, allowed, denied, WHO)
    assert proof.refused == ()
    assert proof.opened == ()
    assert proof.idle == ()
    if allowed:
        check.identity(written.text)


@given(st.lists(objects, min_size=1, max_size=12))
def test_no_pattern_leaves_its_bucket(resources: list[str]) -> None:
    for pattern in generalise(resources):
        bucket = pattern.text.partition("/")[0]
        assert "*" not in bucket
        assert all(resource.startswith(f"{bucket}/") for resource in pattern.covers)


def texts(*resources: str, refused: tuple[str, ...] = ()) -> list[str]:
    return [p.text for p in generalise(resources, refused)]


@pytest.mark.parametrize(
    ("seen", "pattern"),
    [
        (["users/42/avatar.png"], "users/*/avatar.png"),
        (["users/42/avatar.png", "users/7/avatar.png"], "users/*/avatar.png"),
        (["u/0f8fad5b-d9cb-469f-a165-70867728950e.png"], "u/*.png"),
        (["reports/2026-11-23.csv", "reports/2026-11-24.csv"], "reports/*.csv"),
        (["img_0001.jpg", "img_0002.jpg"], "img_*.jpg"),
        (["by/deadbeefcafe0123/x"], "by/*/x"),
    ],
)
def test_ids_become_stars(seen: list[str], pattern: str) -> None:
    assert texts(*(FILES + key for key in seen)) == [FILES + pattern]


@pytest.mark.parametrize("seen", [["reports/2026-11-23.csv"], ["v1/app.zip"], ["a.txt", "b.txt", "c.txt"], ["mp3/x"]])
def test_names_stay(seen: list[str]) -> None:
    assert texts(*(FILES + key for key in seen)) == [FILES + key for key in seen]


def test_many_names_are_a_rule_and_it_is_said() -> None:
    many = [f"{FILES}home/{'abcdefghijkl'[n]}/notes.txt" for n in range(MANY)]
    (one,) = generalise(many)
    assert one.text == f"{FILES}home/*/notes.txt"
    assert f"{MANY} different names" in one.why
    assert len(generalise(many[:-1])) == MANY - 1
    assert texts(*(f"{FILES}p/{'abcdefghijkl'[n]}.jpg" for n in range(MANY))) == [f"{FILES}p/*.jpg"]


def test_a_refused_resource_is_never_covered() -> None:
    assert texts(FILES + "users/1/a", FILES + "users/2/a", refused=(FILES + "users/3/a",)) == [
        FILES + "users/1/a",
        FILES + "users/2/a",
    ]
    assert texts(FILES + "users/1/a", FILES + "users/2/a", refused=(FILES + "keys/3/a",)) == [FILES + "users/*/a"]


def test_nothing_is_widened_past_what_is_granted_today() -> None:
    asked = [Asked("s3:GetObject", FILES + "users/1/a"), Asked("s3:GetObject", FILES + "code/0123456789abcdef.zip")]
    granted = {FILES + "code/0123456789abcdef.zip"}
    found = write(asked, within=lambda action, resource: resource in granted or "/users/" in resource)
    (one,) = found.policy["Statement"]
    assert one["Resource"] == [FILES + "code/0123456789abcdef.zip", FILES + "users/*/a"]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:s3:::bucket-1234567890ab",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:rds!db-0f8fad5b-d9cb-469f-a165-70867728950e-AbCdEf",
        "arn:aws:rds-db:us-east-1:000000000000:dbuser:db-ABCDEFGHIJKL01234/42",
        "arn:aws:kms:us-east-1:000000000000:key/0f8fad5b-d9cb-469f-a165-70867728950e",
        "arn:aws:lambda:us-east-1:000000000000:function:f-42",
        "arn:aws:lambda:us-east-1:000000000000:function:f:3",
        "arn:aws:ec2:us-east-1:000000000000:instance/i-0123456789abcdef0",
        "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f-42:*",
    ],
)
def test_what_somebody_named_stays(arn: str) -> None:
    assert texts(arn) == [arn]


def test_two_secrets_stay_two() -> None:
    two = [f"arn:aws:secretsmanager:us-east-1:0:secret:s-{n}-AbCdE{n}" for n in (1, 2)]
    assert texts(*two) == two


def test_versions_and_instances_need_two_examples() -> None:
    head = "arn:aws:ec2:us-east-1:0:instance/"
    assert texts(f"{head}i-0123456789abcdef0", f"{head}i-0123456789abcdef1") == [f"{head}*"]
    head = "arn:aws:lambda:us-east-1:0:function:f:"
    assert texts(f"{head}1", f"{head}2") == [f"{head}*"]


def test_a_star_in_a_key_is_that_star_only() -> None:
    written = write([Asked("s3:GetObject", FILES + "a*b")])
    assert written.policy["Statement"][0]["Resource"] == FILES + "a${*}b"
    assert prove(written.policy, [], [Asked("s3:GetObject", FILES + "aXb")], WHO).opened == ()


def statement(asked: list[Asked], denied: tuple[Asked, ...] = ()) -> dict[str, Any]:
    (one,) = write(asked, denied).policy["Statement"]
    return one


def test_conditions_stand_where_they_always_held() -> None:
    passed = [Asked("iam:PassRole", "arn:aws:iam::0:role/x", {"iam:passedtoservice": "ec2.amazonaws.com"})]
    assert statement(passed)["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    assert "Condition" not in statement([*passed, Asked("iam:PassRole", "arn:aws:iam::0:role/x")])
    listed = [Asked("s3:ListBucket", "arn:aws:s3:::files", {"s3:prefix": f"users/{n}/"}) for n in (1, 2)]
    assert statement(listed)["Condition"] == {"StringLike": {"s3:prefix": "users/*/"}}
    refused = (Asked("s3:ListBucket", "arn:aws:s3:::files", {"s3:prefix": "users/3/"}),)
    assert statement(listed, refused)["Condition"] == {"StringEquals": {"s3:prefix": ["users/1/", "users/2/"]}}


def test_statements_are_by_resource_and_named() -> None:
    asked = [
        Asked("s3:GetObject", FILES + "users/1/avatar.png"),
        Asked("s3:PutObject", FILES + "users/2/avatar.png"),
        Asked("s3:GetObject", FILES + "thumbnails/users/1/avatar.png"),
    ]
    found = {s["Sid"]: (s["Action"], s["Resource"]) for s in write(asked).policy["Statement"]}
    assert found == {
        "GetObjectThumbnailsUsersAvatar": ("s3:GetObject", FILES + "thumbnails/users/*/avatar.png"),
        "ReadWriteUsersAvatar": (["s3:GetObject", "s3:PutObject"], FILES + "users/*/avatar.png"),
    }


def test_a_proof_finds_what_is_wrong() -> None:
    asked = [Asked("s3:GetObject", FILES + "k")]
    wide = {"Sid": "A", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": FILES + "*"}
    proof = prove({"Version": "2012-10-17", "Statement": [wide]}, asked, [Asked("s3:PutObject", FILES + "k")], WHO)
    assert not proof.holds
    assert (proof.opened[0].action, proof.idle) == ("s3:PutObject", ("A: Action s3:PutObject",))
    assert prove({"Version": "2012-10-17", "Statement": []}, asked, [], WHO).refused == tuple(asked)


def test_denials_of_the_old_policies_are_kept() -> None:
    deny = {"Sid": "Never", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::files/keys/*"}
    written = write([Asked("s3:GetObject", FILES + "k")], kept=[deny])
    assert json.loads(written.text)["Statement"][-1] == deny
    assert prove(written.policy, [Asked("s3:GetObject", FILES + "k")], [], WHO).holds

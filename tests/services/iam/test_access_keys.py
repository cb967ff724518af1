# SPDX-License-Identifier: Apache-2.0
"""The root user's own access keys; the order of names; and the two ways to write `every bucket`."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


def named(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:10]}"


def test_root_manages_its_own_keys(own_chamber):
    iam = own_chamber.client("iam")
    (first,) = iam.list_access_keys()["AccessKeyMetadata"]
    assert first["AccessKeyId"] == "AKIAROOTROOTROOTROOT"
    made = iam.create_access_key()["AccessKey"]
    key, pair = made["AccessKeyId"], f"{made['AccessKeyId']}:{made['SecretAccessKey']}"
    refused("LimitExceeded", iam.create_access_key)
    assert own_chamber.client("sts", pair).get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"

    iam.update_access_key(AccessKeyId=key, Status="Inactive")
    refused("InvalidClientTokenId", own_chamber.client("sts", pair).get_caller_identity)
    assert {one["AccessKeyId"]: one["Status"] for one in iam.list_access_keys()["AccessKeyMetadata"]} == {
        "AKIAROOTROOTROOTROOT": "Active",
        key: "Inactive",
    }
    iam.delete_access_key(AccessKeyId=key)
    refused("NoSuchEntity", iam.delete_access_key, AccessKeyId=key)
    assert "cannot be changed" in refused("InvalidInput", iam.delete_access_key, AccessKeyId=first["AccessKeyId"])


def test_a_user_has_no_hand_on_roots_keys(chamber):
    iam, name = chamber.client("iam"), named("ak")
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    own = chamber.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    assert [one["UserName"] for one in own.list_access_keys()["AccessKeyMetadata"]] == [name]
    refused("NoSuchEntity", own.delete_access_key, AccessKeyId="AKIAROOTROOTROOTROOT")


@pytest.mark.parametrize("kind", ["User", "Group"])
def test_names_are_listed_in_order_whatever_their_case(chamber, kind):
    iam, path = chamber.client("iam"), f"/{named('order')}/"
    list_, create = getattr(iam, f"list_{kind.lower()}s"), getattr(iam, f"create_{kind.lower()}")
    names = [f"{path[1:-1]}-{end}" for end in ("aa", "Ab", "ac", "Ad")]
    for name in reversed(names):
        create(**{f"{kind}Name": name, "Path": path})
    pages = iam.get_paginator(f"list_{kind.lower()}s").paginate(PathPrefix=path, PaginationConfig={"PageSize": 1})
    assert [one[f"{kind}Name"] for page in pages for one in page[f"{kind}s"]] == names
    assert [one[f"{kind}Name"] for one in list_(PathPrefix=path)[f"{kind}s"]] == names


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_all_buckets_may_be_written_as_an_arn(chamber, effect):
    iam, name = chamber.client("iam"), named("ab")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    s3 = chamber.client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    statements = [{"Effect": effect, "Action": "s3:ListAllMyBuckets", "Resource": "arn:aws:s3:::*"}]
    if effect == "Deny":
        statements.append({"Effect": "Allow", "Action": "*", "Resource": "*"})
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    if effect == "Allow":
        s3.list_buckets()
    else:
        assert "on resource" not in refused("AccessDenied", s3.list_buckets)

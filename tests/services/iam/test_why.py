# SPDX-License-Identifier: Apache-2.0
"""A refusal is explained by its request id: what was asked, what came nearest, and what would allow it."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError


def test_why_tells_the_nearest_statement_and_the_remedy(chamber):
    name = f"w-{uuid.uuid4().hex[:10]}"
    iam = chamber.client("iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    own = chamber.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    arn = f"arn:aws:iam::000000000000:user/{name}"
    nearly = {"Sid": "Nearly", "Effect": "Allow", "Action": "iam:GetUser", "Resource": "arn:aws:iam::*:user/other"}
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, nearly]}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    with pytest.raises(ClientError) as caught:
        own.get_user()
    request_id = caught.value.response["ResponseMetadata"]["RequestId"]
    (told,) = json.loads(chamber.cli("why", request_id, "--json").stdout)["decisions"]
    assert not told["allowed"]
    assert (told["principal"], told["action"], told["resource"]) == (arn, "iam:GetUser", arn)
    assert told["policies"] == [{"name": f"inline policy p of user {name}", "kind": "identity"}]
    assert (told["nearest"]["sid"], told["nearest"]["element"]) == ("Nearly", "Resource")
    assert (told["nearest"]["wants"], told["nearest"]["has"]) == ("arn:aws:iam::*:user/other", arn)
    document["Statement"].append(told["allow_with"][0]["statement"])
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    allowed = own.get_user()["ResponseMetadata"]["RequestId"]
    (told,) = json.loads(chamber.cli("why", allowed, "--json").stdout)["decisions"]
    assert told["because"][0]["statement"] == 2

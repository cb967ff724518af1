# SPDX-License-Identifier: Apache-2.0
"""AWS's managed policies, the roles of services, and the namespaces: the data files are whole and fit each other."""

from __future__ import annotations

import json

from cloudchamber.policy.document import document
from cloudchamber.services.iam import aws_managed, grants, linked
from cloudchamber.services.iam.names import AWS_MANAGED


def test_every_policy_can_be_read_and_compiled():
    arns = aws_managed.arns()
    assert len(arns) > 1500
    assert arns == sorted(arns)
    for arn in arns[::10]:
        found = aws_managed.find(arn)
        assert found is not None
        assert arn == AWS_MANAGED + (found.path + found.name)[1:]
        assert found.created <= found.updated
        assert document(found.document).statements
        assert next(iter(json.loads(found.document))) == "Version"


def test_what_is_no_policy_of_aws_is_not_found():
    for wrong in ("", "/", "AmazonS3ReadOnlyAccess/", "x/AmazonS3ReadOnlyAccess", "nothing", "'--", "é" * 100):
        assert aws_managed.find(AWS_MANAGED + wrong) is None


def test_service_linked_roles_have_policies_that_exist():
    known = set(aws_managed.arns(aws_managed.SERVICE_LINKED))
    missing = {
        policy for one in linked.templates().values() for policy in one.policies if AWS_MANAGED + policy not in known
    }
    assert missing == {"aws-service-role/AmazonLexBotPolicy"}  # its document is nowhere to be had
    assert {host for host, one in linked.templates().items() if one.suffix} == {
        "autoscaling.amazonaws.com", "connect.amazonaws.com", "lexv2.amazonaws.com",
    }  # fmt: skip
    assert all(one.role.startswith("AWSServiceRoleFor") for one in linked.templates().values())


def test_services_that_policies_grant():
    def granted(source) -> list[str]:
        text = json.dumps({"Version": "2012-10-17", "Statement": source})
        return [space.namespace for space in grants.services([document(text)])]

    assert len(granted({"Effect": "Allow", "Action": "*", "Resource": "*"})) == len(grants.namespaces())
    assert granted({"Effect": "Deny", "Action": "*", "Resource": "*"}) == []
    assert granted({"Effect": "Allow", "Action": ["S3:get*", "sqs:x"], "Resource": "*"}) == ["s3", "sqs"]
    assert granted({"Effect": "Allow", "Action": "s3:NoSuchThing", "Resource": "*"}) == []
    assert granted({"Effect": "Allow", "Action": "elasticfile*:Describe*", "Resource": "*"}) == ["elasticfilesystem"]
    rest = granted({"Effect": "Allow", "NotAction": ["s3:*", "iam:Get*", "sqs:*", "sns:Get*"], "Resource": "*"})
    assert {"iam", "sns"} <= set(rest)
    assert not {"s3", "sqs"} & set(rest)

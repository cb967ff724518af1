# SPDX-License-Identifier: Apache-2.0
"""No operation of any service answers a caller whom no policy allows: each is really called, through HTTP.

Requests are made from the models: the required members only, the same with every list empty, and all members. The
answer must be a refusal (of the caller or of the request), never a success and never a fault of ours.
"""

from __future__ import annotations

import json

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudchamber import services
from cloudchamber.contract.service import discover

SERVICES = discover(services)
FREE = {
    # "No permissions are required to perform this operation." (AWS STS API Reference)
    ("sts", "GetCallerIdentity"),
    ("sts", "GetSessionToken"),
}
EACH_BY_ITSELF = {
    # Answers 200 with one AccessDenied for each key (Amazon S3 API Reference, DeleteObjects).
    ("s3", "DeleteObjects"),
}
DEPTH_MAX = 4
OPERATIONS = [(name, o) for name in SERVICES for o in sorted(SERVICES[name].operations)]
SHAPES = ("required", "empty", "all")


def value_of(shape, kind, depth=0, member=""):
    """A value that the model allows, as small as it may be."""
    name = shape.type_name
    if name == "structure":
        wanted = shape.members if kind == "all" and depth < DEPTH_MAX else shape.required_members
        return {m: value_of(shape.members[m], kind, depth + 1, m) for m in wanted}
    if name == "list":
        if kind == "empty" or depth > DEPTH_MAX:
            return []
        return [value_of(shape.member, kind, depth + 1, member)] * max(1, shape.metadata.get("min", 1))
    if name == "map":
        return {} if kind == "empty" else {"a": value_of(shape.value, kind, depth + 1)}
    if name == "string":
        return text_of(shape, member)
    if name in ("integer", "long", "float", "double"):
        return shape.metadata.get("min", 1)
    return {"boolean": False, "timestamp": "2026-01-01T00:00:00Z", "blob": b"{}"}[name]


def text_of(shape, member):
    if shape.enum:
        return shape.enum[0]
    if member == "CopySource":
        return "somebody/s-object"
    if "Arn" in member or "ARN" in member:
        return "arn:aws:iam::000000000000:role/nobody"
    return "a" * max(3, shape.metadata.get("min", 0))


def request_of(client, operation, kind):
    shape = client.meta.service_model.operation_model(operation).input_shape
    return value_of(shape, kind) if shape is not None else {}


def answer(client, operation, request):
    """Status and error code of one call; code is empty for a success."""
    try:
        told = client._make_api_call(operation, request)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"], error
    return told["ResponseMetadata"]["HTTPStatusCode"], "", told


@pytest.fixture(scope="module")
def callers(chamber):
    """Three who may do nothing of this: nobody, a user without a policy, a user with a policy for something else."""
    iam = chamber.client("iam")
    keys = {}
    for name in ("back-door-bare", "back-door-other"):
        iam.create_user(UserName=name)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = f"{made['AccessKeyId']}:{made['SecretAccessKey']}"
    other = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}}
    iam.put_user_policy(UserName="back-door-other", PolicyName="other", PolicyDocument=json.dumps(other))
    # Why inject_host_prefix: StartLiveTail would go to stream-127.0.0.1, which is no host.
    options = {"parameter_validation": False, "s3": {"addressing_style": "path"}, "inject_host_prefix": False}

    def clients(service):
        yield "nobody", chamber.client(service, config=Config(signature_version=UNSIGNED, **options))
        for name, key in keys.items():
            yield name, chamber.client(service, key=key, config=Config(**options))

    return clients


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_comes_in(chamber, callers, service):
    wrong = []
    for who, client in callers(service):
        for operation in sorted(SERVICES[service].operations):
            for kind in SHAPES:
                status, code, told = answer(client, operation, request_of(client, operation, kind))
                if (service, operation) in FREE and who != "nobody" and (not code or status < 500):
                    continue
                if (service, operation) in EACH_BY_ITSELF and not code:
                    assert not told.get("Deleted"), told
                    assert {e["Code"] for e in told["Errors"]} <= {"AccessDenied"}, told
                    continue
                if not code or not 400 <= status < 500:
                    wrong.append(f"{who} {operation} ({kind}): {status} {code} {told}")
    assert not wrong, "\n".join(wrong)

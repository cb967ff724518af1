# SPDX-License-Identifier: Apache-2.0
"""What the tests of STS share: policies, users, sessions, refusals."""

from __future__ import annotations

import base64
import hmac
import json
import time

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: object, resource: object = "*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal: object = ACCOUNT, action: object = "sts:AssumeRole", **condition) -> str:
    who = {"AWS": principal} if isinstance(principal, str) else principal
    more = {"Condition": condition} if condition else {}
    return policy({"Effect": "Allow", "Principal": who, "Action": action, **more})


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def user(chamber, name: str, *statements: dict):
    """A user with an inline policy; makes clients of it."""
    iam = chamber.client("iam")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return lambda service: chamber.client(service, f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


def role(chamber, name: str, trusted: str, *statements: dict, **more) -> str:
    """A role with an inline policy; its ARN."""
    iam = chamber.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted, **more)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
    return arn


def session(chamber, credentials: dict, service: str):
    pair = f"{credentials['AccessKeyId']}:{credentials['SecretAccessKey']}"
    return chamber.client(service, pair, credentials["SessionToken"])


class Device:
    """A virtual MFA device of a user, whose clock is a little behind, so that codes are good without waiting."""

    def __init__(self, chamber, name: str) -> None:
        iam = chamber.client("iam")
        made = iam.create_virtual_mfa_device(VirtualMFADeviceName=name)["VirtualMFADevice"]
        self.serial = made["SerialNumber"]
        self._seed = base64.b32decode(made["Base32StringSeed"])
        self._step = int(time.time()) // 30 - 3
        iam.enable_mfa_device(
            UserName=name, SerialNumber=self.serial, AuthenticationCode1=self.code(), AuthenticationCode2=self.code()
        )

    def code(self) -> str:
        """The next code. Source: RFC 6238."""
        digest = hmac.digest(self._seed, self._step.to_bytes(8, "big"), "sha1")
        self._step += 1
        at = digest[-1] & 15
        return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"

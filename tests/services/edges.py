# SPDX-License-Identifier: Apache-2.0
"""What tests of the edges between services share: people with policies, roles that someone trusts, small functions."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
REGION = "us-east-1"
REFUSALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def named(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, on: str | list[str] = "*", when: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    return {**statement, "Condition": when} if when else statement


def deny(*actions: str, on: str | list[str] = "*", when: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**allow(*actions, on=on, when=when), "Effect": "Deny"}


def equals(**keys: str) -> dict[str, Any]:
    return {"StringEquals": {name.replace("__", ":").replace("_", "/"): value for name, value in keys.items()}}


def refused(call: Callable[..., Any], **request: Any) -> str:
    """The text of IAM's refusal; anything else is a failure."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] in REFUSALS, caught.value
    return caught.value.response["Error"]["Message"]


class Person:
    """An IAM user with one inline policy, which may be changed at any moment."""

    def __init__(self, chamber: Any, *statements: dict[str, Any]) -> None:
        self._chamber, self._iam = chamber, chamber.client("iam")
        self.name = named("edge")
        self._iam.create_user(UserName=self.name)
        key = self._iam.create_access_key(UserName=self.name)["AccessKey"]
        self.key = f"{key['AccessKeyId']}:{key['SecretAccessKey']}"
        if statements:
            self.may(*statements)

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT}:user/{self.name}"

    def may(self, *statements: dict[str, Any]) -> None:
        self._iam.put_user_policy(UserName=self.name, PolicyName="own", PolicyDocument=document(*statements))

    def client(self, service: str) -> Any:
        return self._chamber.client(service, self.key)


def role(chamber: Any, trusted: dict[str, Any], *statements: dict[str, Any], **members: Any) -> str:
    """A role that `trusted` may assume, with these statements; its name."""
    iam, name = chamber.client("iam"), named("edge")
    trust = document({"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **members)
    if statements:
        may(chamber, name, *statements)
    return name


def may(chamber: Any, name: str, *statements: dict[str, Any]) -> None:
    chamber.client("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def profile(chamber: Any, role_name: str) -> str:
    """An instance profile with the role, of the same name."""
    iam = chamber.client("iam")
    iam.create_instance_profile(InstanceProfileName=role_name)
    iam.add_role_to_instance_profile(InstanceProfileName=role_name, RoleName=role_name)
    return role_name


def zipped(source: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("index.py", source)
    return held.getvalue()


def function(chamber: Any, source: str, role_name: str, **members: Any) -> str:
    """A function that is ready; its name."""
    client, name = chamber.client("lambda"), named("edge")
    client.create_function(
        FunctionName=name, Runtime="python3.12", Handler="index.handler", Role=role_arn(role_name), Timeout=30,
        Code={"ZipFile": zipped(source)}, **members,
    )  # fmt: skip
    until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    return name


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def invoke(chamber: Any, name: str, event: Any = None) -> Any:
    return json.loads(chamber.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


def until(look: Callable[[], Any], within_s: float = 60.0) -> Any:
    """What `look` gives, once it gives something true."""
    ends = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.05)
    return found

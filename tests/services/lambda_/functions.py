# SPDX-License-Identifier: Apache-2.0
"""What tests of Lambda share: packages, a role, functions that are ready, conditions that come true."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def package(source: str, **more: str) -> bytes:
    """A package with `index.py` and further files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("index.py", source)
        for name, text in more.items():
            made.writestr(name, text)
    return held.getvalue()


def role(chamber: Any, name: str, *statements: dict[str, Any]) -> str:
    """A role for functions, with these statements; its ARN."""
    iam = chamber.client("iam")
    try:
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    except iam.exceptions.EntityAlreadyExistsException:
        arn = iam.get_role(RoleName=name)["Role"]["Arn"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_role_policy(RoleName=name, PolicyName="tests", PolicyDocument=document)
    return arn


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def until(fact: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Wait until `fact` gives something true; its value."""
    ends = time.monotonic() + within_s
    while not (found := fact()):
        if time.monotonic() > ends:
            raise AssertionError("it did not come true in time")
        time.sleep(0.05)
    return found


def function(chamber: Any, name: str, source: str, **members: Any) -> Any:
    """A function that is ready; the client."""
    client = chamber.client("lambda")
    members.setdefault("Role", role(chamber, "functions", allow("logs:*")))
    members.setdefault("Timeout", 20)
    client.create_function(
        FunctionName=name, Runtime="python3.12", Handler="index.handler", Code={"ZipFile": package(source)}, **members
    )
    ready(client, name)
    return client


def ready(client: Any, name: str) -> None:
    def settled() -> bool:
        shown = client.get_function_configuration(FunctionName=name)
        return shown["State"] == "Active" and shown["LastUpdateStatus"] == "Successful"

    until(settled)


def call(client: Any, name: str, event: Any = None, **members: Any) -> tuple[Any, dict[str, Any]]:
    """Invoke; the payload's value, and the whole response."""
    response = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **members)
    text = response["Payload"].read()
    return (json.loads(text) if text else None), response


def messages(chamber: Any, name: str, pattern: str = "") -> list[str]:
    """What a function logged."""
    logs = chamber.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{name}", filterPattern=pattern
        )
        return [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []

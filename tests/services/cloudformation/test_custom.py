# SPDX-License-Identifier: Apache-2.0
"""Custom resources through unmodified boto3: a function answers by HTTPS, as its properties tell it to."""

from __future__ import annotations

import json
import shutil
import time
import urllib.parse
from typing import Any

import pytest
from botocore.exceptions import ClientError

CODE = """
import json, os, time, urllib.request, urllib.error
import boto3

def put(event, **answer):
    base = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    data = json.dumps({**base, **answer}).encode()
    request = urllib.request.Request(event["ResponseURL"], data, {"Content-Type": ""}, method="PUT")
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code

def handler(event, context):
    wanted = event["ResourceProperties"]
    told = boto3.client("s3")
    key = f"{event['LogicalResourceId']}/{time.time_ns()}"
    told.put_object(Bucket=os.environ["TOLD"], Key=key, Body=json.dumps(event))
    time.sleep(int(wanted.get("Slow", 0)) if event["RequestType"] == "Create" else 0)
    if wanted.get("Crash") == "true":
        raise ValueError("I give up")
    if wanted.get("Silent") == event["RequestType"]:
        return
    own = event.get("PhysicalResourceId", "")
    physical_id = f"thing-{wanted.get('Name')}" if event["RequestType"] != "Delete" else own
    if wanted.get("Fail") == event["RequestType"]:
        put(event, Status="FAILED", Reason="because I was told to", PhysicalResourceId=physical_id)
        return
    data = {"Where": f"at {wanted.get('Name')}", "Deep": {"In": "side"}, "Long": "x" * int(wanted.get("Long", 0))}
    answer = dict(Status="SUCCESS", PhysicalResourceId=physical_id, Data=data, NoEcho=wanted.get("Secret") == "true")
    if wanted.get("Half"):
        answer["PhysicalResourceId"] = chr(0xD800)
    if wanted.get("Wrong"):
        answer["RequestId"] = "another"
    other = dict(Status="FAILED", Reason="no", PhysicalResourceId="x")
    seen = [put(event, **answer), put(event, **answer), put(event, **other)]
    told.put_object(Bucket=os.environ["TOLD"], Key=f"seen/{event['RequestId']}", Body=json.dumps(seen))
"""


class Desk:
    """Stacks with one custom resource `Thing` of a function that was made before."""

    def __init__(self, chamber: Any) -> None:
        self.chamber = chamber
        self.stacks, self.s3 = chamber.client("cloudformation"), chamber.client("s3")
        self.bucket = "custom-told"
        self.s3.create_bucket(Bucket=self.bucket)
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        allow = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{self.bucket}/*"}
        role = {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "Policies": [{"PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17", "Statement": [allow]}}],
        }
        function = {
            "Runtime": "python3.12", "Handler": "index.handler", "Code": {"ZipFile": CODE}, "Timeout": 20,
            "Role": {"Fn::GetAtt": "Role.Arn"}, "Environment": {"Variables": {"TOLD": self.bucket}},
        }  # fmt: skip
        made = {
            "Resources": {
                "Role": {"Type": "AWS::IAM::Role", "Properties": role},
                "Maker": {"Type": "AWS::Lambda::Function", "Properties": function},
            },
            "Outputs": {"Token": {"Value": {"Fn::GetAtt": "Maker.Arn"}}},
        }
        self.create("custom-maker", made, Capabilities=["CAPABILITY_IAM"])
        self.token = self.stack("custom-maker")["Outputs"][0]["OutputValue"]

    def template(self, kind: str = "Custom::Thing", outputs: Any = None, **properties: Any) -> dict[str, Any]:
        thing = {"Type": kind, "Properties": {"ServiceToken": self.token, **properties}}
        return {"Resources": {"Thing": thing}, "Outputs": outputs or {}}

    def create(self, name: str, template: Any, status: str = "CREATE_COMPLETE", **more: Any) -> dict[str, Any]:
        made = self.stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), **more)
        return self.wait(made["StackId"], status)

    def update(self, name: str, template: Any, status: str = "UPDATE_COMPLETE") -> dict[str, Any]:
        self.stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
        return self.wait(name, status)

    def wait(self, stack_id: str, status: str) -> dict[str, Any]:
        ends = time.monotonic() + 120
        while (stack := self.stack(stack_id))["StackStatus"].endswith("_IN_PROGRESS"):
            assert time.monotonic() < ends, self.reasons(stack_id)
            time.sleep(0.05)
        assert stack["StackStatus"] == status, self.reasons(stack_id)
        return stack

    def delete(self, name: str) -> dict[str, Any]:
        stack_id = self.stack(name)["StackId"]
        self.stacks.delete_stack(StackName=name)
        return self.wait(stack_id, "DELETE_COMPLETE")

    def stack(self, name: str) -> dict[str, Any]:
        return self.stacks.describe_stacks(StackName=name)["Stacks"][0]

    def resource(self, name: str) -> dict[str, Any]:
        return self.stacks.describe_stack_resource(StackName=name, LogicalResourceId="Thing")["StackResourceDetail"]

    def asked(self, stack_id: str) -> list[dict[str, Any]]:
        """What the function was asked for this stack, in order."""
        rows = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="Thing/").get("Contents", ())
        events = [self.read(row["Key"]) for row in rows]  # Why in order: their keys are the times
        return [event for event in events if event["StackId"] == stack_id]

    def read(self, key: str) -> Any:
        return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def reasons(self, stack_id: str) -> str:
        events = self.stacks.describe_stack_events(StackName=stack_id)["StackEvents"]
        return "\n".join(f"{e['ResourceStatus']} {e.get('ResourceStatusReason', '')}" for e in events)


@pytest.fixture(scope="module")
def desk(chamber: Any) -> Desk:
    if not chamber.about["sandbox_mode"].startswith("ns-"):
        pytest.skip(f"functions in mode {chamber.about['sandbox_mode']} have no network of their own to answer by")
    return Desk(chamber)


def test_create_update_replace_and_delete(desk):
    outputs = {
        "Ref": {"Value": {"Ref": "Thing"}},
        "Where": {"Value": {"Fn::GetAtt": ["Thing", "Where"]}},
        "Deep": {"Value": {"Fn::Sub": "${Thing.Deep.In}"}},
    }
    properties = {"Name": "a", "Count": 3, "On": True, "List": [1, {"Deep": False}]}
    stack_id = desk.create("custom-life", desk.template(outputs=outputs, **properties))["StackId"]
    found = {o["OutputKey"]: o["OutputValue"] for o in desk.stack("custom-life")["Outputs"]}
    assert found == {"Ref": "thing-a", "Where": "at a", "Deep": "side"}
    (created,) = desk.asked(stack_id)
    assert created["RequestType"] == "Create"
    assert created["ResourceType"] == "Custom::Thing"
    assert created["LogicalResourceId"] == "Thing"
    assert "PhysicalResourceId" not in created
    expected = {"ServiceToken": desk.token, "Name": "a", "Count": "3", "On": "true", "List": ["1", {"Deep": "false"}]}
    assert created["ResourceProperties"] == expected
    url = urllib.parse.urlsplit(created["ResponseURL"])
    assert (url.scheme, url.port) == ("https", None)
    assert urllib.parse.unquote(url.path) == f"/{stack_id}|Thing|{created['RequestId']}"
    # one answer for a request: the same again is no other, another one is refused
    where = {"Bucket": desk.bucket, "Key": f"seen/{created['RequestId']}"}
    desk.s3.get_waiter("object_exists").wait(**where, WaiterConfig={"Delay": 1})  # the stack was done at the first
    assert desk.read(f"seen/{created['RequestId']}") == [200, 200, 403]

    desk.update("custom-life", desk.template(outputs=outputs, Name="a", Count=4))
    _, updated = desk.asked(stack_id)
    assert updated["RequestType"] == "Update"
    assert updated["PhysicalResourceId"] == "thing-a"
    assert updated["OldResourceProperties"] == expected
    assert updated["ResourceProperties"] == {"ServiceToken": desk.token, "Name": "a", "Count": "4"}

    desk.update("custom-life", desk.template(outputs=outputs, Name="b"))
    *_, moved, gone = desk.asked(stack_id)
    assert (moved["RequestType"], moved["PhysicalResourceId"]) == ("Update", "thing-a")
    assert (gone["RequestType"], gone["PhysicalResourceId"]) == ("Delete", "thing-a")
    assert gone["ResourceProperties"]["Count"] == "4"
    assert desk.resource("custom-life")["PhysicalResourceId"] == "thing-b"

    desk.delete("custom-life")
    last = desk.asked(stack_id)[-1]
    assert (last["RequestType"], last["PhysicalResourceId"]) == ("Delete", "thing-b")


def test_a_failed_creation_is_rolled_back_with_the_id_it_told(desk):
    template = desk.template("AWS::CloudFormation::CustomResource", Name="f", Fail="Create")
    stack = desk.create("custom-failed", template, "ROLLBACK_COMPLETE")
    created, deleted = desk.asked(stack["StackId"])
    assert created["ResourceType"] == "AWS::CloudFormation::CustomResource"
    assert (deleted["RequestType"], deleted["PhysicalResourceId"]) == ("Delete", "thing-f")
    said = "Received response status [FAILED] from custom resource. Message returned: because I was told to"
    assert f"{said} (RequestId: {created['RequestId']})" in desk.reasons(stack["StackId"])
    desk.delete("custom-failed")


def test_a_failed_update_is_rolled_back_by_an_update(desk):
    stack_id = desk.create("custom-back", desk.template(Name="u"))["StackId"]
    desk.update("custom-back", desk.template(Name="u", Value="new", Crash=True), "UPDATE_ROLLBACK_COMPLETE")
    first, *tries, back = desk.asked(stack_id)
    assert first["RequestType"] == "Create"
    assert {event["RequestType"] for event in tries} == {"Update"}
    assert len({event["RequestId"] for event in tries}) == 1  # Lambda tried again, as it does
    assert back["OldResourceProperties"] == tries[0]["ResourceProperties"]
    assert back["ResourceProperties"] == first["ResourceProperties"]
    assert "The function failed on every try" in desk.reasons(stack_id)
    assert "ValueError: I give up" in desk.reasons(stack_id)
    desk.delete("custom-back")


def test_silence_fails_when_the_time_is_over_and_the_rollback_deletes(desk):
    template = desk.template(Name="s", Silent="Create", ServiceTimeout=2)
    stack = desk.create("custom-silent", template, "ROLLBACK_COMPLETE")
    assert "CloudFormation did not receive a response from your Custom Resource." in desk.reasons(stack["StackId"])
    _, deleted = desk.asked(stack["StackId"])
    assert deleted["RequestType"] == "Delete"
    assert deleted["PhysicalResourceId"].startswith("custom-silent-Thing-")
    desk.delete("custom-silent")


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"Long": 5000}, "Response object is too long."),
        ({"Half": "yes"}, "Invalid response object: StackId is missing"),
        ({"Wrong": "yes"}, "Invalid response object: RequestId is missing, or is not that of the request"),
    ],
)
def test_what_is_no_answer_fails(desk, properties, said):
    name = f"custom-odd-{next(iter(properties)).lower()}"
    template = desk.template(Name="o", **properties)
    desk.create(name, template, "CREATE_FAILED", OnFailure="DO_NOTHING")
    assert said in desk.reasons(name)


def test_an_attribute_that_was_not_answered(desk):
    template = desk.template(Name="m", outputs={"None": {"Value": {"Fn::GetAtt": ["Thing", "Nothing"]}}})
    desk.create("custom-missing", template, "ROLLBACK_COMPLETE")
    said = "CustomResource attribute error: Vendor response doesn't contain Nothing key"
    assert said in desk.reasons("custom-missing")


def test_no_echo_masks_attributes_in_events(desk):
    template = desk.template(Name="n", Secret=True)
    path = {"Fn::Join": ["", ["custom/", {"Fn::GetAtt": ["Thing", "Where"]}]]}
    template["Resources"]["Log"] = {
        "Type": "AWS::Logs::LogGroup", "Properties": {"Tags": [{"Key": "where", "Value": path}]},
    }  # fmt: skip
    desk.create("custom-masked", template)
    events = desk.stacks.describe_stack_events(StackName="custom-masked")["StackEvents"]
    shown = [e["ResourceProperties"] for e in events if e["LogicalResourceId"] == "Log"]
    assert shown
    assert all("custom/****" in text and "at n" not in text for text in shown)
    desk.delete("custom-masked")


@pytest.mark.parametrize(
    ("runtime", "code"),
    [
        (
            "python3.12",
            "import cfnresponse\ndef handler(event, context):\n"
            "    cfnresponse.send(event, context, cfnresponse.SUCCESS, {'Where': 'here'}, 'own-id')\n",
        ),
        (
            "nodejs20.x",
            "const response = require('cfn-response');\nexports.handler = (event, context) =>\n"
            "  response.send(event, context, response.SUCCESS, { Where: 'here' }, 'own-id');\n",
        ),
    ],
)
def test_the_module_that_code_in_a_template_may_ask_for(desk, runtime, code):
    if runtime.startswith("node") and shutil.which("node") is None:
        pytest.skip("no Node.js on this machine")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}}
    function = {
        "Runtime": runtime, "Handler": "index.handler", "Code": {"ZipFile": code}, "Timeout": 20,
        "Role": {"Fn::GetAtt": "Role.Arn"},
    }  # fmt: skip
    template = desk.template(outputs={"Where": {"Value": {"Fn::GetAtt": "Thing.Where"}}})
    template["Resources"]["Thing"]["Properties"]["ServiceToken"] = {"Fn::GetAtt": "Maker.Arn"}
    template["Resources"] |= {
        "Role": {"Type": "AWS::IAM::Role", "Properties": role},
        "Maker": {"Type": "AWS::Lambda::Function", "Properties": function},
    }
    name = f"custom-module-{runtime[:4]}"
    stack = desk.create(name, template, Capabilities=["CAPABILITY_IAM"])
    assert stack["Outputs"][0]["OutputValue"] == "here"
    assert desk.resource(name)["PhysicalResourceId"] == "own-id"
    desk.delete(name)


def test_refused_before_anything_is_created(desk):
    for token, said in (
        ("arn:aws:sns:us-east-1:000000000000:topic", "A ServiceToken of Amazon SNS is not supported here"),
        ("arn:aws:s3:::bucket", "Invalid service token."),
    ):
        template = {"Resources": {"Thing": {"Type": "Custom::Thing", "Properties": {"ServiceToken": token}}}}
        with pytest.raises(ClientError, match=said):
            desk.stacks.create_stack(StackName="custom-refused", TemplateBody=json.dumps(template))
    for timeout in (0, 3601, "soon"):
        with pytest.raises(ClientError, match="ServiceTimeout must be a whole number from 1 to 3600"):
            desk.stacks.create_stack(
                StackName="custom-refused", TemplateBody=json.dumps(desk.template(ServiceTimeout=timeout))
            )
    with pytest.raises(ClientError, match=r"required key \[ServiceToken\] not found"):
        desk.stacks.create_stack(
            StackName="custom-refused", TemplateBody=json.dumps({"Resources": {"Thing": {"Type": "Custom::Thing"}}})
        )
    desk.create("custom-token", desk.template(Name="t"))
    changed = desk.template(Name="t", ServiceToken=desk.token + ":$LATEST")
    with pytest.raises(ClientError, match="Modifying service token is not allowed"):
        desk.stacks.update_stack(StackName="custom-token", TemplateBody=json.dumps(changed))
    desk.delete("custom-token")


def test_a_chamber_that_dies_meanwhile_deletes_what_the_function_made(own_chamber):
    if not own_chamber.about["sandbox_mode"].startswith("ns-"):
        pytest.skip(f"functions in mode {own_chamber.about['sandbox_mode']} have no network of their own to answer by")
    desk = Desk(own_chamber)
    template = json.dumps(desk.template(Name="k", Slow=2))
    stack_id = desk.stacks.create_stack(StackName="custom-killed", TemplateBody=template)["StackId"]
    ends = time.monotonic() + 60
    while not desk.asked(stack_id):
        assert time.monotonic() < ends
        time.sleep(0.05)
    own_chamber.kill()
    own_chamber.start()
    desk.stacks, desk.s3 = own_chamber.client("cloudformation"), own_chamber.client("s3")
    desk.wait(stack_id, "ROLLBACK_COMPLETE")
    *created, deleted = desk.asked(stack_id)
    assert {(event["RequestType"], event["RequestId"]) for event in created} == {("Create", created[0]["RequestId"])}
    # the id that the function told after the restart, when Lambda ran its event again; not the one reserved for it
    assert (deleted["RequestType"], deleted["PhysicalResourceId"]) == ("Delete", "thing-k")

# SPDX-License-Identifier: Apache-2.0
"""Rules with schedules, through boto3 and through CloudFormation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import function, messages, until

RULE = "arn:aws:events:us-east-1:000000000000:rule/"
SAYS = "import json\ndef handler(event, context):\n    print('TICK', json.dumps(event))\n"


def test_a_rule_from_its_creation_to_its_end(chamber: Any) -> None:
    client = chamber.client("events")
    made = client.put_rule(
        Name="life", ScheduleExpression="rate(5 minutes)", Description="d", Tags=[{"Key": "a", "Value": "b"}]
    )
    assert made["RuleArn"] == RULE + "life"
    shown = client.describe_rule(Name="life")
    assert (shown["State"], shown["ScheduleExpression"], shown["EventBusName"]) == (
        "ENABLED", "rate(5 minutes)", "default",
    )  # fmt: skip
    client.disable_rule(Name="life")
    assert client.describe_rule(Name="life")["State"] == "DISABLED"
    client.enable_rule(Name="life")
    target = {"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:any"}
    assert client.put_targets(Rule="life", Targets=[target])["FailedEntryCount"] == 0
    assert client.list_targets_by_rule(Rule="life")["Targets"] == [target]
    assert "life" in client.list_rule_names_by_target(TargetArn=target["Arn"])["RuleNames"]
    with pytest.raises(ClientError, match="since it has targets"):
        client.delete_rule(Name="life")
    client.tag_resource(ResourceARN=RULE + "life", Tags=[{"Key": "c", "Value": "d"}])
    client.untag_resource(ResourceARN=RULE + "life", TagKeys=["a"])
    assert client.list_tags_for_resource(ResourceARN=RULE + "life")["Tags"] == [{"Key": "c", "Value": "d"}]
    assert [rule["Name"] for rule in client.list_rules(NamePrefix="lif")["Rules"]] == ["life"]
    client.remove_targets(Rule="life", Ids=["1"])
    client.delete_rule(Name="life")
    client.delete_rule(Name="life")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_rule(Name="life")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ScheduleExpression": "rate(5 minute)"}, "ScheduleExpression is not valid"),
        ({"ScheduleExpression": "cron(* * * * * *)"}, "ScheduleExpression is not valid"),
        ({}, "must be specified"),
        ({"EventPattern": "{}"}, "EventPattern is not supported"),
        ({"ScheduleExpression": "rate(1 day)", "EventBusName": "other"}, "Event bus other does not exist"),
    ],
)
def test_what_is_refused(chamber: Any, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        chamber.client("events").put_rule(Name="refused", **members)


FUNCTION = {"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f"}


def test_targets_that_are_refused(chamber: Any) -> None:
    client = chamber.client("events")
    client.put_rule(Name="aimed", ScheduleExpression="rate(5 minutes)")
    for target, words in (
        ({"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:q"}, "only Lambda functions"),
        ({"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f", "InputPath": "$.x"}, "InputPath"),
        ({"Id": "1", "Arn": "arn:aws:lambda:us-east-1:000000000000:function:f", "Input": "{"}, "JSON syntax error"),
        ({**FUNCTION, "RetryPolicy": {"MaximumRetryAttempts": 186}}, "MaximumRetryAttempts|less than or equal"),
        ({**FUNCTION, "RetryPolicy": {"MaximumEventAgeInSeconds": 86_401}}, "MaximumEventAgeInSeconds|less than"),
        ({**FUNCTION, "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:q"}}, "DeadLetterConfig is not"),
    ):
        with pytest.raises(ClientError, match=words):
            client.put_targets(Rule="aimed", Targets=[target])


def test_a_serverless_schedule_and_a_rule_without_permission(chamber: Any) -> None:
    function(chamber, "unwilling", SAYS)
    client = chamber.client("events")
    client.put_rule(Name="pushing", ScheduleExpression="rate(1 minute)")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:unwilling"
    client.put_targets(Rule="pushing", Targets=[{"Id": "1", "Arn": arn}])
    stacks = chamber.client("cloudformation")
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Ticking": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "FunctionName": "ticking",
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "InlineCode": SAYS,
                    "Events": {
                        "Every": {
                            "Type": "Schedule",
                            "Properties": {"Schedule": "rate(1 minute)", "Name": "ticks", "Input": '{"n": 1}'},
                        }
                    },
                },
            }
        },
    }
    request = {"StackName": "schedules", "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]}
    quick = {"Delay": 1, "MaxAttempts": 60}
    stacks.create_stack(TemplateBody=json.dumps(template), **request)
    stacks.get_waiter("stack_create_complete").wait(StackName="schedules", WaiterConfig=quick)
    (target,) = client.list_targets_by_rule(Rule="ticks")["Targets"]
    assert target["Arn"].endswith(":function:ticking")
    (line,) = until(lambda: messages(chamber, "ticking", "TICK"), within_s=90)
    assert json.loads(line.removeprefix("TICK ")) == {"n": 1}
    # Why the same test: a minute is the shortest rate, and one is enough for both.
    until(lambda: "rule arn:aws:events:us-east-1:000000000000:rule/pushing could not run" in chamber.log, within_s=90)
    assert messages(chamber, "unwilling", "TICK") == []
    stacks.delete_stack(StackName="schedules")
    stacks.get_waiter("stack_delete_complete").wait(StackName="schedules", WaiterConfig=quick)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_rule(Name="ticks")

# SPDX-License-Identifier: Apache-2.0
"""What SAM makes of a function with an alias, an address, layers and event settings, through CloudFormation."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from tests.services.lambda_.functions import call
from tests.services.lambda_.test_urls import ask

QUICK = {"Delay": 1, "MaxAttempts": 60}


def template(word: str) -> dict[str, Any]:
    code = f"import shared\ndef handler(event, context):\n    return '{word} ' + shared.WORD\n"
    return {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Shared": {
                "Type": "AWS::Serverless::LayerVersion",
                "Properties": {
                    "ContentUri": {"Bucket": "lambda-stack-layers", "Key": "layer.zip"},
                    "LayerName": "stacked-layer",
                    "CompatibleRuntimes": ["python3.12"],
                    "RetentionPolicy": "Delete",
                },
            },
            "Site": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "InlineCode": code,
                    "AutoPublishAlias": "live",
                    "AutoPublishCodeSha256": (word * 64)[:64],
                    "Layers": [{"Ref": "Shared"}],
                    "FunctionUrlConfig": {"AuthType": "NONE", "Cors": {"AllowOrigins": ["*"]}},
                    "EventInvokeConfig": {"MaximumRetryAttempts": 1},
                    "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
                },
            },
        },
        "Outputs": {
            "Alias": {"Value": {"Ref": "Site.Alias"}},
            "Version": {"Value": {"Fn::GetAtt": ["Site.Version", "Version"]}},
            "Url": {"Value": {"Fn::GetAtt": ["SiteUrl", "FunctionUrl"]}},
        },
    }


def test_a_serverless_function_with_everything(chamber: Any) -> None:
    s3, stacks, client = (chamber.client(name) for name in ("s3", "cloudformation", "lambda"))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("python/shared.py", "WORD = 'shared'\n")
    s3.create_bucket(Bucket="lambda-stack-layers")
    s3.put_object(Bucket="lambda-stack-layers", Key="layer.zip", Body=held.getvalue())
    request = {
        "StackName": "serverless", "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }  # fmt: skip

    def outputs() -> dict[str, str]:
        (stack,) = stacks.describe_stacks(StackName="serverless")["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    stacks.create_stack(TemplateBody=json.dumps(template("one")), **request)
    stacks.get_waiter("stack_create_complete").wait(StackName="serverless", WaiterConfig=QUICK)
    made = outputs()
    assert made["Version"] == "1"
    assert call(client, made["Alias"])[0] == "one shared"
    answer = ask(made["Url"])
    assert (answer.status, answer.data) == (200, b"one shared")
    name = made["Alias"].removesuffix(":live")
    settings = client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")
    assert settings["MaximumRetryAttempts"] == 1
    assert client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")["Status"] == "READY"
    stacks.update_stack(TemplateBody=json.dumps(template("two")), **request)
    stacks.get_waiter("stack_update_complete").wait(StackName="serverless", WaiterConfig=QUICK)
    assert outputs()["Version"] == "2"
    assert call(client, made["Alias"])[0] == "two shared"
    stacks.delete_stack(StackName="serverless")
    stacks.get_waiter("stack_delete_complete").wait(StackName="serverless", WaiterConfig=QUICK)
    assert client.list_layer_versions(LayerName="stacked-layer")["LayerVersions"] == []

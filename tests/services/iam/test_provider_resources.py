# SPDX-License-Identifier: Apache-2.0
"""Identity providers and service-linked roles in a CloudFormation template."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError
from tests.services.iam.test_providers import metadata


def deploy(cfn, name: str, resources: dict, outputs: dict, *, update: bool = False) -> dict[str, str]:
    template = json.dumps({"Resources": resources, "Outputs": {k: {"Value": v} for k, v in outputs.items()}})
    run = cfn.update_stack if update else cfn.create_stack
    run(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
    cfn.get_waiter("stack_update_complete" if update else "stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100}
    )
    (stack,) = cfn.describe_stacks(StackName=name)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


def test_a_stack_makes_changes_and_removes_providers_and_linked_roles(chamber):
    cfn, iam, name = chamber.client("cloudformation"), chamber.client("iam"), f"prov-{uuid.uuid4().hex[:8]}"

    def resources(clients, document, description) -> dict:
        return {
            "Oidc": {
                "Type": "AWS::IAM::OIDCProvider",
                "Properties": {"Url": f"https://{name}.example.com", "ClientIdList": clients},
            },
            "Saml": {
                "Type": "AWS::IAM::SAMLProvider",
                "Properties": {"Name": name, "SamlMetadataDocument": document, "Tags": [{"Key": "k", "Value": "v"}]},
            },
            "Linked": {
                "Type": "AWS::IAM::ServiceLinkedRole",
                "Properties": {
                    "AWSServiceName": "autoscaling.amazonaws.com", "CustomSuffix": name, "Description": description,
                },
            },
        }  # fmt: skip

    outputs = {"Oidc": {"Ref": "Oidc"}, "Saml": {"Fn::GetAtt": ["Saml", "Arn"]}, "Linked": {"Ref": "Linked"}}
    made = deploy(cfn, name, resources(["a", "b"], metadata(), "one"), outputs)
    assert made["Linked"] == f"AWSServiceRoleForAutoScaling_{name}"
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=made["Oidc"])
    assert sorted(found["ClientIDList"]) == ["a", "b"]
    assert {"Key": "k", "Value": "v"} in iam.get_saml_provider(SAMLProviderArn=made["Saml"])["Tags"]
    other = metadata("https://other.example.com")
    assert deploy(cfn, name, resources(["b", "c"], other, "two"), outputs, update=True) == made
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=made["Oidc"])
    assert sorted(found["ClientIDList"]) == ["b", "c"]
    assert iam.get_saml_provider(SAMLProviderArn=made["Saml"])["SAMLMetadataDocument"] == other
    assert iam.get_role(RoleName=made["Linked"])["Role"]["Description"] == "two"
    cfn.delete_stack(StackName=name)
    cfn.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100})
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName=made["Linked"])
    assert made["Oidc"] not in str(iam.list_open_id_connect_providers())
    assert made["Saml"] not in str(iam.list_saml_providers())

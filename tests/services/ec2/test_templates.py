# SPDX-License-Identifier: Apache-2.0
"""Launch templates: versions, and what a launch takes from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from cloudchamber.services.ec2.template_rows import overlay
from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def refusal(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def test_versions_come_default_and_go(lab: Lab):
    ec2, name = lab.ec2, unique("template")
    data = {"ImageId": lab.image, "InstanceType": lab.kind}
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    assert (made["DefaultVersionNumber"], made["LatestVersionNumber"]) == (1, 1)
    again = lambda: ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)  # noqa: E731
    assert refusal(again) == "InvalidLaunchTemplateName.AlreadyExistsException"
    second = ec2.create_launch_template_version(
        LaunchTemplateName=name, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.small"}
    )["LaunchTemplateVersion"]
    assert second["LaunchTemplateData"] == {"ImageId": lab.image, "InstanceType": "t3.small"}
    listed = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
    assert [(one["VersionNumber"], one["DefaultVersion"]) for one in listed] == [(2, False), (1, True)]
    ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    gone = ec2.delete_launch_template_versions(LaunchTemplateName=name, Versions=["1", "2", "9"])
    assert [one["VersionNumber"] for one in gone["SuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    kept = gone["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert [one["ResponseError"]["Code"] for one in kept] == ["unexpectedError", "launchTemplateVersionDoesNotExist"]
    ec2.delete_launch_template(LaunchTemplateName=name)
    missing = lambda: ec2.describe_launch_templates(LaunchTemplateNames=[name])  # noqa: E731
    assert refusal(missing) == "InvalidLaunchTemplateName.NotFoundException"


def test_a_template_that_no_launch_would_carry_out_is_refused_at_once(lab: Lab):
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    call = lambda: lab.ec2.create_launch_template(LaunchTemplateName=unique("t"), LaunchTemplateData=spot)  # noqa: E731
    assert refusal(call) == "UnsupportedOperation"


def test_an_instance_is_launched_from_a_template(lab: Lab):
    ec2, name, group = lab.ec2, unique("template"), lab.group()
    data = {
        "ImageId": lab.image,
        "InstanceType": lab.kind,
        "SecurityGroupIds": [group],
        "MetadataOptions": {"HttpTokens": "optional", "HttpPutResponseHopLimit": 3},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}],
    }
    template = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    chosen = {"LaunchTemplateName": name, "Version": "$Latest"}
    run = ec2.run_instances(
        LaunchTemplate=chosen, MinCount=1, MaxCount=1, MetadataOptions={"HttpTokens": "required"}
    )  # fmt: skip
    instance = run["Instances"][0]["InstanceId"]
    view = lab.wait(instance)
    assert [one["GroupId"] for one in view["SecurityGroups"]] == [group]
    options = view["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 3)
    tags = {one["Key"]: one["Value"] for one in view["Tags"]}
    assert tags == {
        "team": "blue",
        "aws:ec2launchtemplate:id": template["LaunchTemplateId"],
        "aws:ec2launchtemplate:version": "1",
    }
    ec2.terminate_instances(InstanceIds=[instance])


def test_what_a_launch_says_of_its_network_stands_for_all_of_the_templates():
    data = {"ImageId": "ami-1", "NetworkInterfaces": [{"SubnetId": "subnet-1", "Groups": ["sg-1"]}]}
    assert overlay(data, {"MinCount": 1}) == {**data, "MinCount": 1}
    own = {"NetworkInterfaces": [{"SubnetId": "subnet-2"}]}
    assert overlay(data, own) == {"ImageId": "ami-1", **own}
    grouped = {"ImageId": "ami-1", "SecurityGroupIds": ["sg-1"]}
    assert overlay(grouped, {"SubnetId": "subnet-2"}) == {**grouped, "SubnetId": "subnet-2"}
    assert overlay(grouped, {"SecurityGroupIds": ["sg-2"]}) == {"ImageId": "ami-1", "SecurityGroupIds": ["sg-2"]}

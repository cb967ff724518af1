# SPDX-License-Identifier: Apache-2.0
"""Status checks from what really answers, and what a launch may say of how an instance is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.services.ec2.test_volumes import quick, refused

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def status(lab: Lab, instance: str) -> dict[str, Any]:
    answer = lab.ec2.describe_instance_status(InstanceIds=[instance], IncludeAllInstances=True)
    return answer["InstanceStatuses"][0]


def test_status_is_what_the_guest_answers(lab: Lab):
    instance = lab.run("#!/bin/sh\npython3 - <<'E'\nimport os\nprint('init is', os.getppid())\nE\necho ready\n")
    quick(lab, "instance_status_ok").wait(InstanceIds=[instance])
    quick(lab, "system_status_ok").wait(InstanceIds=[instance])
    lab.until_console(instance, "ready")
    found = status(lab, instance)
    assert found["InstanceStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    assert found["AttachedEbsStatus"]["Status"] == "ok"
    ok = [{"Name": "instance-status.status", "Values": ["ok"]}]
    assert instance in {one["InstanceId"] for one in lab.ec2.describe_instance_status(Filters=ok)["InstanceStatuses"]}
    lab.ec2.stop_instances(InstanceIds=[instance])
    lab.wait(instance, "stopped")
    assert status(lab, instance)["InstanceStatus"]["Status"] == "not-applicable"
    assert lab.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"] == []
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_guest_that_does_not_answer_is_impaired(lab: Lab):
    # Its init is stopped by the instance's own root once it has answered.
    script = "#!/bin/sh\necho ready; while [ ! -e /srv/now ]; do sleep 0.1; done; kill -STOP $PPID; echo stopped\n"
    instance = lab.run(script)
    quick(lab, "instance_status_ok").wait(InstanceIds=[instance])
    volume = lab.view(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    (lab.chamber.state / "ec2" / "volumes" / volume / "srv" / "now").touch()

    def look() -> dict[str, Any] | None:
        found = status(lab, instance)
        return found if found["InstanceStatus"]["Status"] == "impaired" else None

    found = lab.until(look, "impaired")
    assert found["SystemStatus"]["Status"] == "ok"
    detail = found["InstanceStatus"]["Details"][0]
    assert detail["Status"] == "failed"
    assert "ImpairedSince" in detail
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"InstanceMarketOptions": {"MarketType": "spot"}}, "UnsupportedOperation", "InstanceMarketOptions"),
        ({"HibernationOptions": {"Configured": True}}, "UnsupportedOperation", "HibernationOptions"),
        ({"EnclaveOptions": {"Enabled": True}}, "UnsupportedOperation", "EnclaveOptions"),
        ({"CpuOptions": {"CoreCount": 7, "ThreadsPerCore": 1}}, "UnsupportedOperation", "CpuOptions"),
        ({"CreditSpecification": {"CpuCredits": "standard"}}, "UnsupportedOperation", "CreditSpecification"),
        ({"Placement": {"GroupName": "g"}}, "UnsupportedOperation", "GroupName"),
        ({"Monitoring": {"Enabled": True}}, "UnsupportedOperation", "monitoring"),
    ],
)
def test_launches_that_nothing_here_could_carry_out(lab: Lab, given: dict[str, Any], error: str, named: str):
    assert named in refused(error, lab.run, **given)


def test_what_is_so_anyway_is_accepted(lab: Lab):
    lab.ec2.modify_instance_metadata_defaults(HttpTokens="optional", HttpPutResponseHopLimit=5)
    try:
        instance = lab.run(
            HibernationOptions={"Configured": False},
            EnclaveOptions={"Enabled": False},
            CreditSpecification={"CpuCredits": "unlimited"},
            EbsOptimized=True,
        )
        assert lab.ec2.get_instance_metadata_defaults()["AccountLevel"]["HttpTokens"] == "optional"
    finally:
        lab.ec2.modify_instance_metadata_defaults(HttpTokens="no-preference", HttpPutResponseHopLimit=-1)
    view = lab.wait(instance)
    assert view["EbsOptimized"] is True
    assert (view["MetadataOptions"]["HttpTokens"], view["MetadataOptions"]["HttpPutResponseHopLimit"]) == (
        "optional",
        5,
    )
    credit = lab.ec2.describe_instance_credit_specifications(InstanceIds=[instance])["InstanceCreditSpecifications"]
    assert credit == [{"InstanceId": instance, "CpuCredits": "unlimited"}]
    keep = {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": False}}
    lab.ec2.modify_instance_attribute(InstanceId=instance, BlockDeviceMappings=[keep])
    shown = lab.ec2.describe_instance_attribute(InstanceId=instance, Attribute="blockDeviceMapping")
    assert shown["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is False
    refused(
        "UnsupportedOperation", lab.ec2.modify_instance_attribute, InstanceId=instance, SourceDestCheck={"Value": False}
    )
    lab.ec2.reset_instance_attribute(InstanceId=instance, Attribute="sourceDestCheck")
    refused("UnsupportedOperation", lab.ec2.get_console_screenshot, InstanceId=instance)
    volume = view["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    quick(lab, "volume_available").wait(VolumeIds=[volume])
    lab.ec2.delete_volume(VolumeId=volume)


def test_offerings_and_limits(lab: Lab):
    pages = lab.ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [lab.kind]}]
    )
    assert {one["Location"][:-1] for page in pages for one in page["InstanceTypeOfferings"]} == {"us-east-1"}
    found = lab.ec2.describe_account_attributes(AttributeNames=["max-instances"])["AccountAttributes"]
    assert found[0]["AttributeValues"] == [{"AttributeValue": "64"}]


def test_lists_as_aws_writes_them(lab: Lab):
    """Tags are left out where there are none, and blocks get their canonical form."""
    vpc = lab.ec2.create_vpc(CidrBlock="10.250.1.7/24")["Vpc"]
    assert vpc["CidrBlock"] == "10.250.1.0/24"
    lab.ec2.delete_vpc(VpcId=vpc["VpcId"])
    empty = [{"ResourceType": "instance", "Tags": []}]
    assert "at least one tag" in refused("InvalidParameterValue", lab.run, TagSpecifications=empty)
    refused("InvalidID", lab.ec2.create_tags, Resources=["vol-1"], Tags=[{"Key": "k", "Value": "v"}])
    found = lab.ec2.describe_instances(Filters=[{"Name": "tag-value", "Values": ["nobody-has-this"]}])
    assert found["Reservations"] == []

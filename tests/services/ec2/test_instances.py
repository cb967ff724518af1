# SPDX-License-Identifier: Apache-2.0
"""Instances through boto3: launch, describe, change, end."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return caught.value.response["Error"]["Code"]


def test_a_life(lab: Lab) -> None:
    made = lab.ec2.run_instances(
        ImageId=lab.image,
        InstanceType=lab.kind,
        MinCount=1,
        MaxCount=1,
        UserData="#!/bin/bash\necho first boot; echo kept > /var/kept; cat /var/kept",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "life"}]}],
    )
    one = made["Instances"][0]
    assert one["State"] == {"Code": 0, "Name": "pending"}
    assert one["Tags"] == [{"Key": "Name", "Value": "life"}]
    instance = one["InstanceId"]
    running = lab.wait(instance)
    assert running["PublicDnsName"] == f"{instance}.ec2.localhost"
    assert running["PrivateDnsName"] == "ip-" + running["PrivateIpAddress"].replace(".", "-") + ".ec2.internal"
    assert running["MetadataOptions"]["HttpTokens"] == "required"
    lab.until_console(instance, "user data ended with exit code 0")

    stopping = lab.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert (stopping["PreviousState"]["Name"], stopping["CurrentState"]["Name"]) == ("running", "stopping")
    stopped = lab.wait(instance, "stopped")
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "PublicIpAddress" not in stopped
    assert stopped["PrivateIpAddress"] == running["PrivateIpAddress"]

    lab.ec2.start_instances(InstanceIds=[instance])
    lab.wait(instance)
    lab.until(lambda: lab.console(instance).count(" boots: ") == 2, "a second boot")
    lab.ec2.reboot_instances(InstanceIds=[instance])
    lab.until(lambda: lab.console(instance).count(" boots: ") == 3, "a third boot")
    console = lab.console(instance)
    assert console.count("first boot") == 1, "user data must run once"
    root = lab.view(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert (lab.chamber.state / "ec2" / "volumes" / root / "var" / "kept").read_text() == "kept\n"

    lab.ec2.terminate_instances(InstanceIds=[instance])
    gone = lab.wait(instance, "terminated")
    assert gone["State"] == {"Code": 48, "Name": "terminated"}
    assert not (lab.chamber.state / "ec2" / instance).exists()
    with pytest.raises(ClientError) as caught:
        lab.ec2.start_instances(InstanceIds=[instance])
    assert code(caught) == "IncorrectInstanceState"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t3.gigantic"}, "InvalidInstanceType"),
        ({"KeyName": "none"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"MinCount": 2, "MaxCount": 1}, "InvalidParameterValue"),
        ({"MinCount": 65, "MaxCount": 65}, "InstanceLimitExceeded"),
        ({"UserData": "#" * 16385}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}]}, "UnsupportedOperation"),
        ({"LaunchTemplate": {"LaunchTemplateName": "xyz"}}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"MetadataOptions": {"HttpPutResponseHopLimit": 65}}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_refusals_launch_nothing(lab: Lab, given: dict[str, Any], error: str) -> None:
    before = len(lab.ec2.describe_instances()["Reservations"])
    with pytest.raises(ClientError) as caught:
        lab.run(**given) if "UserData" not in given else lab.run(given["UserData"])
    assert code(caught) == error
    assert len(lab.ec2.describe_instances()["Reservations"]) == before


def test_client_token(lab: Lab) -> None:
    token = unique("token")
    first = lab.run(ClientToken=token)
    assert lab.run(ClientToken=token) == first
    with pytest.raises(ClientError) as caught:
        lab.run(ClientToken=token, MaxCount=2)
    assert code(caught) == "IdempotentParameterMismatch"
    with pytest.raises(ClientError) as caught:
        lab.run(ClientToken="x" * 65)
    assert code(caught) == "InvalidParameterValue"
    lab.ec2.terminate_instances(InstanceIds=[first])


def test_filters_and_pages(lab: Lab) -> None:
    mark = unique("mark")
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "mark", "Value": mark}]}]
    made = lab.ec2.run_instances(
        ImageId=lab.image, InstanceType=lab.kind, MinCount=3, MaxCount=3, TagSpecifications=tags
    )["Instances"]
    ids = {one["InstanceId"] for one in made}
    assert [one["AmiLaunchIndex"] for one in made] == [0, 1, 2]
    assert len({one["PrivateIpAddress"] for one in made}) == 3
    pages = lab.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": "tag:mark", "Values": [mark[:6] + "*"]}], PaginationConfig={"PageSize": 2}
    )
    sizes = [sum(len(r["Instances"]) for r in page["Reservations"]) for page in pages]
    assert sizes == [2, 1]
    with pytest.raises(ClientError) as caught:
        lab.ec2.describe_instances(Filters=[{"Name": "no-such-filter", "Values": ["x"]}])
    assert code(caught) == "InvalidParameterValue"
    lab.ec2.terminate_instances(InstanceIds=list(ids))
    with pytest.raises(ClientError) as caught:
        lab.ec2.describe_instances(InstanceIds=["i-0123456789abcdef0"])
    assert code(caught) == "InvalidInstanceID.NotFound"
    with pytest.raises(ClientError) as caught:
        lab.ec2.describe_instances(InstanceIds=["instance"])
    assert code(caught) == "InvalidInstanceID.Malformed"


def test_attributes_and_protection(lab: Lab) -> None:
    instance = lab.run("#!/bin/sh\ntrue\n", DisableApiTermination=True)
    with pytest.raises(ClientError) as caught:
        lab.ec2.terminate_instances(InstanceIds=[instance])
    assert code(caught) == "OperationNotPermitted"
    lab.wait(instance)
    with pytest.raises(ClientError) as caught:
        lab.ec2.modify_instance_attribute(InstanceId=instance, UserData={"Value": b"#!/bin/sh\necho new\n"})
    assert code(caught) == "IncorrectInstanceState"
    got = lab.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    assert base64.b64decode(got["UserData"]["Value"]) == b"#!/bin/sh\ntrue\n"
    group = lab.group()
    lab.ec2.modify_instance_attribute(InstanceId=instance, Groups=[group])
    assert lab.view(instance)["SecurityGroups"][0]["GroupId"] == group
    with pytest.raises(ClientError) as caught:
        lab.ec2.delete_security_group(GroupId=group)
    assert code(caught) == "DependencyViolation"
    lab.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    lab.ec2.delete_security_group(GroupId=group)


def test_gzip_user_data_and_status(lab: Lab) -> None:
    instance = lab.run(gzip.compress(b"#!/bin/sh\necho unpacked\n"))  # pyright: ignore[reportArgumentType]
    lab.wait(instance)
    lab.until_console(instance, "unpacked")
    status = lab.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"][0]
    assert status["InstanceStatus"]["Status"] == "ok"
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_a_crash_is_seen_and_said(lab: Lab) -> None:
    wait = "until grep -q before /var/log/cloud-init-output.log; do :; done"
    instance = lab.run(f'#!/bin/sh\necho before the end; {wait}; kill -9 "$PPID"\n')
    stopped = lab.wait(instance, "stopped")
    assert stopped["StateReason"]["Code"] == "Server.InternalError"
    assert "before the end" in lab.console(instance)
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_shutdown_from_inside(lab: Lab) -> None:
    stops = lab.run("#!/bin/sh\nshutdown -h now\n")
    ends = lab.run("#!/bin/sh\nsudo poweroff\n", InstanceInitiatedShutdownBehavior="terminate")
    assert lab.wait(stops, "stopped")["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    lab.wait(ends, "terminated")
    lab.ec2.terminate_instances(InstanceIds=[stops])


def test_pass_role_is_needed(lab: Lab) -> None:
    profile, role = lab.profile()
    iam = lab.chamber.client("iam")
    user = unique("dev")
    iam.create_user(UserName=user)
    run = {"Effect": "Allow", "Action": ["ec2:RunInstances", "ec2:TerminateInstances"], "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [run]}
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    ec2 = lab.chamber.client("ec2", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    given = {"ImageId": lab.image, "InstanceType": lab.kind, "MinCount": 1, "MaxCount": 1}
    with pytest.raises(ClientError) as caught:
        ec2.run_instances(**given, IamInstanceProfile={"Name": profile})
    assert code(caught) == "UnauthorizedOperation"
    assert "iam:PassRole" in str(caught.value)
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": f"arn:aws:iam::000000000000:role/{role}"}
    iam.put_user_policy(UserName=user, PolicyName="q", PolicyDocument=json.dumps({**document, "Statement": [passing]}))
    instance = ec2.run_instances(**given, IamInstanceProfile={"Name": profile})["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance])


def test_tag_conditions(lab: Lab) -> None:
    iam = lab.chamber.client("iam")
    user, team = unique("dev"), unique("team")
    iam.create_user(UserName=user)
    condition = {"StringEquals": {"aws:ResourceTag/team": team}}
    statement = {"Effect": "Allow", "Action": "ec2:StopInstances", "Resource": "*", "Condition": condition}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    ec2 = lab.chamber.client("ec2", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    instance = lab.run()
    lab.wait(instance)
    with pytest.raises(ClientError) as caught:
        ec2.stop_instances(InstanceIds=[instance])
    assert code(caught) == "UnauthorizedOperation"
    lab.ec2.create_tags(Resources=[instance], Tags=[{"Key": "team", "Value": team}])
    assert lab.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance]}])["Tags"][0]["Value"] == team
    ec2.stop_instances(InstanceIds=[instance])
    lab.ec2.delete_tags(Resources=[instance], Tags=[{"Key": "team"}])
    assert "Tags" not in lab.view(instance) or not lab.view(instance)["Tags"]
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_public_parameters(lab: Lab) -> None:
    ssm = lab.chamber.client("ssm")
    image = lab.ec2.describe_images(ImageIds=[lab.image])["Images"][0]
    name = f"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-{image['Architecture']}"
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == lab.image
    got = ssm.get_parameters(Names=[name, "/mine"])
    assert [one["Value"] for one in got["Parameters"]] == [lab.image]
    assert got["InvalidParameters"] == ["/mine"]
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/mine")

# SPDX-License-Identifier: Apache-2.0
"""Volumes, snapshots and images through boto3: what an instance wrote is what the next one finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique
from tests.services.ec2.test_resources import settled

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

ROOT = "/dev/xvda"


def refused(code: str, run: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        run(**request)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response["Error"]["Message"]


def quick(lab: Lab, name: str) -> Any:
    waiter = lab.ec2.get_waiter(name)
    waiter.config.delay, waiter.config.max_attempts = 0.05, 1200
    return waiter


def volumes(lab: Lab, instance: str) -> list[dict[str, Any]]:
    filters = [{"Name": "attachment.instance-id", "Values": [instance]}]
    return lab.ec2.describe_volumes(Filters=filters)["Volumes"]


def attached(lab: Lab, volume: str, state: str = "attached") -> None:
    def look() -> bool:
        found = lab.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]
        return [one["State"] for one in found] == ([state] if state else [])

    lab.until(look, f"{volume} {state}")


def test_an_instance_has_a_root_volume_that_goes_with_it(lab: Lab):
    specified = [{"ResourceType": "volume", "Tags": [{"Key": "of", "Value": "web"}]}]
    mapping = [{"DeviceName": ROOT, "Ebs": {"VolumeSize": 20, "VolumeType": "gp3", "Iops": 4000}}]
    instance = lab.run(TagSpecifications=specified, BlockDeviceMappings=mapping)
    view = lab.wait(instance)
    device = view["BlockDeviceMappings"][0]
    assert device["DeviceName"] == ROOT == view["RootDeviceName"]
    volume = lab.ec2.describe_volumes(VolumeIds=[device["Ebs"]["VolumeId"]])["Volumes"][0]
    assert (volume["State"], volume["Size"], volume["Iops"]) == ("in-use", 20, 4000)
    assert volume["Tags"] == [{"Key": "of", "Value": "web"}]
    assert (lab.chamber.state / "ec2" / "volumes" / volume["VolumeId"] / "etc").is_dir()
    refused("OperationNotPermitted", lab.ec2.detach_volume, VolumeId=volume["VolumeId"])
    status = lab.ec2.describe_volume_status(VolumeIds=[volume["VolumeId"]])["VolumeStatuses"][0]
    assert status["VolumeStatus"]["Status"] == "ok"
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    quick(lab, "volume_deleted").wait(VolumeIds=[volume["VolumeId"]])
    assert not (lab.chamber.state / "ec2" / "volumes" / volume["VolumeId"]).exists()


def test_data_volume_moves_between_running_instances(lab: Lab):
    zone = lab.ec2.describe_subnets()["Subnets"][0]["AvailabilityZone"]
    volume = lab.ec2.create_volume(AvailabilityZone=zone, Size=5, VolumeType="gp3")["VolumeId"]
    quick(lab, "volume_available").wait(VolumeIds=[volume])
    script = (
        f"#!/bin/sh\nwhile [ ! -d /mnt/{volume} ]; do sleep 0.1; done\n"
        f"echo $(cat /mnt/{volume}/notes) >> /mnt/{volume}/notes && echo from-me >> /mnt/{volume}/notes\n"
        f"chmod 600 /mnt/{volume}/notes; echo written: $(cat /mnt/{volume}/notes | tr '\\n' ,)\n"
    )
    first, second = (lab.run(script, Placement={"AvailabilityZone": zone}) for _ in "12")
    for instance in (first, second):
        lab.wait(instance)
    lab.ec2.attach_volume(VolumeId=volume, InstanceId=first, Device="/dev/sdf")
    quick(lab, "volume_in_use").wait(VolumeIds=[volume])
    attached(lab, volume)
    lab.until_console(first, "written: ,from-me")
    refused("VolumeInUse", lab.ec2.attach_volume, VolumeId=volume, InstanceId=second, Device="/dev/sdf")
    refused("VolumeInUse", lab.ec2.delete_volume, VolumeId=volume)
    lab.ec2.detach_volume(VolumeId=volume)
    quick(lab, "volume_available").wait(VolumeIds=[volume])
    lab.ec2.attach_volume(VolumeId=volume, InstanceId=second, Device="/dev/sdf")
    lab.until_console(second, "from-me,")
    # It outlives the instance, with what is in it.
    lab.ec2.terminate_instances(InstanceIds=[first, second])
    lab.wait(second, "terminated")
    quick(lab, "volume_available").wait(VolumeIds=[volume])
    assert "from-me" in (lab.chamber.state / "ec2" / "volumes" / volume / "notes").read_text()
    lab.ec2.delete_volume(VolumeId=volume)
    quick(lab, "volume_deleted").wait(VolumeIds=[volume])


def test_snapshot_of_a_running_instance_becomes_a_volume(lab: Lab):
    instance = lab.run("#!/bin/sh\necho kept > /srv/file; ln -s /etc/shadow /srv/link; echo ready\n")
    lab.until_console(instance, "ready")
    root = volumes(lab, instance)[0]["VolumeId"]
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "n", "Value": "1"}]}]
    snapshot = lab.ec2.create_snapshot(VolumeId=root, Description="nightly", TagSpecifications=tags)["SnapshotId"]
    quick(lab, "snapshot_completed").wait(SnapshotIds=[snapshot])
    view = lab.ec2.describe_snapshots(SnapshotIds=[snapshot], OwnerIds=["self"])["Snapshots"][0]
    assert (view["Progress"], view["VolumeSize"], view["Description"]) == ("100%", 8, "nightly")
    zone = lab.view(instance)["Placement"]["AvailabilityZone"]
    volume = lab.ec2.create_volume(AvailabilityZone=zone, SnapshotId=snapshot)["VolumeId"]
    quick(lab, "volume_available").wait(VolumeIds=[volume])
    place = lab.chamber.state / "ec2" / "volumes" / volume
    assert (place / "srv" / "file").read_text() == "kept\n"
    assert (place / "srv" / "link").is_symlink()
    # The instance goes on, and a copy into another region is whole by itself.
    lab.ec2.reboot_instances(InstanceIds=[instance])
    west = lab.chamber.client("ec2", region_name="us-west-2")
    copy = west.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot)["SnapshotId"]
    lab.ec2.delete_snapshot(SnapshotId=snapshot)
    refused("InvalidSnapshot.NotFound", lab.ec2.describe_snapshots, SnapshotIds=[snapshot])
    waiter = west.get_waiter("snapshot_completed")
    waiter.config.delay = 0.05
    waiter.wait(SnapshotIds=[copy])
    west.delete_snapshot(SnapshotId=copy)
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.ec2.delete_volume(VolumeId=volume)


@pytest.mark.parametrize("no_reboot", [True, False])
def test_image_of_an_instance_runs_again(lab: Lab, no_reboot: bool):
    setup = (
        "#!/bin/sh\necho hello > /opt/app; echo mine >> /etc/motd; mkdir -p /home/ec2-user/d\n"
        "echo '* * * *' > /var/lib/state; echo ready\n"
    )
    source = lab.run(setup)
    lab.until_console(source, "ready")
    boots = lab.console(source).count("boots:")
    name = unique("golden")
    image = lab.ec2.create_image(InstanceId=source, Name=name, Description="mine", NoReboot=no_reboot)["ImageId"]
    quick(lab, "image_available").wait(ImageIds=[image])
    view = lab.ec2.describe_images(Owners=["self"], ImageIds=[image])["Images"][0]
    assert (view["Name"], view["State"], view["SourceInstanceId"]) == (name, "available", source)
    snapshot = view["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    refused("InvalidSnapshot.InUse", lab.ec2.delete_snapshot, SnapshotId=snapshot)
    refused("InvalidAMIName.Duplicate", lab.ec2.create_image, InstanceId=source, Name=name)
    if not no_reboot:
        lab.until(lambda: lab.console(source).count("boots:") > boots, "booted again")
    lab.ec2.terminate_instances(InstanceIds=[source])
    script = "#!/bin/sh\ncat /opt/app /etc/motd /var/lib/state; test -d /home/ec2-user/d && echo again\n"
    second = lab.run(script, ImageId=image)
    said = lab.until_console(second, "again")
    assert "hello" in said and "mine" in said
    assert lab.view(second)["ImageId"] == image
    gone = lab.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    assert [one["ReturnCode"] for one in gone["DeleteSnapshotResults"]] == ["success"]
    refused("InvalidAMIID.NotFound", lab.run, ImageId=image)
    lab.ec2.terminate_instances(InstanceIds=[second])


def test_root_volume_that_is_kept(lab: Lab):
    mapping = [
        {"DeviceName": ROOT, "Ebs": {"DeleteOnTermination": False}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}},
    ]
    instance = lab.run("#!/bin/sh\necho x > /root/x; ls /mnt; echo ready\n", BlockDeviceMappings=mapping)
    lab.until_console(instance, "ready")
    root, data = (one["Ebs"]["VolumeId"] for one in lab.view(instance)["BlockDeviceMappings"])
    assert data in lab.console(instance)
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    quick(lab, "volume_available").wait(VolumeIds=[root])
    refused("InvalidVolume.NotFound", lab.ec2.describe_volumes, VolumeIds=[data])
    snapshot = lab.ec2.create_snapshot(VolumeId=root)["SnapshotId"]
    quick(lab, "snapshot_completed").wait(SnapshotIds=[snapshot])
    image = lab.ec2.register_image(
        Name=unique("registered"),
        RootDeviceName=ROOT,
        BlockDeviceMappings=[{"DeviceName": ROOT, "Ebs": {"SnapshotId": snapshot}}],
    )["ImageId"]
    again = lab.run("#!/bin/sh\ncat /root/x && echo found\n", ImageId=image)
    lab.until_console(again, "found")
    lab.ec2.terminate_instances(InstanceIds=[again])
    lab.ec2.deregister_image(ImageId=image)
    lab.ec2.delete_snapshot(SnapshotId=snapshot)
    lab.ec2.delete_volume(VolumeId=root)


def test_volumes_that_aws_would_not_make(lab: Lab):
    make, zone = lab.ec2.create_volume, "us-east-1a"
    assert "Encrypted" in refused("UnsupportedOperation", make, AvailabilityZone=zone, Size=1, Encrypted=True)
    refused("InvalidParameterValue", make, AvailabilityZone="us-east-1z", Size=1)
    refused("MissingParameter", make, AvailabilityZone=zone)
    refused("InvalidParameterValue", make, AvailabilityZone=zone, Size=1, VolumeType="io1", Iops=100)
    refused("MissingParameter", make, AvailabilityZone=zone, Size=4, VolumeType="io1")
    refused("InvalidSnapshot.NotFound", make, AvailabilityZone=zone, SnapshotId="snap-0123456789abcdef0")
    volume = make(AvailabilityZone=zone, Size=1, ClientToken="once")
    assert make(AvailabilityZone=zone, Size=1, ClientToken="once")["VolumeId"] == volume["VolumeId"]
    refused("IdempotentParameterMismatch", make, AvailabilityZone=zone, Size=2, ClientToken="once")
    quick(lab, "volume_available").wait(VolumeIds=[volume["VolumeId"]])
    refused("InvalidParameterValue", lab.ec2.modify_volume, VolumeId=volume["VolumeId"], Size=0)
    changed = lab.ec2.modify_volume(VolumeId=volume["VolumeId"], Size=3, VolumeType="gp3")["VolumeModification"]
    assert (changed["OriginalSize"], changed["TargetSize"], changed["TargetVolumeType"]) == (1, 3, "gp3")
    assert lab.ec2.describe_volumes_modifications(VolumeIds=[volume["VolumeId"]])["VolumesModifications"]
    refused("IncorrectState", lab.ec2.detach_volume, VolumeId=volume["VolumeId"])
    lab.ec2.delete_volume(VolumeId=volume["VolumeId"])
    refused("InvalidParameterValue", lab.ec2.describe_volumes, VolumeIds=["vol-1"])


def test_stack_with_a_volume_of_its_own(lab: Lab):
    cfn, stack = lab.chamber.client("cloudformation"), unique("disks")
    zone = {"Fn::GetAtt": ["Web", "AvailabilityZone"]}
    mapping = {"DeviceName": ROOT, "Ebs": {"VolumeSize": "12", "VolumeType": "gp3", "DeleteOnTermination": "true"}}
    body = {
        "Resources": {
            "Web": {
                "Type": "AWS::EC2::Instance",
                "Properties": {"ImageId": lab.image, "InstanceType": lab.kind, "BlockDeviceMappings": [mapping]},
            },
            "Data": {
                "Type": "AWS::EC2::Volume",
                "Properties": {"AvailabilityZone": zone, "Size": 3, "VolumeType": "gp3"},
            },
            "There": {
                "Type": "AWS::EC2::VolumeAttachment",
                "Properties": {"VolumeId": {"Ref": "Data"}, "InstanceId": {"Ref": "Web"}, "Device": "/dev/sdf"},
            },
        },
        "Outputs": {"Web": {"Value": {"Ref": "Web"}}, "Data": {"Value": {"Fn::GetAtt": ["Data", "VolumeId"]}}},
    }
    cfn.create_stack(StackName=stack, TemplateBody=json.dumps(body))
    outputs = settled(cfn, stack, "stack_create_complete")
    found = {one["DeviceName"]: one["Ebs"]["VolumeId"] for one in lab.view(outputs["Web"])["BlockDeviceMappings"]}
    assert found["/dev/sdf"] == outputs["Data"]
    assert [one["Size"] for one in lab.ec2.describe_volumes(VolumeIds=list(found.values()))["Volumes"]] == [12, 3]
    cfn.delete_stack(StackName=stack)
    settled(cfn, stack, "stack_delete_complete")
    quick(lab, "volume_deleted").wait(VolumeIds=[outputs["Data"]])


def test_image_that_is_shared_with_another_account(lab: Lab):
    told = json.loads(lab.chamber.cli("account", "add", unique("images"), "--json").stdout)
    other = lab.chamber.client("ec2", f"{told['AccessKeyId']}:{told['SecretAccessKey']}")
    source = lab.run("#!/bin/sh\necho shared > /srv/x; echo ready\n")
    lab.until_console(source, "ready")
    image = lab.ec2.create_image(InstanceId=source, Name=unique("shared"), NoReboot=True)["ImageId"]
    quick(lab, "image_available").wait(ImageIds=[image])
    request = {"ImageId": image, "InstanceType": lab.kind, "MinCount": 1, "MaxCount": 1}
    refused("InvalidAMIID.NotFound", other.run_instances, **request)
    lab.ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"UserId": told["Id"]}]})
    permissions = lab.ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")["LaunchPermissions"]
    assert permissions == [{"UserId": told["Id"]}]
    assert [one["ImageId"] for one in other.describe_images(ExecutableUsers=["self"])["Images"]] == [image]
    refused("AuthFailure", other.deregister_image, ImageId=image)
    theirs = other.run_instances(**request, UserData="#!/bin/sh\ncat /srv/x && echo theirs\n")["Instances"][0]
    assert theirs["BlockDeviceMappings"][0]["Ebs"]["VolumeId"].startswith("vol-")

    def said() -> bool:
        return "theirs" in other.get_console_output(InstanceId=theirs["InstanceId"])["Output"]

    lab.until(said, "their instance of our image")
    lab.ec2.reset_image_attribute(ImageId=image, Attribute="launchPermission")
    refused("InvalidAMIID.NotFound", other.run_instances, **request)
    other.terminate_instances(InstanceIds=[theirs["InstanceId"]])
    lab.ec2.terminate_instances(InstanceIds=[source])
    lab.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)


def test_image_that_a_parameter_names(lab: Lab):
    name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
    name += "x86_64" if lab.kind.startswith("t3") else "arm64"
    instance = lab.run(ImageId=f"resolve:ssm:{name}")
    assert lab.view(instance)["ImageId"] == lab.image
    lab.ec2.terminate_instances(InstanceIds=[instance])
    refused("InvalidParameterValue", lab.run, ImageId="resolve:ssm:/aws/service/none")

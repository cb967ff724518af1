# SPDX-License-Identifier: Apache-2.0
"""Every paginator and every waiter that boto3 has for an operation that is implemented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import xform_name

from cloudchamber.services.ec2 import SERVICE
from tests.services.ec2.conftest import unique
from tests.services.ec2.test_volumes import quick

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

_LOADER = botocore.session.get_session().get_component("data_loader")
PAGINATORS = {
    name: model["result_key"]
    for name, model in _LOADER.load_service_model("ec2", "paginators-1")["pagination"].items()
    if name in SERVICE.operations
}
WAITERS = {
    xform_name(name)
    for name, model in _LOADER.load_service_model("ec2", "waiters-2")["waiters"].items()
    if model["operation"] in SERVICE.operations
}


@pytest.mark.parametrize("name", PAGINATORS)
def test_every_paginator_walks_through(lab: Lab, name: str):
    given: dict[str, Any] = {}
    template = unique("paged")
    if name.startswith("DescribeLaunchTemplate"):
        data = {"LaunchTemplateData": {"InstanceType": lab.kind}, "LaunchTemplateName": template}
        lab.ec2.create_launch_template(**data)
        for _ in range(6):
            lab.ec2.create_launch_template_version(**data)
        if name.endswith("Versions"):
            given = {"LaunchTemplateName": template}
    if name == "GetSecurityGroupsForVpc":
        for _ in range(6):
            lab.group()
        given = {
            "VpcId": lab.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        }
    key = PAGINATORS[name]
    member = key if isinstance(key, str) else key[0]
    paginator = lab.ec2.get_paginator(xform_name(name))
    whole = [one for page in paginator.paginate(**given) for one in page[member]]
    paged = [one for page in paginator.paginate(**given, PaginationConfig={"PageSize": 5}) for one in page[member]]
    if name == "DescribeInstances":  # Why: a page ends after so many instances, in the middle of a reservation too
        whole, paged = ([one for found in all_ for one in found["Instances"]] for all_ in (whole, paged))
    assert len(paged) == len({str(one) for one in paged})
    assert len(paged) == len(whole)
    if name == "DescribeLaunchTemplateVersions":
        assert [one["VersionNumber"] for one in paged] == [7, 6, 5, 4, 3, 2, 1]


def test_every_waiter_comes_to_its_end(lab: Lab):
    ec2 = lab.ec2
    key = unique("waited")
    ec2.create_key_pair(KeyName=key)
    instance = lab.run("#!/bin/sh\necho up\n", KeyName=key)
    view = lab.view(instance)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    nat = ec2.create_nat_gateway(SubnetId=view["SubnetId"], ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    zone = view["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    waited: set[str] = set()

    def wait(name: str, **given: Any) -> None:
        quick(lab, name).wait(**given)
        waited.add(name)

    wait("key_pair_exists", KeyNames=[key])
    wait("internet_gateway_exists", InternetGatewayIds=[gateway])
    wait("security_group_exists", GroupIds=[view["SecurityGroups"][0]["GroupId"]])
    wait("vpc_exists", VpcIds=[view["VpcId"]])
    wait("vpc_available", VpcIds=[view["VpcId"]])
    wait("subnet_available", SubnetIds=[view["SubnetId"]])
    wait("nat_gateway_available", NatGatewayIds=[nat])
    wait("volume_available", VolumeIds=[volume])
    for name in ("instance_exists", "instance_running", "instance_status_ok", "system_status_ok"):
        wait(name, InstanceIds=[instance])
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    wait("volume_in_use", VolumeIds=[volume])
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    wait("snapshot_completed", SnapshotIds=[snapshot])
    image = ec2.create_image(InstanceId=instance, Name=unique("waited"), NoReboot=True)["ImageId"]
    wait("image_exists", ImageIds=[image])
    wait("image_available", ImageIds=[image])
    ec2.stop_instances(InstanceIds=[instance])
    wait("instance_stopped", InstanceIds=[instance])
    ec2.terminate_instances(InstanceIds=[instance])
    wait("instance_terminated", InstanceIds=[instance])
    ec2.delete_volume(VolumeId=volume)
    wait("volume_deleted", VolumeIds=[volume])
    ec2.delete_nat_gateway(NatGatewayId=nat)
    wait("nat_gateway_deleted", NatGatewayIds=[nat])
    ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    ec2.delete_snapshot(SnapshotId=snapshot)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_key_pair(KeyName=key)
    wait("vpc_peering_connection_deleted", VpcPeeringConnectionIds=["pcx-0123456789abcdef0"])
    # Nobody can make these here: an interface of its own (which alone is ever "available"), a peering, a spot request.
    assert WAITERS - waited == {
        "network_interface_available", "vpc_peering_connection_exists", "spot_instance_request_fulfilled",
    }  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Security groups and the default VPC through boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return caught.value.response["Error"]["Code"]


def tcp(port: int, **peers: Any) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peers}]


def test_the_default_vpc(lab: Lab) -> None:
    vpc = lab.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    assert vpc["CidrBlock"] == "172.31.0.0/16"
    subnets = lab.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"]
    zones = lab.ec2.describe_availability_zones()["AvailabilityZones"]
    assert [one["AvailabilityZone"] for one in subnets] == [one["ZoneName"] for one in zones]
    assert len({one["CidrBlock"] for one in subnets}) == 6
    default = lab.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"][0]
    assert default["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == default["GroupId"]
    with pytest.raises(ClientError) as caught:
        lab.ec2.delete_security_group(GroupId=default["GroupId"])
    assert code(caught) == "CannotDelete"
    assert "us-east-1" in {one["RegionName"] for one in lab.ec2.describe_regions()["Regions"]}
    assert lab.ec2.describe_addresses()["Addresses"] == []


def test_rules(lab: Lab) -> None:
    web, db = lab.group(), lab.group()
    made = lab.ec2.authorize_security_group_ingress(
        GroupId=web, IpPermissions=tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0", "Description": "web"}])
    )["SecurityGroupRules"]
    assert made[0]["CidrIpv4"] == "0.0.0.0/0"
    assert made[0]["Description"] == "web"
    lab.ec2.authorize_security_group_ingress(GroupId=db, IpPermissions=tcp(5432, UserIdGroupPairs=[{"GroupId": web}]))
    with pytest.raises(ClientError) as caught:
        lab.ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=tcp(80, IpRanges=[{"CidrIp": "0.0.0.0/0"}]))
    assert code(caught) == "InvalidPermission.Duplicate"
    with pytest.raises(ClientError) as caught:
        lab.ec2.delete_security_group(GroupId=web)
    assert code(caught) == "DependencyViolation"
    with pytest.raises(ClientError) as caught:
        lab.ec2.revoke_security_group_ingress(GroupId=web, IpPermissions=tcp(81, IpRanges=[{"CidrIp": "0.0.0.0/0"}]))
    assert code(caught) == "InvalidPermission.NotFound"
    rules = lab.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [db]}])["SecurityGroupRules"]
    assert sorted(one["IsEgress"] for one in rules) == [False, True]
    ids = [one["SecurityGroupRuleId"] for one in rules if not one["IsEgress"]]
    lab.ec2.revoke_security_group_ingress(GroupId=db, SecurityGroupRuleIds=ids)
    shown = lab.ec2.describe_security_groups(GroupIds=[db])["SecurityGroups"][0]
    assert not shown.get("IpPermissions")
    assert shown["IpPermissionsEgress"][0]["IpProtocol"] == "-1"
    for one in (web, db):
        lab.ec2.delete_security_group(GroupId=one)
    with pytest.raises(ClientError) as caught:
        lab.ec2.describe_security_groups(GroupIds=[web])
    assert code(caught) == "InvalidGroup.NotFound"


@pytest.mark.parametrize(
    ("permission", "error"),
    [
        (tcp(80, IpRanges=[{"CidrIp": "300.0.0.0/8"}]), "InvalidParameterValue"),
        (tcp(70000, IpRanges=[{"CidrIp": "10.0.0.0/8"}]), "InvalidParameterValue"),
        ([{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}], "InvalidParameterValue"),
        ([{"IpProtocol": "carrier-pigeon", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}], "InvalidPermission.Malformed"),
        (tcp(80, PrefixListIds=[{"PrefixListId": "pl-1"}]), "UnsupportedOperation"),
        (tcp(80, UserIdGroupPairs=[{"GroupId": "sg-0123456789abcdef0"}]), "InvalidGroup.NotFound"),
    ],
)
def test_bad_rules(lab: Lab, permission: list[dict[str, Any]], error: str) -> None:
    group = lab.group()
    with pytest.raises(ClientError) as caught:
        lab.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=permission)
    assert code(caught) == error
    lab.ec2.delete_security_group(GroupId=group)


def test_names(lab: Lab) -> None:
    name = unique("twice")
    group = lab.ec2.create_security_group(GroupName=name, Description="x")["GroupId"]
    for given, error in (
        (name, "InvalidGroup.Duplicate"),
        ("default", "InvalidParameterValue"),
        ("sg-12345678", "InvalidParameterValue"),
        ("é", "InvalidParameterValue"),
    ):
        with pytest.raises(ClientError) as caught:
            lab.ec2.create_security_group(GroupName=given, Description="x")
        assert code(caught) == error, given
    lab.ec2.delete_security_group(GroupId=group)


def test_what_is_not_there_is_refused(lab: Lab) -> None:
    with pytest.raises(ClientError) as caught:
        lab.ec2.create_vpc(CidrBlock="10.0.0.0/16", Ipv6CidrBlock="fd00::/56")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 501)

# SPDX-License-Identifier: Apache-2.0
"""DB subnet groups: which VPC a DB instance is in, and who reaches it there."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from botocore.exceptions import ClientError


def refusal(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


@pytest.fixture
def network(chamber: Any):
    ec2 = chamber.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.77.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    ]
    return vpc, subnets


def test_a_group_covers_two_zones_of_one_vpc(chamber: Any, network: Any):
    rds, (vpc, subnets), name = chamber.client("rds"), network, f"Group-{secrets.token_hex(4)}"
    request = {"DBSubnetGroupName": name, "DBSubnetGroupDescription": "d", "SubnetIds": subnets}
    made = rds.create_db_subnet_group(**request, Tags=[{"Key": "a", "Value": "b"}])["DBSubnetGroup"]
    assert (made["DBSubnetGroupName"], made["VpcId"]) == (name.lower(), vpc)
    assert {one["SubnetIdentifier"] for one in made["Subnets"]} == set(subnets)
    assert refusal(lambda: rds.create_db_subnet_group(**request)) == "DBSubnetGroupAlreadyExists"
    one = {**request, "DBSubnetGroupName": name + "x", "SubnetIds": subnets[:1]}
    assert refusal(lambda: rds.create_db_subnet_group(**one)) == "DBSubnetGroupDoesNotCoverEnoughAZs"
    none = {**one, "SubnetIds": ["subnet-0123456789abcdef0"]}
    assert refusal(lambda: rds.create_db_subnet_group(**none)) == "InvalidSubnet"
    changed = rds.modify_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription="e", SubnetIds=subnets)
    assert changed["DBSubnetGroup"]["DBSubnetGroupDescription"] == "e"
    assert name.lower() in [g["DBSubnetGroupName"] for g in rds.describe_db_subnet_groups()["DBSubnetGroups"]]
    rds.delete_db_subnet_group(DBSubnetGroupName=name)
    assert refusal(lambda: rds.describe_db_subnet_groups(DBSubnetGroupName=name)) == "DBSubnetGroupNotFoundFault"


def test_a_database_is_in_the_vpc_of_its_group(chamber: Any, network: Any):
    rds, ec2, (vpc, subnets) = chamber.client("rds"), chamber.client("ec2"), network
    group, name = f"group-{secrets.token_hex(4)}", f"db-{secrets.token_hex(4)}"
    rds.create_db_subnet_group(DBSubnetGroupName=group, DBSubnetGroupDescription="d", SubnetIds=subnets)
    request = {
        "DBInstanceIdentifier": name,
        "DBInstanceClass": "db.t3.micro",
        "Engine": "postgres",
        "AllocatedStorage": 20,
        "MasterUsername": "owner",
        "MasterUserPassword": "long-enough-1",
        "DBSubnetGroupName": group,
    }
    elsewhere = ec2.create_security_group(GroupName=secrets.token_hex(6), Description="d")["GroupId"]
    call = lambda: rds.create_db_instance(**request, VpcSecurityGroupIds=[elsewhere])  # noqa: E731
    assert refusal(call) == "InvalidParameterCombination"
    made = rds.create_db_instance(**request)["DBInstance"]
    assert made["DBSubnetGroup"]["VpcId"] == vpc
    (default,) = made["VpcSecurityGroups"]
    shown = ec2.describe_security_groups(GroupIds=[default["VpcSecurityGroupId"]])["SecurityGroups"][0]
    assert (shown["GroupName"], shown["VpcId"]) == ("default", vpc)
    assert refusal(lambda: rds.delete_db_subnet_group(DBSubnetGroupName=group)) == "InvalidDBSubnetGroupStateFault"
    assert refusal(lambda: ec2.delete_subnet(SubnetId=subnets[0])) == "DependencyViolation"
    waiter = rds.get_waiter("db_instance_available")
    waiter.config.delay, waiter.config.max_attempts = 0.2, 900
    waiter.wait(DBInstanceIdentifier=name)
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    waiter = rds.get_waiter("db_instance_deleted")
    waiter.config.delay, waiter.config.max_attempts = 0.2, 900
    waiter.wait(DBInstanceIdentifier=name)
    rds.delete_db_subnet_group(DBSubnetGroupName=group)
    ec2.delete_subnet(SubnetId=subnets[0])

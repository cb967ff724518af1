# SPDX-License-Identifier: Apache-2.0
"""EC2's CloudFormation types, through CloudFormation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def template(lab: Lab, **web: Any) -> str:
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0"}
    instance = {
        "ImageId": lab.image,
        "InstanceType": lab.kind,
        "SecurityGroupIds": [{"Fn::GetAtt": ["WebGroup", "GroupId"]}],
        "MetadataOptions": {"HttpTokens": "required"},
        "UserData": {"Fn::Base64": {"Fn::Sub": "#!/bin/bash\necho in ${AWS::StackName}\n"}},
        "Tags": [{"Key": "Name", "Value": "web"}],
    }
    return json.dumps(
        {
            "Resources": {
                "WebGroup": {
                    "Type": "AWS::EC2::SecurityGroup",
                    "Properties": {"GroupDescription": "web", "SecurityGroupIngress": [rule]},
                },
                "DatabaseGroup": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "db"}},
                "FromWeb": {
                    "Type": "AWS::EC2::SecurityGroupIngress",
                    "Properties": {
                        "GroupId": {"Ref": "DatabaseGroup"},
                        "IpProtocol": "tcp",
                        "FromPort": 5432,
                        "ToPort": 5432,
                        "SourceSecurityGroupId": {"Ref": "WebGroup"},
                    },
                },
                "Web": {"Type": "AWS::EC2::Instance", "Properties": {**instance, **web}},
            },
            "Outputs": {
                "Id": {"Value": {"Ref": "Web"}},
                "Name": {"Value": {"Fn::GetAtt": ["Web", "PublicDnsName"]}},
                "Database": {"Value": {"Ref": "DatabaseGroup"}},
            },
        }
    )


def settled(cfn: Any, stack: str, waiter: str) -> dict[str, str]:
    wait = cfn.get_waiter(waiter)
    wait.config.delay, wait.config.max_attempts = 0.1, 600
    wait.wait(StackName=stack)
    if waiter == "stack_delete_complete":
        return {}
    outputs = cfn.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {one["OutputKey"]: one["OutputValue"] for one in outputs}


def test_a_stack_with_an_instance(lab: Lab) -> None:
    cfn = lab.chamber.client("cloudformation")
    stack = unique("web")
    cfn.create_stack(StackName=stack, TemplateBody=template(lab))
    outputs = settled(cfn, stack, "stack_create_complete")
    instance = outputs["Id"]
    assert outputs["Name"] == f"{instance}.ec2.localhost"
    view = lab.view(instance)
    assert view["State"]["Name"] == "running"
    tags = {tag["Key"]: tag["Value"] for tag in view["Tags"]}
    assert tags["Name"] == "web"
    assert tags["aws:cloudformation:stack-name"] == stack
    lab.until_console(instance, f"in {stack}")
    rules = lab.ec2.describe_security_groups(GroupIds=[outputs["Database"]])["SecurityGroups"][0]["IpPermissions"]
    assert rules[0]["UserIdGroupPairs"][0]["GroupId"] == view["SecurityGroups"][0]["GroupId"]

    data = {"Fn::Base64": "#!/bin/bash\necho never run\n"}
    cfn.update_stack(StackName=stack, TemplateBody=template(lab, UserData=data, Tags=[{"Key": "Name", "Value": "new"}]))
    assert settled(cfn, stack, "stack_update_complete")["Id"] == instance
    assert {"Key": "Name", "Value": "new"} in lab.view(instance)["Tags"]
    console = lab.until(lambda: said if (said := lab.console(instance)).count(" boots: ") == 2 else "", "a second boot")
    assert "never run" not in console

    cfn.delete_stack(StackName=stack)
    settled(cfn, stack, "stack_delete_complete")
    assert lab.view(instance)["State"]["Name"] == "terminated"
    with pytest.raises(ClientError):
        lab.ec2.describe_security_groups(GroupIds=[outputs["Database"]])


NETWORK = """
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: 10.42.0.0/16, EnableDnsHostnames: true, Tags: [{Key: Name, Value: net}]}
  Gateway: {Type: AWS::EC2::InternetGateway}
  Attached:
    Type: AWS::EC2::VPCGatewayAttachment
    Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Gateway}
  Public:
    Type: AWS::EC2::Subnet
    Properties:
      VpcId: !Ref Vpc
      CidrBlock: !Select [0, !Cidr [!GetAtt Vpc.CidrBlock, 4, 8]]
      AvailabilityZone: !Select [0, !GetAZs ""]
      MapPublicIpOnLaunch: true
  Private:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Vpc, CidrBlock: !Select [1, !Cidr [!GetAtt Vpc.CidrBlock, 4, 8]]}
  PublicRoutes: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  ToTheInternet:
    Type: AWS::EC2::Route
    DependsOn: Attached
    Properties: {RouteTableId: !Ref PublicRoutes, DestinationCidrBlock: 0.0.0.0/0, GatewayId: !Ref Gateway}
  PublicServed:
    Type: AWS::EC2::SubnetRouteTableAssociation
    Properties: {RouteTableId: !Ref PublicRoutes, SubnetId: !Ref Public}
  NatAddress: {Type: AWS::EC2::EIP, DependsOn: Attached, Properties: {Domain: vpc}}
  Nat:
    Type: AWS::EC2::NatGateway
    Properties: {SubnetId: !Ref Public, AllocationId: !GetAtt NatAddress.AllocationId}
  PrivateRoutes: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  ThroughNat:
    Type: AWS::EC2::Route
    Properties: {RouteTableId: !Ref PrivateRoutes, DestinationCidrBlock: 0.0.0.0/0, NatGatewayId: !Ref Nat}
  PrivateServed:
    Type: AWS::EC2::SubnetRouteTableAssociation
    Properties: {RouteTableId: !Ref PrivateRoutes, SubnetId: !Ref Private}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: {GroupDescription: web, VpcId: !Ref Vpc}
  Web:
    Type: AWS::EC2::Instance
    DependsOn: PublicServed
    Properties:
      ImageId: IMAGE
      InstanceType: KIND
      NetworkInterfaces:
        - {DeviceIndex: "0", SubnetId: !Ref Public, GroupSet: [!Ref Group], AssociatePublicIpAddress: true}
  WebAddress: {Type: AWS::EC2::EIP, DependsOn: Attached, Properties: {InstanceId: !Ref Web}}
Outputs:
  Vpc: {Value: !Ref Vpc}
  Web: {Value: !Ref Web}
  Address: {Value: !GetAtt WebAddress.PublicIp}
"""


def test_a_network_with_public_and_private_subnets_comes_and_goes(lab: Lab) -> None:
    cfn, stack = lab.chamber.client("cloudformation"), unique("network")
    body = NETWORK.replace("IMAGE", lab.image).replace("KIND", lab.kind)
    cfn.create_stack(StackName=stack, TemplateBody=body)
    made = settled(cfn, stack, "stack_create_complete")
    view = lab.view(made["Web"])
    assert (view["VpcId"], view["PublicIpAddress"]) == (made["Vpc"], made["Address"])
    assert view["PublicDnsName"].startswith(made["Web"])
    tables = lab.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [made["Vpc"]]}])["RouteTables"]
    assert sorted(len(one["Routes"]) for one in tables) == [1, 2, 2]
    assert {route["State"] for one in tables for route in one["Routes"]} == {"active"}
    cfn.delete_stack(StackName=stack)
    waiter = cfn.get_waiter("stack_delete_complete")
    waiter.config.delay, waiter.config.max_attempts = 0.1, 600
    waiter.wait(StackName=stack)
    with pytest.raises(ClientError):
        lab.ec2.describe_vpcs(VpcIds=[made["Vpc"]])

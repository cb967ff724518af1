# SPDX-License-Identifier: Apache-2.0
"""What Terraform's provider and the CDK call around VPCs, instances and security groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def code(call: Any, **given: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**given)
    return caught.value.response["Error"]["Code"]


def rules_of(lab: Lab, group: str, egress: bool = False) -> list[dict[str, Any]]:
    shown = lab.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    return [one for one in shown["SecurityGroupRules"] if one["IsEgress"] == egress]


def test_rules_are_changed_where_they_stand(lab: Lab):
    ec2, group, friend = lab.ec2, lab.group(80, 81), lab.group()
    before = rules_of(lab, group)
    ec2.create_tags(Resources=[before[0]["SecurityGroupRuleId"]], Tags=[{"Key": "kept", "Value": "yes"}])
    update = {
        "SecurityGroupRuleId": before[0]["SecurityGroupRuleId"],
        "SecurityGroupRule": {
            "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "10.0.0.0/8", "Description": "inside",
        },
    }  # fmt: skip
    assert ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[update])["Return"]
    now = {one["SecurityGroupRuleId"]: one for one in rules_of(lab, group)}
    changed = now[before[0]["SecurityGroupRuleId"]]
    assert (changed["FromPort"], changed["CidrIpv4"], changed["Description"]) == (443, "10.0.0.0/8", "inside")
    assert changed["Tags"] == [{"Key": "kept", "Value": "yes"}]
    assert now[before[1]["SecurityGroupRuleId"]]["FromPort"] == 81
    by_group = {**update, "SecurityGroupRule": {"IpProtocol": "-1", "ReferencedGroupId": friend}}
    ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[by_group])
    changed = rules_of(lab, group)[0]
    assert changed["ReferencedGroupInfo"]["GroupId"] == friend
    assert "Description" not in changed

    modify = ec2.modify_security_group_rules
    same = {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "CidrIpv4": "0.0.0.0/0"}
    first = before[0]["SecurityGroupRuleId"]
    for identifier, rule, error in (
        (first, same, "InvalidPermission.Duplicate"),
        ("sgr-0123456789abcdef0", same, "InvalidSecurityGroupRuleId.NotFound"),
        (first, {**same, "CidrIpv6": "::/0"}, "InvalidParameterCombination"),
        (first, {"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81}, "MissingParameter"),
        (first, {"CidrIpv4": "0.0.0.0/0"}, "InvalidParameterValue"),
        (first, {**same, "FromPort": None}, "InvalidParameterValue"),
    ):
        rule = {key: value for key, value in rule.items() if value is not None}
        update = {"SecurityGroupRuleId": identifier, "SecurityGroupRule": rule}
        assert code(modify, GroupId=group, SecurityGroupRules=[update]) == error
    assert rules_of(lab, group)[0] == changed


def test_descriptions_of_rules(lab: Lab):
    ec2, group = lab.ec2, lab.group(80)
    permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    described = {**permission, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}
    update = ec2.update_security_group_rule_descriptions_ingress
    assert update(GroupId=group, IpPermissions=[described])["Return"]
    assert rules_of(lab, group)[0]["Description"] == "all"
    assert update(GroupId=group, IpPermissions=[permission])["Return"]
    assert "Description" not in rules_of(lab, group)[0]
    (out,) = rules_of(lab, group, egress=True)
    given = [{"SecurityGroupRuleId": out["SecurityGroupRuleId"], "Description": "out"}]
    ec2.update_security_group_rule_descriptions_egress(GroupId=group, SecurityGroupRuleDescriptions=given)
    assert rules_of(lab, group, egress=True)[0]["Description"] == "out"
    assert code(update, GroupId=group, SecurityGroupRuleDescriptions=given) == "InvalidSecurityGroupRuleId.NotFound"
    other = {**permission, "FromPort": 81, "ToPort": 81}
    assert code(update, GroupId=group, IpPermissions=[other]) == "InvalidPermission.NotFound"


def test_another_instance_like_one_that_there_is(lab: Lab):
    ec2 = lab.ec2
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "like", "Value": "this"}]}]
    first = lab.run("#!/bin/sh\necho up\n", SecurityGroupIds=[lab.group(80)], TagSpecifications=tags)
    view = lab.wait(first)
    data = ec2.get_launch_template_data(InstanceId=first)["LaunchTemplateData"]
    assert (data["InstanceType"], data["ImageId"], data["TagSpecifications"]) == (lab.kind, lab.image, tags)
    (interface,) = data["NetworkInterfaces"]
    assert interface["PrivateIpAddresses"][0]["PrivateIpAddress"] == view["PrivateIpAddress"]
    # The address of the first one is taken: a launch from such a template is refused, on AWS too.
    ec2.create_launch_template(LaunchTemplateName=unique("taken"), LaunchTemplateData=data)
    given = {"ImageId": lab.image, "InstanceType": lab.kind, "NetworkInterfaces": [interface]}
    assert code(ec2.run_instances, **given, MinCount=1, MaxCount=1) == "InvalidIPAddress.InUse"
    interface.pop("PrivateIpAddresses")
    name = unique("like")
    ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    made = ec2.run_instances(LaunchTemplate={"LaunchTemplateName": name}, MinCount=1, MaxCount=1)["Instances"][0]
    assert (made["SubnetId"], made["SecurityGroups"]) == (view["SubnetId"], view["SecurityGroups"])
    ec2.terminate_instances(InstanceIds=[first, made["InstanceId"]])


def test_versions_of_all_launch_templates(lab: Lab):
    """The words are AWS's, as moto's tests that are verified on AWS say."""
    ec2, name = lab.ec2, unique("versions")
    for make in (ec2.create_launch_template, ec2.create_launch_template_version):
        made = make(LaunchTemplateName=name, LaunchTemplateData={"InstanceType": lab.kind})
    number = made["LaunchTemplateVersion"]["VersionNumber"]
    shown = ec2.describe_launch_template_versions(Versions=["$Latest", "$Default"])["LaunchTemplateVersions"]
    assert [one["VersionNumber"] for one in shown if one["LaunchTemplateName"] == name] == [number, 1]
    assert code(ec2.describe_launch_template_versions, Versions=["1"]) == "InvalidParameterValue"
    assert code(ec2.describe_launch_template_versions) == "MissingParameter"
    both = {"LaunchTemplateName": name, "LaunchTemplateId": "lt-0123456789abcdef0"}
    assert code(ec2.modify_launch_template, **both, DefaultVersion="2") == "InvalidParameterCombination"
    with pytest.raises(ClientError, match="The launch template version 3 is not found for the specified launch"):
        ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="3")
    with pytest.raises(ClientError, match="At least one of the launch templates specified in the request does not"):
        ec2.describe_launch_templates(LaunchTemplateNames=[unique("none")])
    assert code(lab.ec2.describe_security_group_rules, Filters=[{"Name": "group-id", "Values": ["sg"]}]) == (
        "InvalidGroupId.Malformed"
    )


def test_attributes_of_an_interface(lab: Lab):
    ec2, other = lab.ec2, lab.group(80)
    instance = lab.run("#!/bin/sh\n", NetworkInterfaces=[{"DeviceIndex": 0, "Description": "of the front"}])
    interface = lab.wait(instance)["NetworkInterfaces"][0]
    given = {"NetworkInterfaceId": interface["NetworkInterfaceId"]}
    assert interface["Description"] == "of the front"
    (like,) = ec2.get_launch_template_data(InstanceId=instance)["LaunchTemplateData"]["NetworkInterfaces"]
    assert like["Description"] == "of the front"
    ec2.modify_network_interface_attribute(**given, Groups=[other])
    assert [one["GroupId"] for one in lab.view(instance)["SecurityGroups"]] == [other]
    shown = ec2.describe_network_interface_attribute(**given, Attribute="groupSet")
    assert shown["Groups"][0]["GroupId"] == other
    attached = ec2.describe_network_interface_attribute(**given, Attribute="attachment")["Attachment"]
    assert (attached["InstanceId"], attached["DeviceIndex"]) == (instance, 0)
    modify = ec2.modify_network_interface_attribute
    modify(**given, SourceDestCheck={"Value": True})
    assert code(modify, **given, SourceDestCheck={"Value": False}) == "UnsupportedOperation"
    kept = {"AttachmentId": attached["AttachmentId"], "DeleteOnTermination": False}
    assert code(modify, **given, Attachment=kept) == "UnsupportedOperation"
    assert code(modify, **given, Description={"Value": "x" * 256}) == "InvalidParameterValue"
    modify(**given, Description={"Value": "other"})
    (shown,) = ec2.describe_network_interfaces(NetworkInterfaceIds=list(given.values()))["NetworkInterfaces"]
    assert (shown["Description"], [one["GroupId"] for one in shown["Groups"]]) == ("other", [other])
    assert ec2.describe_network_interface_attribute(**given)["Description"] == {"Value": "other"}
    gone = {"NetworkInterfaceId": "eni-0123456789abcdef0", "Groups": [other]}
    assert code(modify, **gone) == "InvalidNetworkInterfaceID.NotFound"
    (monitored,) = ec2.unmonitor_instances(InstanceIds=[instance])["InstanceMonitorings"]
    assert monitored["Monitoring"]["State"] == "disabled"
    ec2.terminate_instances(InstanceIds=[instance])


ABSENT = {
    "DescribeVpnGateways": ("VpnGateways", "VpnGatewayIds", "vgw", "InvalidVpnGatewayID.NotFound"),
    "DescribeVpcEndpoints": ("VpcEndpoints", "VpcEndpointIds", "vpce", "InvalidVpcEndpointId.NotFound"),
    "DescribeVpcPeeringConnections": (
        "VpcPeeringConnections", "VpcPeeringConnectionIds", "pcx", "InvalidVpcPeeringConnectionID.NotFound",
    ),
    "DescribeEgressOnlyInternetGateways": (
        "EgressOnlyInternetGateways", "EgressOnlyInternetGatewayIds", "eigw", "InvalidGatewayID.NotFound",
    ),
    "DescribePrefixLists": ("PrefixLists", "PrefixListIds", "pl", "InvalidPrefixListId.NotFound"),
    "DescribeManagedPrefixLists": ("PrefixLists", "PrefixListIds", "pl", "InvalidPrefixListID.NotFound"),
    "DescribePlacementGroups": ("PlacementGroups", "GroupNames", "group", "InvalidPlacementGroup.Unknown"),
    "DescribeFlowLogs": ("FlowLogs", "FlowLogIds", "fl", "InvalidFlowLogId.NotFound"),
    "DescribeSpotInstanceRequests": (
        "SpotInstanceRequests", "SpotInstanceRequestIds", "sir", "InvalidSpotInstanceRequestID.NotFound",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_there_are_none_of_what_nobody_can_make(lab: Lab, name: str):
    result, member, prefix, error = ABSENT[name]
    call = getattr(lab.ec2, xform_name(name))
    assert call()[result] == []
    assert code(call, **{member: [f"{prefix}-0123456789abcdef0"]}) == error
    filters = {"Filter" if name == "DescribeFlowLogs" else "Filters": [{"Name": "colour", "Values": ["red"]}]}
    assert code(call, **filters) == "InvalidParameterValue"


def test_settings_that_are_asked_before_something_is_built(lab: Lab):
    ec2 = lab.ec2
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    assert ec2.get_serial_console_access_status()["SerialConsoleAccessEnabled"] is False
    assert ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"] == "unblocked"
    assert ec2.get_snapshot_block_public_access_state()["State"] == "unblocked"
    address = ec2.allocate_address()["AllocationId"]
    asked = {"AllocationIds": [address], "Attribute": "domain-name"}
    assert [one["AllocationId"] for one in ec2.describe_addresses_attribute(**asked)["Addresses"]] == [address]
    ec2.release_address(AllocationId=address)
    assert code(ec2.describe_addresses_attribute, **asked) == "InvalidAllocationID.NotFound"
    group = lab.group()
    assert ec2.describe_security_group_references(GroupId=[group])["SecurityGroupReferenceSet"] == []
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    usable = ec2.get_security_groups_for_vpc(VpcId=vpc)["SecurityGroupForVpcs"]
    assert group in {one["GroupId"] for one in usable}

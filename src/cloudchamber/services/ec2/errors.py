# SPDX-License-Identifier: Apache-2.0
"""EC2's error codes. Source: Amazon EC2 API Reference, Error codes."""

from __future__ import annotations

from cloudchamber.base.errors import ServiceError


class Ec2Error(ServiceError):
    """Any client error of EC2."""

    code = "InvalidRequest"
    status = 400


class DryRunOperation(Ec2Error):
    """The caller has the permissions, and asked for no more than that."""

    code = "DryRunOperation"
    status = 412

    def __init__(self) -> None:
        super().__init__("Request would have succeeded, but DryRun flag is set.")


class UnsupportedOperation(Ec2Error):
    """Something that this EC2 does not carry out; the message names it."""

    code = "UnsupportedOperation"


class InvalidParameterValue(Ec2Error):
    """A value is not valid, unsupported, or cannot be used."""

    code = "InvalidParameterValue"


class InvalidParameterCombination(Ec2Error):
    """Parameters that do not go together."""

    code = "InvalidParameterCombination"


class MissingParameter(Ec2Error):
    """A required parameter is missing."""

    code = "MissingParameter"


class IdempotentParameterMismatch(Ec2Error):
    """The client token was used before with other parameters."""

    code = "IdempotentParameterMismatch"


class InvalidNextToken(Ec2Error):
    """The NextToken is not one of ours."""

    code = "InvalidNextToken"


class InvalidID(Ec2Error):
    """The id of a resource that cannot be tagged, or of none."""

    code = "InvalidID"


class InvalidAMIIDMalformed(Ec2Error):
    """Not the form of an AMI id."""

    code = "InvalidAMIID.Malformed"


class InvalidAMIIDNotFound(Ec2Error):
    """No such AMI."""

    code = "InvalidAMIID.NotFound"


class InvalidInstanceIDMalformed(Ec2Error):
    """Not the form of an instance id."""

    code = "InvalidInstanceID.Malformed"


class InvalidInstanceIDNotFound(Ec2Error):
    """No such instance (any more)."""

    code = "InvalidInstanceID.NotFound"


class InvalidInstanceType(Ec2Error):
    """No such instance type."""

    code = "InvalidInstanceType"


class IncorrectInstanceState(Ec2Error):
    """The instance's state does not allow it."""

    code = "IncorrectInstanceState"


class IncorrectState(Ec2Error):
    """The resource's state does not allow it."""

    code = "IncorrectState"


class OperationNotPermitted(Ec2Error):
    """Termination or stop protection is on."""

    code = "OperationNotPermitted"


class InvalidKeyPairNotFound(Ec2Error):
    """No such key pair."""

    code = "InvalidKeyPair.NotFound"


class InvalidKeyPairDuplicate(Ec2Error):
    """The name of a key pair is taken."""

    code = "InvalidKeyPair.Duplicate"


class InvalidKeyFormat(Ec2Error):
    """A public key that cannot be read, or of a kind that is not taken."""

    code = "InvalidKey.Format"


class ResourceLimitExceeded(Ec2Error):
    """As many as there may be."""

    code = "ResourceLimitExceeded"


class InvalidUserDataMalformed(Ec2Error):
    """User data that is not base64."""

    code = "InvalidUserData.Malformed"


class InvalidGroupNotFound(Ec2Error):
    """No such security group."""

    code = "InvalidGroup.NotFound"


class InvalidGroupIdMalformed(Ec2Error):
    """Not the form of a security group id."""

    code = "InvalidGroupId.Malformed"


class InvalidGroupDuplicate(Ec2Error):
    """A security group of that name exists in the VPC."""

    code = "InvalidGroup.Duplicate"


class CannotDelete(Ec2Error):
    """The default security group cannot be deleted."""

    code = "CannotDelete"


class DependencyViolation(Ec2Error):
    """Something still uses the resource."""

    code = "DependencyViolation"


class InvalidPermissionDuplicate(Ec2Error):
    """The rule exists already."""

    code = "InvalidPermission.Duplicate"


class InvalidPermissionNotFound(Ec2Error):
    """The rule does not exist."""

    code = "InvalidPermission.NotFound"


class InvalidPermissionMalformed(Ec2Error):
    """Not a rule."""

    code = "InvalidPermission.Malformed"


class InvalidSecurityGroupRuleIdNotFound(Ec2Error):
    """No such security group rule."""

    code = "InvalidSecurityGroupRuleId.NotFound"


class RulesPerSecurityGroupLimitExceeded(Ec2Error):
    """More rules than a group may have."""

    code = "RulesPerSecurityGroupLimitExceeded"


class InvalidSubnetIDNotFound(Ec2Error):
    """No such subnet."""

    code = "InvalidSubnetID.NotFound"


class InvalidVpcIDNotFound(Ec2Error):
    """No such VPC."""

    code = "InvalidVpcID.NotFound"


class InvalidNetworkInterfaceIDNotFound(Ec2Error):
    """No such network interface."""

    code = "InvalidNetworkInterfaceID.NotFound"


class InvalidIPAddressInUse(Ec2Error):
    """Another instance has that private address."""

    code = "InvalidIPAddress.InUse"


class InsufficientFreeAddressesInSubnet(Ec2Error):
    """The subnet is full."""

    code = "InsufficientFreeAddressesInSubnet"


class InstanceLimitExceeded(Ec2Error):
    """More instances than may run at once."""

    code = "InstanceLimitExceeded"


class InvalidAssociationIDNotFound(Ec2Error):
    """No such association."""

    code = "InvalidAssociationID.NotFound"


class TagLimitExceeded(Ec2Error):
    """More than 50 tags."""

    code = "TagLimitExceeded"


class InvalidRouteTableIDNotFound(Ec2Error):
    """No such route table."""

    code = "InvalidRouteTableID.NotFound"


class InvalidInternetGatewayIDNotFound(Ec2Error):
    """No such internet gateway."""

    code = "InvalidInternetGatewayID.NotFound"


class NatGatewayNotFound(Ec2Error):
    """No such NAT gateway."""

    code = "NatGatewayNotFound"


class InvalidAllocationIDNotFound(Ec2Error):
    """No such allocation of an address."""

    code = "InvalidAllocationID.NotFound"


class InvalidAddressNotFound(Ec2Error):
    """No such Elastic IP address."""

    code = "InvalidAddress.NotFound"


class AddressLimitExceeded(Ec2Error):
    """No more addresses."""

    code = "AddressLimitExceeded"


class InvalidVpcRange(Ec2Error):
    """Not a block that a VPC may have."""

    code = "InvalidVpc.Range"


class InvalidSubnetRange(Ec2Error):
    """Not a block within the VPC."""

    code = "InvalidSubnet.Range"


class InvalidSubnetConflict(Ec2Error):
    """The block overlaps that of another subnet."""

    code = "InvalidSubnet.Conflict"


class VpcLimitExceeded(Ec2Error):
    """More VPCs than a region may have."""

    code = "VpcLimitExceeded"


class DefaultVpcAlreadyExists(Ec2Error):
    """There is a default VPC."""

    code = "DefaultVpcAlreadyExists"


class InvalidRouteNotFound(Ec2Error):
    """No such route."""

    code = "InvalidRoute.NotFound"


class RouteAlreadyExists(Ec2Error):
    """A route to that block exists."""

    code = "RouteAlreadyExists"


class InvalidGatewayIDNotFound(Ec2Error):
    """No such gateway."""

    code = "InvalidGatewayID.NotFound"


class InvalidNatGatewayIDNotFound(Ec2Error):
    """No such NAT gateway, said of a route."""

    code = "InvalidNatGatewayID.NotFound"


class GatewayNotAttached(Ec2Error):
    """The gateway is not attached to that VPC."""

    code = "Gateway.NotAttached"


class ResourceAlreadyAssociated(Ec2Error):
    """It is associated already."""

    code = "Resource.AlreadyAssociated"


class SubnetLimitExceeded(Ec2Error):
    """More subnets than a VPC may have."""

    code = "SubnetLimitExceeded"


class RouteLimitExceeded(Ec2Error):
    """More routes than a table may have."""

    code = "RouteLimitExceeded"


class InvalidNetworkAclIDNotFound(Ec2Error):
    """No such network ACL."""

    code = "InvalidNetworkAclID.NotFound"


class InvalidDhcpOptionIDNotFound(Ec2Error):
    """No such set of DHCP options."""

    code = "InvalidDhcpOptionID.NotFound"


class AuthFailure(Ec2Error):
    """Not the caller's to change."""

    code = "AuthFailure"


class InvalidParameter(Ec2Error):
    """A parameter does not fit the others."""

    code = "InvalidParameter"


class VPCIdNotSpecified(Ec2Error):
    """There is no default VPC, and none was named."""

    code = "VPCIdNotSpecified"


class MissingInput(Ec2Error):
    """Something is missing that only the caller can choose."""

    code = "MissingInput"


class InvalidLaunchTemplateIdNotFound(Ec2Error):
    """No such launch template."""

    code = "InvalidLaunchTemplateId.NotFound"


class InvalidLaunchTemplateNameNotFound(Ec2Error):
    """No launch template of that name."""

    code = "InvalidLaunchTemplateName.NotFoundException"


class InvalidLaunchTemplateIdVersionNotFound(Ec2Error):
    """No such version of the launch template."""

    code = "InvalidLaunchTemplateId.VersionNotFound"


class InvalidLaunchTemplateNameAlreadyExists(Ec2Error):
    """A launch template of that name exists."""

    code = "InvalidLaunchTemplateName.AlreadyExistsException"


class InvalidLaunchTemplateNameMalformed(Ec2Error):
    """Not a name for a launch template."""

    code = "InvalidLaunchTemplateName.MalformedException"


class VersionLimitExceeded(Ec2Error):
    """More versions than a launch template may have."""

    code = "LaunchTemplateVersionLimitExceeded"


class InvalidVolumeNotFound(Ec2Error):
    """No such volume."""

    code = "InvalidVolume.NotFound"


class InvalidVolumeIDMalformed(Ec2Error):
    """Not the form of a volume id."""

    code = "InvalidParameterValue"


class InvalidVolumeZoneMismatch(Ec2Error):
    """The volume is in another Availability Zone than the instance."""

    code = "InvalidVolume.ZoneMismatch"


class VolumeInUse(Ec2Error):
    """The volume is attached to an instance."""

    code = "VolumeInUse"


class VolumeLimitExceeded(Ec2Error):
    """No more volumes."""

    code = "VolumeLimitExceeded"


class InvalidAttachmentNotFound(Ec2Error):
    """The volume is not attached there."""

    code = "InvalidAttachment.NotFound"


class AttachmentLimitExceeded(Ec2Error):
    """No more volumes on this instance."""

    code = "AttachmentLimitExceeded"


class InvalidVolumeModificationNotFound(Ec2Error):
    """The volume was never modified."""

    code = "InvalidVolumeModification.NotFound"


class InvalidSnapshotNotFound(Ec2Error):
    """No such snapshot."""

    code = "InvalidSnapshot.NotFound"


class InvalidSnapshotIDMalformed(Ec2Error):
    """Not the form of a snapshot id."""

    code = "InvalidSnapshotID.Malformed"


class InvalidSnapshotInUse(Ec2Error):
    """An image is made of the snapshot."""

    code = "InvalidSnapshot.InUse"


class SnapshotLimitExceeded(Ec2Error):
    """No more snapshots."""

    code = "SnapshotLimitExceeded"


class InvalidBlockDeviceMapping(Ec2Error):
    """A block device mapping that is not one."""

    code = "InvalidBlockDeviceMapping"


class InvalidAMINameDuplicate(Ec2Error):
    """Another image has that name."""

    code = "InvalidAMIName.Duplicate"


class InvalidAMINameMalformed(Ec2Error):
    """A name that AWS does not take."""

    code = "InvalidAMIName.Malformed"


class InvalidAMIIDUnavailable(Ec2Error):
    """The image is not (or not yet) there to be used."""

    code = "InvalidAMIID.Unavailable"


class InvalidAMIAttributeItemValue(Ec2Error):
    """A value of an image's attribute that is not one."""

    code = "InvalidAMIAttributeItemValue"


class InvalidInstanceAttributeValue(Ec2Error):
    """A value that the attribute of an instance cannot have."""

    code = "InvalidInstanceAttributeValue"


class InvalidParameterDependency(Ec2Error):
    """A parameter that needs another one."""

    code = "InvalidParameterDependency"


class InvalidVpnGatewayIDNotFound(Ec2Error):
    """The virtual private gateway does not exist."""

    code = "InvalidVpnGatewayID.NotFound"


class InvalidVpcEndpointIdNotFound(Ec2Error):
    """The VPC endpoint does not exist."""

    code = "InvalidVpcEndpointId.NotFound"


class InvalidVpcPeeringConnectionIDNotFound(Ec2Error):
    """The VPC peering connection does not exist."""

    code = "InvalidVpcPeeringConnectionID.NotFound"


class InvalidPrefixListIdNotFound(Ec2Error):
    """The prefix list does not exist (AWS services')."""

    code = "InvalidPrefixListId.NotFound"


class InvalidPrefixListIDNotFound(Ec2Error):
    """The managed prefix list does not exist."""

    code = "InvalidPrefixListID.NotFound"


class InvalidPlacementGroupUnknown(Ec2Error):
    """The placement group does not exist."""

    code = "InvalidPlacementGroup.Unknown"


class InvalidFlowLogIdNotFound(Ec2Error):
    """The flow log does not exist."""

    code = "InvalidFlowLogId.NotFound"


class InvalidSpotInstanceRequestIDNotFound(Ec2Error):
    """The Spot Instance request does not exist."""

    code = "InvalidSpotInstanceRequestID.NotFound"


class InvalidAttachmentIDNotFound(Ec2Error):
    """The attachment of a network interface does not exist."""

    code = "InvalidAttachmentID.NotFound"

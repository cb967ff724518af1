# SPDX-License-Identifier: Apache-2.0
"""Kinds of resource that nobody can make here, for those who look before they build: there are none.

Tools ask for them as a matter of course (the CDK for VPN gateways of a VPC that it looks up, Terraform for peering
connections and endpoints). An empty list is the truth; whoever names one by its id hears that it does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, needs
from cloudchamber.services.ec2.checks import many, page, same, select, takes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call


def _none(
    request: Mapping[str, Any],
    result: str,
    given: Sequence[str],
    missing: tuple[type[errors.Ec2Error], str],
    filters: tuple[str, ...],
    asked: str = "Filters",
) -> dict[str, Any]:
    """No rows, after the questions that AWS would refuse were refused.

    Raises:
        Ec2Error: the code of `missing`, for a resource that is named.
        InvalidParameterValue: a filter that does not exist.
    """
    for one in given:
        error, words = missing
        raise error(words.format(one))
    rows, _ = page(select([], request.get(asked), dict.fromkeys(filters, ""), same), request, str)
    return {result: rows}


@operation("DescribeVpnGateways", needs=needs.look("DescribeVpnGateways"))
@takes("Filters", "VpnGatewayIds")
async def describe_vpn_gateways(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none. Source: Amazon EC2 API Reference, DescribeVpnGateways."""
    words = (errors.InvalidVpnGatewayIDNotFound, "The vpnGateway ID '{}' does not exist")
    known = ("amazon-side-asn", "attachment.state", "attachment.vpc-id", "availability-zone", "state", "type")
    return _none(request, "VpnGateways", many(request, "VpnGatewayIds"), words, (*known, "vpn-gateway-id"))


@operation("DescribeVpcEndpoints", needs=needs.look("DescribeVpcEndpoints"))
@takes("VpcEndpointIds", "Filters", "MaxResults", "NextToken")
async def describe_vpc_endpoints(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none: AWS services are reached without. Source: Amazon EC2 API Reference, DescribeVpcEndpoints."""
    words = (errors.InvalidVpcEndpointIdNotFound, "The Vpc Endpoint Id '{}' does not exist")
    known = (
        "ip-address-type", "service-name", "service-region", "vpc-endpoint-id", "vpc-endpoint-state",
        "vpc-endpoint-type", "vpc-id",
    )  # fmt: skip
    return _none(request, "VpcEndpoints", many(request, "VpcEndpointIds"), words, known)


@operation("DescribeVpcPeeringConnections", needs=needs.look("DescribeVpcPeeringConnections"))
@takes("VpcPeeringConnectionIds", "Filters", "MaxResults", "NextToken")
async def describe_vpc_peering_connections(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none. Source: Amazon EC2 API Reference, DescribeVpcPeeringConnections."""
    words = (errors.InvalidVpcPeeringConnectionIDNotFound, "The vpcPeeringConnection ID '{}' does not exist")
    sides = tuple(
        f"{side}-vpc-info.{one}" for side in ("accepter", "requester") for one in ("cidr-block", "owner-id", "vpc-id")
    )
    known = (*sides, "expiration-time", "status-code", "status-message", "vpc-peering-connection-id")
    return _none(request, "VpcPeeringConnections", many(request, "VpcPeeringConnectionIds"), words, known)


@operation("DescribeEgressOnlyInternetGateways", needs=needs.look("DescribeEgressOnlyInternetGateways"))
@takes("EgressOnlyInternetGatewayIds", "Filters", "MaxResults", "NextToken")
async def describe_egress_only_internet_gateways(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none: there is no IPv6. Source: Amazon EC2 API Reference, DescribeEgressOnlyInternetGateways."""
    words = (errors.InvalidGatewayIDNotFound, "The eigw ID '{}' does not exist")
    given = many(request, "EgressOnlyInternetGatewayIds")
    return _none(request, "EgressOnlyInternetGateways", given, words, ())


@operation("DescribePrefixLists", needs=needs.look("DescribePrefixLists"))
@takes("PrefixListIds", "Filters", "MaxResults", "NextToken")
async def describe_prefix_lists(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none: no rule and no route here can name one. Source: Amazon EC2 API Reference, DescribePrefixLists."""
    words = (errors.InvalidPrefixListIdNotFound, "The prefix list ID '{}' does not exist")
    known = ("prefix-list-id", "prefix-list-name")
    return _none(request, "PrefixLists", many(request, "PrefixListIds"), words, known)


@operation("DescribeManagedPrefixLists", needs=needs.look("DescribeManagedPrefixLists"))
@takes("PrefixListIds", "Filters", "MaxResults", "NextToken")
async def describe_managed_prefix_lists(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none. Source: Amazon EC2 API Reference, DescribeManagedPrefixLists."""
    words = (errors.InvalidPrefixListIDNotFound, "The prefix list ID '{}' does not exist.")
    known = ("owner-id", "prefix-list-id", "prefix-list-name")
    return _none(request, "PrefixLists", many(request, "PrefixListIds"), words, known)


@operation("DescribePlacementGroups", needs=needs.look("DescribePlacementGroups"))
@takes("GroupIds", "GroupNames", "Filters")
async def describe_placement_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none. Source: Amazon EC2 API Reference, DescribePlacementGroups."""
    words = (errors.InvalidPlacementGroupUnknown, "The Placement Group '{}' is unknown.")
    known = ("group-name", "group-arn", "spread-level", "state", "strategy")
    given = [*many(request, "GroupNames"), *many(request, "GroupIds")]
    return _none(request, "PlacementGroups", given, words, known)


@operation("DescribeFlowLogs", needs=needs.look("DescribeFlowLogs"))
@takes("FlowLogIds", "Filter", "MaxResults", "NextToken")
async def describe_flow_logs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none: connections are on tracks. Source: Amazon EC2 API Reference, DescribeFlowLogs."""
    words = (errors.InvalidFlowLogIdNotFound, "These flow log ids in the input list are not found: [{}]")
    known = (
        "deliver-log-status", "log-destination-type", "flow-log-id", "log-group-name", "resource-id", "traffic-type",
    )  # fmt: skip
    return _none(request, "FlowLogs", many(request, "FlowLogIds"), words, known, "Filter")


@operation("DescribeSpotInstanceRequests", needs=needs.look("DescribeSpotInstanceRequests"))
@takes("SpotInstanceRequestIds", "Filters", "MaxResults", "NextToken")
async def describe_spot_instance_requests(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """There are none: every instance is on demand. Source: Amazon EC2 API Reference, DescribeSpotInstanceRequests."""
    words = (errors.InvalidSpotInstanceRequestIDNotFound, "The spot instance request ID '{}' does not exist")
    known = (
        "availability-zone-group", "create-time", "fault-code", "fault-message", "instance-id", "launch-group",
        "launch.image-id", "launch.instance-type", "launched-availability-zone", "product-description", "spot-price",
        "spot-instance-request-id", "state", "status-code", "status-message", "type", "valid-from", "valid-until",
    )  # fmt: skip
    return _none(request, "SpotInstanceRequests", many(request, "SpotInstanceRequestIds"), words, known)

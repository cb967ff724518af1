# SPDX-License-Identifier: Apache-2.0
"""VPCs, subnets, routes, gateways, addresses: what the API says of them, and what really passes."""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import lab_of, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.ec2.conftest import Lab

ECHO = """#!/bin/bash
cat > /opt/echo.py <<'X'
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.client_address[0].encode() + b" said " + self.rfile.readline())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
server = Server(("0.0.0.0", 7000), Echo)
print("echo server started", flush=True)
server.serve_forever()
X
exec PYTHON /opt/echo.py
""".replace("PYTHON", sys.executable)

ASK = """
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
    s.sendall(b"hello\\n")
    print(s.recv(200).decode().strip() or "closed")
except ConnectionResetError:
    print("reset")
"""


UDP_ECHO = """#!/bin/bash
cat > /opt/echo.py <<'X'
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 7000))
print("udp server started", flush=True)
while True:
    data, peer = server.recvfrom(65536)
    server.sendto(f"{peer[0]} said {len(data)}".encode(), peer)
X
exec PYTHON /opt/echo.py
""".replace("PYTHON", sys.executable)

TELL = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[4]))
for octets in sys.argv[3].split(","):
    s.sendto(b"x" * int(octets), (sys.argv[1], int(sys.argv[2])))
for octets in sys.argv[3].split(","):
    try:
        print(s.recv(200).decode())
    except TimeoutError:
        print("silence")
"""


def tell(lab: Lab, instance_id: str, host: str, port: int, octets: str = "5", wait_s: int = 30) -> str:
    return inside(lab, instance_id, sys.executable, "-c", TELL, host, str(port), octets, str(wait_s))


def inside(lab: Lab, instance_id: str, *argv: str) -> str:
    return lab.chamber.cli("shell", instance_id, "--", *argv).stdout.strip()


def ask(lab: Lab, instance_id: str, host: str, port: int) -> str:
    return inside(lab, instance_id, sys.executable, "-c", ASK, host, str(port))


def refusal(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def quick(ec2: Any, name: str) -> Any:
    waiter = ec2.get_waiter(name)
    waiter.config.delay, waiter.config.max_attempts = 0.1, 600
    return waiter


@pytest.fixture
def vpc(lab: Lab) -> Iterator[str]:
    made = lab.ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    yield made
    for gateway in lab.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [made]}])[
        "InternetGateways"
    ]:
        lab.ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=made)


def test_a_vpc_comes_with_a_table_a_group_and_an_acl_and_goes_when_it_is_empty(lab: Lab):
    ec2 = lab.ec2
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tags)["Vpc"]
    own = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    quick(ec2, "vpc_available").wait(VpcIds=[vpc["VpcId"]])
    assert (vpc["CidrBlock"], vpc["IsDefault"], vpc["State"]) == ("10.9.0.0/16", False, "available")
    assert vpc["Tags"] == [{"Key": "Name", "Value": "mine"}]
    (table,) = ec2.describe_route_tables(Filters=own)["RouteTables"]
    assert table["Associations"][0]["Main"] is True
    assert [(r["DestinationCidrBlock"], r["GatewayId"]) for r in table["Routes"]] == [("10.9.0.0/16", "local")]
    (group,) = ec2.describe_security_groups(Filters=own)["SecurityGroups"]
    assert group["GroupName"] == "default"
    assert len(ec2.describe_network_acls(Filters=own)["NetworkAcls"]) == 1
    subnet = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock="10.9.1.0/24")["Subnet"]
    assert (subnet["AvailableIpAddressCount"], subnet["MapPublicIpOnLaunch"]) == (251, False)
    assert refusal(lambda: ec2.delete_vpc(VpcId=vpc["VpcId"])) == "DependencyViolation"
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    assert refusal(lambda: ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])) == "InvalidVpcID.NotFound"
    assert ec2.describe_security_groups(Filters=own)["SecurityGroups"] == []


def test_blocks_that_do_not_fit_are_refused(lab: Lab, vpc: str):
    ec2 = lab.ec2
    assert refusal(lambda: ec2.create_vpc(CidrBlock="10.0.0.0/8")) == "InvalidVpc.Range"
    assert refusal(lambda: ec2.create_vpc(CidrBlock="10.0.0.1")) == "InvalidParameterValue"
    assert refusal(lambda: ec2.create_subnet(VpcId=vpc, CidrBlock="10.21.0.0/24")) == "InvalidSubnet.Range"
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.1.0/24")
    assert refusal(lambda: ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.1.128/25")) == "InvalidSubnet.Conflict"
    bad_zone = {"VpcId": vpc, "CidrBlock": "10.20.2.0/24", "AvailabilityZone": "us-east-1z"}
    assert refusal(lambda: ec2.create_subnet(**bad_zone)) == "InvalidParameterValue"


def test_routes_lead_to_gateways_of_the_same_vpc(lab: Lab, vpc: str):
    ec2 = lab.ec2
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.3.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    everywhere = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
    assert refusal(lambda: ec2.create_route(**everywhere)) == "InvalidParameterValue"
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.create_route(**everywhere)
    assert (
        refusal(lambda: ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc))
        == "Resource.AlreadyAssociated"
    )
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    assert refusal(lambda: ec2.delete_route_table(RouteTableId=table)) == "DependencyViolation"
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (shown,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    assert [r["State"] for r in shown["Routes"]] == ["active", "blackhole"]
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    assert (
        refusal(lambda: ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0"))
        == "InvalidRoute.NotFound"
    )
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)


def test_an_address_is_associated_moved_and_released(lab: Lab):
    ec2 = lab.ec2
    instance = lab.run("#!/bin/bash\n")
    own = lab.wait(instance)["PublicIpAddress"]
    address = ec2.allocate_address(Domain="vpc")
    assert address["PublicIp"] != own
    association = ec2.associate_address(InstanceId=instance, AllocationId=address["AllocationId"])["AssociationId"]
    assert lab.view(instance)["PublicIpAddress"] == address["PublicIp"]
    (shown,) = ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
    assert (shown["InstanceId"], shown["AssociationId"]) == (instance, association)
    assert refusal(lambda: ec2.release_address(AllocationId=address["AllocationId"])) == "InvalidIPAddress.InUse"
    ec2.disassociate_address(AssociationId=association)
    assert lab.view(instance)["PublicIpAddress"] == own
    ec2.release_address(AllocationId=address["AllocationId"])
    assert (
        refusal(lambda: ec2.describe_addresses(AllocationIds=[address["AllocationId"]]))
        == "InvalidAllocationID.NotFound"
    )
    ec2.terminate_instances(InstanceIds=[instance])


def test_instances_talk_by_private_address_if_both_sides_groups_let_them(lab: Lab):
    ec2, clients, servers = lab.ec2, lab.group(), lab.group()
    server = lab.run(ECHO, SecurityGroupIds=[servers])
    client = lab.run("#!/bin/bash\n", SecurityGroupIds=[clients])
    there, here = lab.wait(server), lab.wait(client)
    lab.until_console(server, "echo server started")
    assert ask(lab, client, there["PrivateIpAddress"], 7000) == "reset"
    denied = [s for t in _tracks(lab) for s in t["segments"] if s["name"] == "connect tcp/7000"]
    assert denied and servers in denied[0]["notes"]["denied"]
    assert denied[0]["notes"]["allow_with"].endswith(f"--source-group {clients}")

    pair = [{"GroupId": clients}]
    rule = {"IpProtocol": "tcp", "FromPort": 7000, "ToPort": 7000, "UserIdGroupPairs": pair}
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    # the server sees its client's own address, and names lead there too
    expected = f"{here['PrivateIpAddress']} said hello"
    assert ask(lab, client, there["PrivateIpAddress"], 7000) == expected
    assert ask(lab, client, there["PrivateDnsName"], 7000) == expected
    assert ask(lab, client, there["PublicDnsName"], 7000) == expected
    passed = [
        s for t in _tracks(lab) for s in t["segments"] if s["name"] == f"connect {there['PrivateIpAddress']}:7000"
    ]
    assert passed[0]["notes"]["octets_out"] == 6

    ec2.revoke_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    assert ask(lab, client, there["PrivateIpAddress"], 7000) == "reset"
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    ec2.revoke_security_group_egress(
        GroupId=clients, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    assert ask(lab, client, there["PrivateIpAddress"], 7000) == "reset"
    ec2.terminate_instances(InstanceIds=[server, client])


def _tracks(lab: Lab) -> list[dict[str, Any]]:
    return json.loads(lab.chamber.cli("tracks", "--all", "--json", "--limit", "60").stdout)


def test_datagrams_between_instances(lab: Lab):
    ec2 = lab.ec2
    servers, clients = lab.group(), lab.group()
    server = lab.run(UDP_ECHO, SecurityGroupIds=[servers])
    client = lab.run("#!/bin/bash\n", SecurityGroupIds=[clients])
    there, here = lab.wait(server)["PrivateIpAddress"], lab.wait(client)["PrivateIpAddress"]
    lab.until_console(server, "udp server started")
    assert tell(lab, client, there, 7000, wait_s=1) == "silence"
    assert f"no ingress rule of {servers} lets {client}" in _denied(lab, "send udp/7000")
    rule = {"IpProtocol": "udp", "FromPort": 7000, "ToPort": 7000, "UserIdGroupPairs": [{"GroupId": clients}]}
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[{**rule, "IpProtocol": "tcp"}])
    assert tell(lab, client, there, 7000, wait_s=1) == "silence"
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    # In order, the first ones too, of which several come before the flow is decided; the largest that UDP has.
    said = [f"{here} said {octets}" for octets in (1, 20, 300, 65507, 0)]
    assert tell(lab, client, there, 7000, "1,20,300,65507,0").splitlines() == said
    assert tell(lab, client, there, 7001, wait_s=1) == "silence"
    ec2.revoke_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    assert tell(lab, client, there, 7000, wait_s=1) == "silence"
    ec2.authorize_security_group_ingress(GroupId=servers, IpPermissions=[rule])
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.revoke_security_group_egress(GroupId=clients, IpPermissions=[everything])
    assert tell(lab, client, there, 7000, wait_s=1) == "silence"
    assert f"no egress rule of {clients}" in _denied(lab, "send udp/7000")
    # What was let through is on a track when it has ended: with the instance, here.
    ec2.terminate_instances(InstanceIds=[client])
    lab.wait(client, "terminated")
    (passed,) = [s for t in _tracks(lab) for s in t["segments"] if s["name"] == f"send udp {there}:7000"]
    assert passed["notes"]["octets_out"] == 1 + 20 + 300 + 65507
    assert servers in passed["notes"]["admitted_by"]
    ec2.terminate_instances(InstanceIds=[server])


def test_datagrams_leave_only_where_a_route_leads(lab: Lab):
    instance = lab.run("#!/bin/bash\n")
    lab.wait(instance)
    for address, why in (
        ("203.0.113.7", "is not an address of the internet"),
        ("192.168.1.1", "is not an address of the internet"),
        ("172.31.0.2", "no running instance of"),
    ):
        port = 20000 + int(address.rpartition(".")[2])
        assert tell(lab, instance, address, port, wait_s=1) == "silence"
        assert why in _denied(lab, f"send udp/{port}")
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_the_public_address_leads_to_the_ports_that_the_groups_open(lab: Lab):
    group = lab.group(7000)
    instance = lab.run(ECHO, SecurityGroupIds=[group])
    address = lab.wait(instance)["PublicIpAddress"]
    lab.until_console(instance, "echo server started")
    with socket.create_connection((address, 7000), timeout=20) as connection:
        connection.sendall(b"hi\n")
        assert connection.recv(100).endswith(b"said hi\n")
    permission = {"IpProtocol": "tcp", "FromPort": 7000, "ToPort": 7000, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    lab.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[permission])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 7000), timeout=20)
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_the_internet_is_reached_only_where_a_route_leads_there(lab: Lab, vpc: str):
    ec2 = lab.ec2
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.7.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=unique("net"), Description="d", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=80, CidrIp="0.0.0.0/0")
    interface = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": True}
    instance = lab.run("#!/bin/bash\n", NetworkInterfaces=[interface])
    view = lab.wait(instance)
    assert (view["VpcId"], view["SubnetId"]) == (vpc, subnet)
    assert view["PrivateIpAddress"].startswith("10.20.7.")
    assert view["PublicDnsName"] == ""
    assert ask(lab, instance, "203.0.113.7", 443) == "reset"
    assert "no route of rtb-" in _denied(lab, "connect tcp/443")

    connection = lab.connect(instance)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 504
    assert b"leads to an internet gateway" in answer.read()

    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=main["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    # a documentation address (RFC 5737) is no address of the internet, and this machine's own are not either
    assert ask(lab, instance, "203.0.113.7", 444) == "reset"
    assert "is not an address of the internet" in _denied(lab, "connect tcp/444")
    assert ask(lab, instance, "192.168.1.1", 445) == "reset"
    assert "is not an address of the internet" in _denied(lab, "connect tcp/445")
    ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")


def _denied(lab: Lab, name: str) -> str:
    return next(s["notes"]["denied"] for t in _tracks(lab) for s in t["segments"] if s["name"] == name)


def test_the_way_through_a_nat_gateway_needs_a_public_subnet(lab: Lab, vpc: str):
    ec2 = lab.ec2
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.8.0/24")["Subnet"]["SubnetId"]
    address = ec2.allocate_address()["AllocationId"]
    wanted = {"SubnetId": subnet, "AllocationId": address}
    assert refusal(lambda: ec2.create_nat_gateway(**wanted)) == "Gateway.NotAttached"
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    nat = ec2.create_nat_gateway(**wanted)["NatGateway"]["NatGatewayId"]
    quick(ec2, "nat_gateway_available").wait(NatGatewayIds=[nat])
    assert refusal(lambda: ec2.release_address(AllocationId=address)) == "InvalidIPAddress.InUse"
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
    private = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.9.0/24")["Subnet"]["SubnetId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=private)
    instance = lab.run("#!/bin/bash\n", SubnetId=private)
    assert "PublicIpAddress" not in lab.wait(instance)
    assert ask(lab, instance, "93.184.215.14", 446) == "reset"
    assert f"of {nat} has no route to an internet gateway" in _denied(lab, "connect tcp/446")
    ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    ec2.delete_nat_gateway(NatGatewayId=nat)
    quick(ec2, "nat_gateway_deleted").wait(NatGatewayIds=[nat])
    ec2.release_address(AllocationId=address)


def test_groups_and_subnets_of_two_vpcs_do_not_mix(lab: Lab, vpc: str):
    ec2 = lab.ec2
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.10.0/24")["Subnet"]["SubnetId"]
    elsewhere = lab.group(80)
    assert refusal(lambda: lab.run(SubnetId=subnet, SecurityGroupIds=[elsewhere])) == "InvalidParameter"
    name = unique("twice")
    ec2.create_security_group(GroupName=name, Description="d")
    ec2.create_security_group(GroupName=name, Description="d", VpcId=vpc)


def test_the_default_vpc_can_be_deleted_and_made_again(own_chamber: Any):
    ec2 = lab_of(own_chamber).ec2
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert vpc["IsDefault"]
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    (gateway,) = ec2.describe_internet_gateways()["InternetGateways"]
    ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=vpc["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    assert ec2.describe_vpcs()["Vpcs"] == []
    lab = lab_of(own_chamber)
    assert refusal(lambda: lab.run()) == "VPCIdNotSpecified"
    assert ec2.create_default_vpc()["Vpc"]["IsDefault"]
    assert len(ec2.describe_subnets()["Subnets"]) == 6

# SPDX-License-Identifier: Apache-2.0
"""The metadata service case by case: what SDKs and agents read, the tokens, signatures, and what is not there."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.ec2.conftest import lab_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.ec2.conftest import Lab

ASK = r"""
import http.client, json, sys, socket
def ask(method, path, headers):
    c = http.client.HTTPConnection("169.254.169.254", timeout=30)
    c.request(method, path, headers=headers)
    r = c.getresponse()
    return r.status, r.read().decode(), dict(r.getheaders())
TTL, TOKEN = "X-aws-ec2-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token"
token = ask("PUT", "/latest/api/token", {TTL: "60"})[1]
def raw(data):
    s = socket.create_connection(("169.254.169.254", 80), timeout=30)
    s.sendall(data)
    return s.recv(100).split(b"\r\n")[0].decode()
exec(sys.stdin.read())
"""


class Inside:
    """Runs Python inside an instance, with the functions of ASK."""

    def __init__(self, lab: Lab, instance: str) -> None:
        self.lab, self.id = lab, instance

    def eval(self, expression: str) -> Any:
        program = ASK.replace("exec(sys.stdin.read())", f"print('=' + json.dumps({expression}))")
        said = self.lab.chamber.cli("shell", self.id, "--", "python3", "-c", program).stdout
        return json.loads(said[said.index("=") + 1 :])

    def get(self, *paths: str) -> list[Any]:
        """Status and body of each path, with a token."""
        return self.eval(f"[ask('GET', '/latest/' + p, {{TOKEN: token}})[:2] for p in {list(paths)!r}]")


@pytest.fixture(scope="module")
def inside(chamber: Any) -> Iterator[Inside]:
    lab = lab_of(chamber)
    profile, _ = lab.profile()
    instance = lab.run(
        "#!/bin/sh\ntrue\n",
        IamInstanceProfile={"Name": profile},
        MetadataOptions={"InstanceMetadataTags": "enabled"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web 1"}]}],
    )
    lab.wait(instance)
    yield Inside(lab, instance)
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_the_tree(inside: Inside) -> None:
    view = inside.lab.view(inside.id)
    eni = view["NetworkInterfaces"][0]
    mac = f"meta-data/network/interfaces/macs/{eni['MacAddress']}"
    vpc = inside.lab.ec2.describe_vpcs(VpcIds=[view["VpcId"]])["Vpcs"][0]["CidrBlock"]
    subnet = inside.lab.ec2.describe_subnets(SubnetIds=[view["SubnetId"]])["Subnets"][0]
    wanted = {
        "": "dynamic/\nmeta-data/\nuser-data",
        "dynamic/": "fws/\ninstance-identity/",
        "dynamic/fws/instance-monitoring": "disabled",
        "dynamic/instance-identity/": "document\npkcs7\nrsa2048\nsignature",
        "meta-data/ami-id": view["ImageId"],
        "meta-data/block-device-mapping/": "ami\nroot",
        "meta-data/block-device-mapping/root": "/dev/xvda",
        "meta-data/events/maintenance/scheduled": "[]",
        "meta-data/events/maintenance/history": "[]",
        "meta-data/identity-credentials/ec2/": "info",
        "meta-data/instance-life-cycle": "on-demand",
        "meta-data/local-ipv4": view["PrivateIpAddress"],
        "meta-data/public-ipv4": view["PublicIpAddress"],
        "meta-data/mac": eni["MacAddress"],
        "meta-data/network/interfaces/macs/": f"{eni['MacAddress']}/",
        f"{mac}/device-number": "0",
        f"{mac}/interface-id": eni["NetworkInterfaceId"],
        f"{mac}/owner-id": eni["OwnerId"],
        f"{mac}/subnet-id": view["SubnetId"],
        f"{mac}/subnet-ipv4-cidr-block": subnet["CidrBlock"],
        f"{mac}/vpc-id": view["VpcId"],
        f"{mac}/vpc-ipv4-cidr-block": vpc,
        f"{mac}/vpc-ipv4-cidr-blocks": vpc,
        f"{mac}/security-group-ids": view["SecurityGroups"][0]["GroupId"],
        f"{mac}/ipv4-associations/{view['PublicIpAddress']}": view["PrivateIpAddress"],
        "meta-data/placement/": "availability-zone\navailability-zone-id\nregion",
        "meta-data/placement/availability-zone-id": subnet["AvailabilityZoneId"],
        "meta-data/services/": "domain\npartition",
        "meta-data/services/partition": "aws",
        "meta-data/system": "nitro",
        "meta-data/tags/instance/": "Name",
        "meta-data/tags/instance/Name": "web 1",
        "user-data": "#!/bin/sh\ntrue\n",
    }
    seen = dict(zip(wanted, inside.get(*wanted), strict=True))
    assert {path: body for path, (_, body) in seen.items()} == wanted
    listed = inside.get("meta-data/")[0][1].splitlines()
    assert listed == sorted(listed)
    assert {"iam/", "metrics/", "network/", "placement/", "services/", "system", "tags/"} <= set(listed)
    ((_, who),) = inside.get("meta-data/identity-credentials/ec2/info")
    assert json.loads(who) | {"LastUpdated": ""} == {"Code": "Success", "LastUpdated": "", "AccountId": eni["OwnerId"]}


def test_what_is_not_there(inside: Inside) -> None:
    paths = (
        "meta-data/spot/instance-action", "meta-data/spot/termination-time",
        "meta-data/autoscaling/target-lifecycle-state", "meta-data/events/recommendations/rebalance",
        "meta-data/placement/host-id", "meta-data/placement/partition-number",
        "meta-data/placement/group-name", "meta-data/public-keys/", "meta-data/iam/security-credentials/other",
        "meta-data/instance-id/more", "nonsense", "meta-data/../../../etc/passwd",
    )  # fmt: skip
    for path, (status, body) in zip(paths, inside.get(*paths), strict=True):
        assert (status, "404 - Not Found" in body) == (404, True), path


def test_tokens(inside: Inside) -> None:
    cases = {
        "ask('PUT', '/latest/api/token', {})": 400,
        "ask('PUT', '/latest/api/token', {TTL: '0'})": 400,
        "ask('PUT', '/latest/api/token', {TTL: '21601'})": 400,
        "ask('PUT', '/latest/api/token', {TTL: 'x'})": 400,
        "ask('PUT', '/latest/api/token', {TTL: '21600'})": 200,
        "ask('PUT', '/latest/api/token', {TTL: '1'})": 200,
        "ask('PUT', '/latest/api/token', {TTL: '60', 'X-Forwarded-For': '10.0.0.1'})": 403,
        "ask('GET', '/latest/api/token', {TOKEN: token})": 405,
        "ask('PUT', '/latest/meta-data/', {TTL: '60'})": 405,
        "ask('POST', '/latest/meta-data/', {TOKEN: token})": 405,
        "ask('GET', '/latest/meta-data/', {})": 401,
        "ask('GET', '/latest/meta-data/', {TOKEN: 'forged'})": 401,
        "ask('GET', '/latest/meta-data/', {TOKEN: ''})": 401,
        "ask('HEAD', '/latest/meta-data/', {TOKEN: token})": 200,
        "ask('GET', '/2021-03-23/meta-data/ami-id', {TOKEN: token})": 200,
        "ask('GET', '/1999-01-01/meta-data/ami-id', {TOKEN: token})": 404,
    }
    seen = inside.eval(f"[{', '.join(f'{case}[0]' for case in cases)}]")
    assert dict(zip(cases, seen, strict=True)) == cases
    headers = inside.eval("ask('PUT', '/latest/api/token', {TTL: '77'})[2]")
    assert headers["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"] == "77"
    lines = (b"nonsense\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
    assert inside.eval(f"[raw(one) for one in {lines!r}]") == ["HTTP/1.1 400 Bad Request"] * 3


def test_version_1_only_when_asked_for(inside: Inside) -> None:
    lab = inside.lab
    ask = "ask('GET', '/latest/meta-data/instance-id', {})[:2]"
    lab.ec2.modify_instance_metadata_options(InstanceId=inside.id, HttpTokens="optional")
    assert inside.eval(ask) == [200, inside.id]
    assert inside.eval("ask('GET', '/latest/meta-data/', {TOKEN: 'forged'})[0]") == 401
    lab.ec2.modify_instance_metadata_options(InstanceId=inside.id, HttpTokens="required")
    assert inside.eval(ask)[0] == 401
    lab.ec2.modify_instance_metadata_options(InstanceId=inside.id, HttpEndpoint="disabled")
    assert inside.eval("[ask('GET', '/latest/meta-data/', {})[0], ask('PUT', '/latest/api/token', {TTL: '9'})[0]]") == [
        403,
        403,
    ]
    lab.ec2.modify_instance_metadata_options(InstanceId=inside.id, HttpEndpoint="enabled", HttpTokens="required")


def test_signatures_of_the_identity_document(inside: Inside, tmp_path: Path) -> None:
    names = ("document", "pkcs7", "rsa2048", "signature")
    document, pkcs7, rsa2048, signature = (
        body for _, body in inside.get(*(f"dynamic/instance-identity/{n}" for n in names))
    )
    about = json.loads(document)
    assert (about["instanceId"], about["region"], about["version"]) == (inside.id, "us-east-1", "2017-09-30")
    assert re.search(r'^  "accountId" : "', document, re.MULTILINE)
    certificate = inside.lab.chamber.state / "ec2" / "identity" / "certificate.pem"
    assert (certificate.with_name("key.pem").stat().st_mode & 0o777) == 0o600
    for text in (pkcs7, rsa2048):
        (tmp_path / "p7").write_text(f"-----BEGIN PKCS7-----\n{text}\n-----END PKCS7-----\n")
        line = [
            "openssl",
            "smime",
            "-verify",
            "-in",
            str(tmp_path / "p7"),
            "-inform",
            "PEM",
            "-certfile",
            str(certificate),
            "-noverify",
        ]
        assert subprocess.run(line, capture_output=True, check=True).stdout.decode() == document
    key = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    (tmp_path / "document").write_text(document)
    line = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "document"]
    assert b"Verified OK" in subprocess.run(line, cwd=tmp_path, capture_output=True, check=True).stdout


def test_a_replaced_role_is_seen(inside: Inside) -> None:
    lab = inside.lab
    name = inside.get("meta-data/iam/security-credentials/")[0][1]
    first = json.loads(inside.get(f"meta-data/iam/security-credentials/{name}")[0][1])
    assert (first["Code"], first["Type"], first["AccessKeyId"][:4]) == ("Success", "AWS-HMAC", "ASIA")
    again = json.loads(inside.get(f"meta-data/iam/security-credentials/{name}")[0][1])
    assert again == first, "the same until shortly before they end"
    iam = lab.chamber.client("iam")
    other, _ = lab.profile()
    profile = lab.view(inside.id)["IamInstanceProfile"]["Arn"].rsplit("/", 1)[-1]
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=name)
    assert inside.get("meta-data/iam/security-credentials/")[0][0] == 404
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=other)
    assert inside.get("meta-data/iam/security-credentials/")[0] == [200, other]
    assert json.loads(inside.get(f"meta-data/iam/security-credentials/{other}")[0][1])["Code"] == "Success"
    info = json.loads(inside.get("meta-data/iam/info")[0][1])
    assert info["InstanceProfileArn"].endswith(f"/{profile}")

# SPDX-License-Identifier: Apache-2.0
"""Key pairs: made, imported, described, deleted; their fingerprints as ssh-keygen and openssl would have them."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

OPENSSH = (forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)


def colons(digest: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in digest)


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_rsa(lab: Lab) -> None:
    name = unique("rsa")
    made = lab.ec2.create_key_pair(
        KeyName=name, TagSpecifications=[{"ResourceType": "key-pair", "Tags": [{"Key": "a", "Value": "b"}]}]
    )
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    key = forms.load_pem_private_key(made["KeyMaterial"].encode(), None)
    der = key.private_bytes(forms.Encoding.DER, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    assert made["KeyFingerprint"] == colons(hashlib.sha1(der).digest())
    seen = lab.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]
    assert seen["PublicKey"] == key.public_key().public_bytes(*OPENSSH).decode() + f" {name}"
    assert (seen["KeyType"], seen["Tags"], seen["KeyPairId"]) == (
        "rsa",
        [{"Key": "a", "Value": "b"}],
        made["KeyPairId"],
    )
    assert "PublicKey" not in lab.ec2.describe_key_pairs(KeyPairIds=[made["KeyPairId"]])["KeyPairs"][0]
    with pytest.raises(ClientError) as refused:
        lab.ec2.create_key_pair(KeyName=name)
    assert code(refused) == "InvalidKeyPair.Duplicate"
    lab.ec2.create_tags(Resources=[made["KeyPairId"]], Tags=[{"Key": "c", "Value": "d"}])
    filters = [{"Name": "tag:c", "Values": ["d"]}, {"Name": "fingerprint", "Values": [made["KeyFingerprint"]]}]
    assert [one["KeyName"] for one in lab.ec2.describe_key_pairs(Filters=filters)["KeyPairs"]] == [name]
    assert lab.ec2.delete_key_pair(KeyName=name)["KeyPairId"] == made["KeyPairId"]
    assert lab.ec2.delete_key_pair(KeyName=name)["Return"]
    with pytest.raises(ClientError) as refused:
        lab.ec2.describe_key_pairs(KeyNames=[name])
    assert code(refused) == "InvalidKeyPair.NotFound"


def test_ed25519(lab: Lab) -> None:
    made = lab.ec2.create_key_pair(KeyName=unique("ed"), KeyType="ed25519")
    assert made["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key = forms.load_ssh_private_key(made["KeyMaterial"].encode(), None)
    blob = base64.b64decode(key.public_key().public_bytes(*OPENSSH).split()[1])
    assert made["KeyFingerprint"] == base64.b64encode(hashlib.sha256(blob).digest()).decode()
    lab.ec2.delete_key_pair(KeyPairId=made["KeyPairId"])


def test_import(lab: Lab) -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    line, der = (
        key.public_bytes(*OPENSSH),
        key.public_bytes(forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo),
    )
    blob = line.split()[1].decode()
    wrapped = "\n".join(blob[place : place + 70] for place in range(0, len(blob), 70))
    rfc4716 = f'---- BEGIN SSH2 PUBLIC KEY ----\nComment: "of a test"\n{wrapped}\n---- END SSH2 PUBLIC KEY ----\n'
    for material in (line + b" me@laptop", rfc4716.encode(), base64.b64encode(der), base64.b64encode(line)):
        name = unique("imported")
        made = lab.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=material)
        assert made["KeyFingerprint"] == colons(hashlib.md5(der).digest())
        assert "KeyMaterial" not in made
        seen = lab.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]
        assert seen["PublicKey"] == f"{line.decode()} {name}"
        lab.ec2.delete_key_pair(KeyName=name)


def test_what_is_refused(lab: Lab) -> None:
    odd = rsa.generate_private_key(65537, 3072).public_key().public_bytes(*OPENSSH)
    for material in (
        b"ssh-rsa AAAA", b"nonsense", b"", odd, b"x" * 20000,
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*OPENSSH),
        b"ssh-dss AAAAB3NzaC1kc3MAAACBAA==",
    ):  # fmt: skip
        with pytest.raises(ClientError) as refused:
            lab.ec2.import_key_pair(KeyName=unique("bad"), PublicKeyMaterial=material)
        assert code(refused) == "InvalidKey.Format", material[:20]
    for given, wanted in (
        ({"KeyName": "x" * 256}, "InvalidParameterValue"),
        ({"KeyName": unique("k"), "KeyType": "dsa"}, "InvalidParameterValue"),
        ({"KeyName": unique("k"), "KeyFormat": "ppk"}, "UnsupportedOperation"),
    ):
        with pytest.raises(ClientError) as refused:
            lab.ec2.create_key_pair(**given)
        assert code(refused) == wanted
    with pytest.raises(ClientError) as refused:
        lab.run(KeyName="there-is-none")
    assert code(refused) == "InvalidKeyPair.NotFound"


def test_an_instance_has_the_key(lab: Lab) -> None:
    name = unique("login")
    lab.ec2.create_key_pair(KeyName=name)
    public = lab.ec2.describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
    script = """#!/bin/bash
grep -h ssh-rsa /home/ec2-user/.ssh/authorized_keys
stat -c '%a %U' /home/ec2-user/.ssh/authorized_keys /home/ec2-user/.ssh
cut -c-60 /root/.ssh/authorized_keys
I=http://169.254.169.254/latest
T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $I/api/token)
for p in public-keys/ public-keys/0 public-keys/0/ public-keys/0/openssh-key; do
curl -s -H "X-aws-ec2-metadata-token: $T" $I/meta-data/$p; echo " of $p"; done
"""
    instance = lab.run(script, KeyName=name)
    lab.ec2.delete_key_pair(KeyName=name)
    lab.wait(instance)
    said = lab.until_console(instance, "user data ended").splitlines()
    assert public in said
    assert {"600 ec2-user", "700 ec2-user", f"0={name} of public-keys/", "openssh-key of public-keys/0/"} <= set(
        said
    ), said
    assert "openssh-key of public-keys/0" in said
    assert f"{public} of public-keys/0/openssh-key" in said
    assert any(line.startswith("no-port-forwarding,no-agent-forwarding") for line in said)
    assert lab.view(instance)["KeyName"] == name
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_a_template_brings_its_public_key(lab: Lab) -> None:
    line = rsa.generate_private_key(65537, 2048).public_key().public_bytes(*OPENSSH).decode()
    name = unique("stack")
    properties = f'{{KeyName: "{name}", PublicKeyMaterial: "{line}"}}'
    body = f"Resources: {{K: {{Type: 'AWS::EC2::KeyPair', Properties: {properties}}}}}\n"
    body += "Outputs: {I: {Value: !GetAtt K.KeyPairId}}\n"
    cfn = lab.chamber.client("cloudformation")
    cfn.create_stack(StackName=name, TemplateBody=body)
    waiter = cfn.get_waiter("stack_create_complete")
    waiter.config.delay = 0.1
    waiter.wait(StackName=name)
    output = cfn.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"]
    assert lab.ec2.describe_key_pairs(KeyNames=[name])["KeyPairs"][0]["KeyPairId"] == output
    cfn.delete_stack(StackName=name)
    waiter = cfn.get_waiter("stack_delete_complete")
    waiter.config.delay = 0.1
    waiter.wait(StackName=name)
    with pytest.raises(ClientError):
        lab.ec2.describe_key_pairs(KeyNames=[name])

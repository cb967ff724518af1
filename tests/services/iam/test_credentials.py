# SPDX-License-Identifier: Apache-2.0
"""SSH keys, signing and server certificates, credentials of single services: through boto3, with real keys."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ACCOUNT = "000000000000"
PEM = serialization.Encoding.PEM


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


def rsa_key(bits: int = 2048):
    return rsa.generate_private_key(65537, bits)


def ssh(key) -> str:
    form = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()


def certificate(key, days: int = 30) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chamber.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(PEM).decode()


def private(key) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, form, serialization.NoEncryption()).decode()


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def user(iam):
    name = f"cr-{uuid.uuid4().hex[:10]}"
    iam.create_user(UserName=name)
    return name


def test_ssh_keys_of_a_user(iam, user):
    key = rsa_key()
    made = iam.upload_ssh_public_key(UserName=user, SSHPublicKeyBody=ssh(key))["SSHPublicKey"]
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    blob = __import__("base64").b64decode(ssh(key).split()[1])
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    assert made["Fingerprint"].replace(":", "") == digest
    assert made["SSHPublicKeyId"].startswith("APKA") and made["Status"] == "Active"
    which = {"UserName": user, "SSHPublicKeyId": made["SSHPublicKeyId"]}
    got = iam.get_ssh_public_key(**which, Encoding="PEM")["SSHPublicKey"]
    assert got["SSHPublicKeyBody"].strip() == key.public_key().public_bytes(PEM, form).decode().strip()
    assert iam.get_ssh_public_key(**which, Encoding="SSH")["SSHPublicKey"]["SSHPublicKeyBody"] == ssh(key)
    refused("DuplicateSSHPublicKey", iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody=ssh(key) + " again")
    iam.update_ssh_public_key(**which, Status="Inactive")
    assert iam.list_ssh_public_keys(UserName=user)["SSHPublicKeys"][0]["Status"] == "Inactive"
    message = refused("DeleteConflict", iam.delete_user, UserName=user)
    assert message == "Cannot delete entity, must remove referenced objects first."
    iam.delete_ssh_public_key(**which)
    refused("NoSuchEntity", iam.delete_ssh_public_key, **which)
    iam.delete_user(UserName=user)


def test_only_rsa_keys_that_are_long_enough(iam, user):
    refused("UnrecognizedPublicKeyEncoding", iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody="no key")
    refused("InvalidPublicKey", iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody="ssh-rsa AAAA")
    short = ssh(rsa_key(1024))
    refused("InvalidPublicKey", iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody=short)
    other = ssh(ec.generate_private_key(ec.SECP256R1()))
    refused("InvalidPublicKey", iam.upload_ssh_public_key, UserName=user, SSHPublicKeyBody=other)


def test_signing_certificates_of_a_user(iam, user):
    bodies = [certificate(rsa_key()) for _ in range(3)]
    first = iam.upload_signing_certificate(UserName=user, CertificateBody=bodies[0])["Certificate"]
    assert first["CertificateBody"] == bodies[0] and len(first["CertificateId"]) == 24
    refused("DuplicateCertificate", iam.upload_signing_certificate, UserName=user, CertificateBody=bodies[0])
    iam.upload_signing_certificate(UserName=user, CertificateBody=bodies[1])
    message = refused("LimitExceeded", iam.upload_signing_certificate, UserName=user, CertificateBody=bodies[2])
    assert message == "Cannot exceed quota for CertificatesPerUser: 2"
    refused("MalformedCertificate", iam.upload_signing_certificate, UserName=user, CertificateBody="no certificate")
    old = certificate(rsa_key(), days=-1)
    refused("InvalidCertificate", iam.upload_signing_certificate, UserName=user, CertificateBody=old)
    message = refused("DeleteConflict", iam.delete_user, UserName=user)
    assert message == "Cannot delete entity, must delete signing certificates first."
    for one in iam.list_signing_certificates(UserName=user)["Certificates"]:
        which = {"UserName": user, "CertificateId": one["CertificateId"]}
        iam.update_signing_certificate(**which, Status="Inactive")
        iam.delete_signing_certificate(**which)
    refused("NoSuchEntity", iam.delete_signing_certificate, UserName=user, CertificateId=first["CertificateId"])


def test_server_certificates(iam):
    name = f"sc-{uuid.uuid4().hex[:10]}"
    key = rsa_key()
    body = certificate(key)
    ask = {"ServerCertificateName": name, "CertificateBody": body}
    refused("KeyPairMismatch", iam.upload_server_certificate, **ask, PrivateKey=private(rsa_key()))
    refused("MalformedCertificate", iam.upload_server_certificate, **ask, PrivateKey="no key")
    tags = [{"Key": "k", "Value": "v"}]
    made = iam.upload_server_certificate(**ask, PrivateKey=private(key), Path="/a/", CertificateChain=body, Tags=tags)
    told = made["ServerCertificateMetadata"]
    assert told["Arn"] == f"arn:aws:iam::{ACCOUNT}:server-certificate/a/{name}"
    assert timedelta(days=29) < told["Expiration"] - datetime.now(UTC) < timedelta(days=31)
    message = refused("EntityAlreadyExists", iam.upload_server_certificate, **ask, PrivateKey=private(key))
    assert message == f"The Server Certificate with name {name} already exists."
    got = iam.get_server_certificate(ServerCertificateName=name)["ServerCertificate"]
    assert got["CertificateBody"].strip() == body.strip() and got["Tags"] == tags
    assert "PRIVATE" not in json.dumps(got, default=str)
    iam.update_server_certificate(ServerCertificateName=name, NewServerCertificateName=f"{name}-2", NewPath="/b/")
    refused("NoSuchEntity", iam.get_server_certificate, ServerCertificateName=name)
    name = f"{name}-2"
    assert iam.list_server_certificate_tags(ServerCertificateName=name)["Tags"] == tags
    listed = iam.list_server_certificates(PathPrefix="/b/")["ServerCertificateMetadataList"]
    assert name in {one["ServerCertificateName"] for one in listed}
    iam.untag_server_certificate(ServerCertificateName=name, TagKeys=["k"])
    iam.delete_server_certificate(ServerCertificateName=name)
    message = refused("NoSuchEntity", iam.delete_server_certificate, ServerCertificateName=name)
    assert message == f"The Server Certificate with name {name} cannot be found."


def test_credentials_of_single_services(iam, user):
    ask = {"UserName": user, "ServiceName": "codecommit.amazonaws.com"}
    first = iam.create_service_specific_credential(**ask)["ServiceSpecificCredential"]
    assert first["ServiceUserName"] == f"{user}-at-{ACCOUNT}" and len(first["ServicePassword"]) >= 40
    second = iam.create_service_specific_credential(**ask)["ServiceSpecificCredential"]
    assert second["ServiceUserName"] == f"{user}+1-at-{ACCOUNT}"
    refused("LimitExceeded", iam.create_service_specific_credential, **ask)
    message = refused(
        "NoSuchEntity", iam.create_service_specific_credential, UserName=user, ServiceName="s3.amazonaws.com"
    )
    assert message == "No such service s3.amazonaws.com is supported for Service Specific Credentials"
    which = {"UserName": user, "ServiceSpecificCredentialId": first["ServiceSpecificCredentialId"]}
    again = iam.reset_service_specific_credential(**which)["ServiceSpecificCredential"]
    assert again["ServicePassword"] != first["ServicePassword"]
    iam.update_service_specific_credential(**which, Status="Inactive")
    listed = iam.list_service_specific_credentials(UserName=user)["ServiceSpecificCredentials"]
    assert sorted(one["Status"] for one in listed) == ["Active", "Inactive"]
    assert all("ServicePassword" not in one for one in listed)
    assert len(iam.list_service_specific_credentials(AllUsers=True)["ServiceSpecificCredentials"]) >= 2
    for one in listed:
        iam.delete_service_specific_credential(
            UserName=user, ServiceSpecificCredentialId=one["ServiceSpecificCredentialId"]
        )
    iam.delete_user(UserName=user)

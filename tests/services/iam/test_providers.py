# SPDX-License-Identifier: Apache-2.0
"""Identity providers of IAM through boto3."""

from __future__ import annotations

import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
CERTIFICATE = "MIIC" + "A" * 900


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def host() -> str:
    return f"{uuid.uuid4().hex[:10]}.example.com"


def metadata(issuer="https://idp.example.com", more="", head="", attributes="") -> str:
    return (
        f'<?xml version="1.0"?>{head}<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'entityID="{issuer}"{attributes}><md:IDPSSODescriptor '
        f'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{more}'
        '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{CERTIFICATE}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


def test_an_openid_connect_provider_is_made_changed_and_deleted(iam, host):
    made = iam.create_open_id_connect_provider(
        Url=f"https://{host}/path", ClientIDList=["one"], ThumbprintList=["A" * 40], Tags=[{"Key": "k", "Value": "v"}]
    )
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}/path"
    assert made["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="two")
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="two")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="one")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "l", "Value": "w"}])
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["k"])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (f"{host}/path", ["two"], ["b" * 40])
    assert found["Tags"] == [{"Key": "l", "Value": "w"}]
    assert iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"] == found["Tags"]
    assert {"Arn": arn} in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    message = refused("EntityAlreadyExists", iam.create_open_id_connect_provider, Url=f"https://{host}/path")
    assert message == f"Provider with url https://{host}/path already exists."
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    message = refused("NoSuchEntity", iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)
    assert message == f"OpenIDConnect Provider not found for arn {arn}"


@pytest.mark.parametrize(
    "url",
    ["example.org", "http://example.org", "ftp://example.org", "https://example.org/a?b=c", "https://u:p@example.org",
     "https://example.org:8443", "http://127.0.0.1:8443", "https://[", "https://example.org#x", "https://", "https://example.org:999999"],
)  # fmt: skip
def test_only_urls_of_issuers_are_taken(iam, url):
    assert "Invalid Open ID Connect Provider URL" in refused(
        "InvalidInput", iam.create_open_id_connect_provider, Url=url
    )


def test_an_issuer_on_this_machine_may_have_a_port(iam):
    made = iam.create_open_id_connect_provider(Url="https://127.0.0.1:18099/realm")
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/127.0.0.1:18099/realm"
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_openid_connect_providers_have_limits(iam, host):
    url = f"https://{host}"
    message = refused("InvalidInput", iam.create_open_id_connect_provider, Url=url, ThumbprintList=["a" * 40] * 6)
    assert message == "Thumbprint list must contain fewer than 5 entries."
    ids = [str(number) for number in range(101)]
    message = refused("LimitExceeded", iam.create_open_id_connect_provider, Url=url, ClientIDList=ids)
    assert message == "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=ids[:100])["OpenIDConnectProviderArn"]
    refused(
        "LimitExceeded", iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=arn, ClientID="new"
    )


def test_a_saml_provider_is_made_changed_and_deleted(iam, host):
    name = host.partition(".")[0]
    made = iam.create_saml_provider(
        Name=name, SAMLMetadataDocument=metadata(), Tags=[{"Key": "k", "Value": "v"}], AssertionEncryptionMode="Allowed"
    )
    arn = made["SAMLProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:saml-provider/{name}"
    found = iam.get_saml_provider(SAMLProviderArn=arn)
    assert found["SAMLMetadataDocument"] == metadata()
    assert found["ValidUntil"].year == found["CreateDate"].year + 100
    other = metadata("https://other.example.com", attributes=' validUntil="2042-01-02T03:04:05Z"')
    iam.update_saml_provider(SAMLProviderArn=arn, SAMLMetadataDocument=other)
    found = iam.get_saml_provider(SAMLProviderArn=arn)
    assert (found["SAMLMetadataDocument"], found["ValidUntil"].year) == (other, 2042)
    assert (found["Tags"], found["AssertionEncryptionMode"]) == ([{"Key": "k", "Value": "v"}], "Allowed")
    iam.tag_saml_provider(SAMLProviderArn=arn, Tags=[{"Key": "l", "Value": "w"}])
    iam.untag_saml_provider(SAMLProviderArn=arn, TagKeys=["k"])
    assert iam.list_saml_provider_tags(SAMLProviderArn=arn)["Tags"] == [{"Key": "l", "Value": "w"}]
    assert arn in [one["Arn"] for one in iam.list_saml_providers()["SAMLProviderList"]]
    refused("EntityAlreadyExists", iam.create_saml_provider, Name=name, SAMLMetadataDocument=metadata())
    iam.delete_saml_provider(SAMLProviderArn=arn)
    assert refused("NoSuchEntity", iam.delete_saml_provider, SAMLProviderArn=arn) == f"Manifest not found for arn {arn}"


def test_private_keys_of_a_saml_provider_are_told_by_their_ids_only(iam, host):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    arn = iam.create_saml_provider(
        Name=host.partition(".")[0], SAMLMetadataDocument=metadata(), AddPrivateKey=pem,
        AssertionEncryptionMode="Required",
    )["SAMLProviderArn"]  # fmt: skip
    iam.update_saml_provider(SAMLProviderArn=arn, AddPrivateKey=pem)
    refused("LimitExceeded", iam.update_saml_provider, SAMLProviderArn=arn, AddPrivateKey=pem)
    refused("InvalidInput", iam.update_saml_provider, SAMLProviderArn=arn, AddPrivateKey="no key at all")
    told = iam.get_saml_provider(SAMLProviderArn=arn)
    assert len(told["PrivateKeyList"]) == 2
    assert "PRIVATE KEY" not in str(told)
    iam.update_saml_provider(SAMLProviderArn=arn, RemovePrivateKey=told["PrivateKeyList"][0]["KeyId"])
    assert iam.get_saml_provider(SAMLProviderArn=arn)["PrivateKeyList"] == told["PrivateKeyList"][1:]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize(
    "document",
    ["x" * 1000, metadata() + "<", metadata(head=BOMB, more="&b;"), metadata(head=OUTSIDE), metadata(issuer=""),
     metadata().replace("IDPSSODescriptor", "SPSSODescriptor"), metadata(attributes=' validUntil="soon"'),
     metadata(more="<a>" * 2000 + "</a>" * 2000)],
)  # fmt: skip
def test_metadata_that_is_none_or_means_harm_is_refused(iam, host, document):
    message = refused("InvalidInput", iam.create_saml_provider, Name="bad", SAMLMetadataDocument=document)
    assert message == "Could not parse metadata"


def test_a_policy_can_name_a_provider_and_its_tags(chamber, iam, host):
    import json

    arn = iam.create_open_id_connect_provider(Url=f"https://{host}", Tags=[{"Key": "team", "Value": "a"}])[
        "OpenIDConnectProviderArn"
    ]
    user = host.partition(".")[0]
    iam.create_user(UserName=user)
    statement = {
        "Effect": "Allow", "Action": "iam:GetOpenIDConnectProvider", "Resource": arn,
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    own = chamber.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    assert own.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["Url"] == host
    refused("AccessDenied", own.delete_open_id_connect_provider, OpenIDConnectProviderArn=arn)
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "team", "Value": "b"}])
    refused("AccessDenied", own.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)

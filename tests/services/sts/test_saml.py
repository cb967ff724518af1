# SPDX-License-Identifier: Apache-2.0
"""AssumeRoleWithSAML: only an assertion that the provider signed, for AWS, now, and for this role."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import XMLSigner
from tests.services.sts.helpers import ACCOUNT, allow, refused, role, session, trust

ACTION = "sts:AssumeRoleWithSAML"
ATTRIBUTE = "https://aws.amazon.com/SAML/Attributes/"
SIGN_IN = "https://signin.aws.amazon.com/saml"


def signing_pair() -> tuple[bytes, str, str]:
    """A private key, its certificate (PEM), and what metadata has of that."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=9))
    certificate = made.sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = certificate.public_bytes(Encoding.PEM).decode()
    return private, pem, base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def when(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Provider:
    """A SAML provider of IAM, and the key behind its metadata."""

    def __init__(self, chamber) -> None:
        self.key, self.certificate, der = signing_pair()
        self.issuer = f"https://idp-{uuid.uuid4().hex[:8]}.example.com"
        metadata = (
            f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.issuer}">'
            '<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
            f"<ds:X509Certificate>{der}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" '
            f'Location="{self.issuer}/sso"/></md:IDPSSODescriptor></md:EntityDescriptor>'
        )
        self.name = f"saml-{uuid.uuid4().hex[:8]}"
        made = chamber.client("iam").create_saml_provider(SAMLMetadataDocument=metadata, Name=self.name)
        self.arn = made["SAMLProviderArn"]

    def assertion(self, arn: str, **changed) -> etree._Element:
        """An assertion for a role; `changed` replaces values by their names below."""
        has = {
            "issuer": self.issuer, "recipient": SIGN_IN, "audience": SIGN_IN, "issued": when(0), "until": when(300),
            "name": "anna", "more": "", "pair": f"{arn},{self.arn}", **changed,
        }  # fmt: skip
        named = "" if has["name"] is None else attribute("RoleSessionName", has["name"])
        return etree.fromstring(
            f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{uuid.uuid4().hex}" '
            f'Version="2.0" IssueInstant="{has["issued"]}"><saml:Issuer>{has["issuer"]}</saml:Issuer><saml:Subject>'
            '<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">anna@example.com</saml:NameID>'
            '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData '
            f'NotOnOrAfter="{has["until"]}" Recipient="{has["recipient"]}"/></saml:SubjectConfirmation></saml:Subject>'
            f'<saml:Conditions NotBefore="{when(-60)}" NotOnOrAfter="{has["until"]}"><saml:AudienceRestriction>'
            f"<saml:Audience>{has['audience']}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
            f"<saml:AttributeStatement>{attribute('Role', has['pair'])}{named}{has['more']}</saml:AttributeStatement>"
            "</saml:Assertion>"
        )

    def signed(self, element: etree._Element, key: bytes = b"") -> etree._Element:
        signer = XMLSigner(c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#")
        return signer.sign(
            element, key=key or self.key, cert=self.certificate, reference_uri=element.get("ID"), id_attribute="ID"
        )


def attribute(name: str, *values: str) -> str:
    inner = "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
    return f'<saml:Attribute Name="{ATTRIBUTE}{name}">{inner}</saml:Attribute>'


def response(*assertions: etree._Element) -> etree._Element:
    made = etree.fromstring(
        f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_{uuid.uuid4().hex}" Version="2.0">'
        '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'
        "</samlp:Response>"
    )
    made.extend(assertions)
    return made


def encoded(element: etree._Element) -> str:
    return base64.b64encode(etree.tostring(element)).decode()


@pytest.fixture(scope="module")
def provider(chamber):
    return Provider(chamber)


@pytest.fixture
def name() -> str:
    return f"saml-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sts(chamber):
    return chamber.client("sts", config=Config(signature_version=UNSIGNED))


def trusting(provider, action=ACTION, **condition) -> str:
    return trust({"Federated": provider.arn}, action, **condition)


def test_a_signed_assertion_opens_the_role_that_trusts_its_provider(chamber, provider, sts, name):
    mine = {"StringEquals": {"saml:sub": "anna@example.com", "aws:FederatedProvider": provider.arn}}
    arn = role(
        chamber, name, trusting(provider, StringEquals={"saml:aud": SIGN_IN, "saml:iss": provider.issuer}),
        allow("s3:ListAllMyBuckets", Condition=mine),
    )  # fmt: skip
    ask = {"RoleArn": arn, "PrincipalArn": provider.arn}
    for whole in (
        response(provider.signed(provider.assertion(arn))),
        provider.signed(response(provider.assertion(arn))),
    ):
        answer = sts.assume_role_with_saml(**ask, SAMLAssertion=encoded(whole))
        assert (answer["Subject"], answer["SubjectType"]) == ("anna@example.com", "persistent")
        assert (answer["Issuer"], answer["Audience"]) == (provider.issuer, SIGN_IN)
        assert len(base64.b64decode(answer["NameQualifier"])) == 20
        assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/anna"
        session(chamber, answer["Credentials"], "s3").list_buckets()
    other = role(chamber, f"{name}-2", trusting(provider, StringEquals={"saml:sub": "eve@example.com"}))
    shut = encoded(response(provider.signed(provider.assertion(other))))
    refused("AccessDenied", sts.assume_role_with_saml, RoleArn=other, PrincipalArn=provider.arn, SAMLAssertion=shut)


def test_assertions_that_prove_nothing_are_refused(chamber, provider, sts, name):
    arn = role(chamber, name, trusting(provider))

    def no(code: str, text: str, **more) -> str:
        ask = {"RoleArn": arn, "PrincipalArn": provider.arn, "SAMLAssertion": text, **more}
        return refused(code, sts.assume_role_with_saml, **ask)

    def signed(**changed) -> str:
        return encoded(response(provider.signed(provider.assertion(arn, **changed))))

    wrong = "Response signature invalid"
    assert no("InvalidIdentityToken", encoded(response(provider.assertion(arn)))) == wrong
    stranger, _, _ = signing_pair()
    assert no("InvalidIdentityToken", encoded(response(provider.signed(provider.assertion(arn), stranger)))) == wrong
    changed = response(provider.signed(provider.assertion(arn)))
    changed.find(".//{*}NameID").text = "eve@example.com"
    assert no("InvalidIdentityToken", encoded(changed)) == wrong
    # Why: the signed assertion put inside of another one, which nobody signed, with its signature moved up
    genuine = provider.signed(provider.assertion(arn))
    forged = provider.assertion(arn, name="eve")
    forged.set("ID", genuine.get("ID"))
    forged.append(genuine.find("{http://www.w3.org/2000/09/xmldsig#}Signature"))
    forged.append(genuine)
    no("InvalidIdentityToken", encoded(response(forged)))
    no("InvalidIdentityToken", encoded(response(genuine, provider.assertion(arn, name="eve"))))
    assert no("InvalidIdentityToken", signed(issuer="https://other")) == "Issuer not present in specified provider"
    assert no("ExpiredTokenException", signed(until=when(-1))) == "Response has expired"
    no("ExpiredTokenException", signed(issued=when(-400)))
    no("InvalidIdentityToken", signed(recipient="https://elsewhere.example.com"))
    no("InvalidIdentityToken", signed(audience="https://elsewhere.example.com"))
    assert no("InvalidIdentityToken", signed(name=None)) == "RoleSessionName is required in AuthnResponse"
    assert "must match" in no("InvalidIdentityToken", signed(name="an na"))
    no("AccessDenied", signed(pair=f"{arn}-other,{provider.arn}"))
    no("InvalidIdentityToken", signed(), PrincipalArn=f"{provider.arn}-other")
    no("InvalidIdentityToken", "not base64!")
    no("InvalidIdentityToken", base64.b64encode(b"<a/>").decode())
    entity = b'<!DOCTYPE a [<!ENTITY b "c">]>' + etree.tostring(response(genuine))
    no("InvalidIdentityToken", base64.b64encode(entity).decode())


def test_an_assertion_brings_tags(chamber, provider, sts, name):
    more = (
        attribute("PrincipalTag:team", "red")
        + attribute("TransitiveTagKeys", "team")
        + attribute("SourceIdentity", "an")
    )
    is_red = {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:SourceIdentity": "an"}}
    every = [ACTION, "sts:TagSession", "sts:SetSourceIdentity"]
    arn = role(chamber, name, trusting(provider, every), allow("s3:ListAllMyBuckets", Condition=is_red))
    text = encoded(response(provider.signed(provider.assertion(arn, more=more))))
    answer = sts.assume_role_with_saml(RoleArn=arn, PrincipalArn=provider.arn, SAMLAssertion=text)
    assert answer["SourceIdentity"] == "an"
    session(chamber, answer["Credentials"], "s3").list_buckets()
    plain = role(chamber, f"{name}-2", trusting(provider))
    text = encoded(response(provider.signed(provider.assertion(plain, more=more))))
    message = refused(
        "AccessDenied", sts.assume_role_with_saml, RoleArn=plain, PrincipalArn=provider.arn, SAMLAssertion=text
    )
    assert "sts:TagSession" in message

# SPDX-License-Identifier: Apache-2.0
"""SAML assertions: what a response says, once a key of the provider's metadata has been seen to have signed it.

Only what the signature covers is read, from the copy that was verified: anything else in the document could be a
stranger's. Source: IAM User Guide, "Configure SAML assertions for the authentication response", "Troubleshoot SAML
federation with IAM"; OASIS, SAML 2.0 Core; W3C, XML Signature.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from cloudchamber.services.sts.errors import ExpiredTokenException, IDPRejectedClaim, InvalidIdentityToken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Element: TypeAlias = Any
"""An element of lxml, which says nothing of its types."""
ISSUED_WITHIN = timedelta(minutes=5)
_SKEW = timedelta(minutes=5)
_PROTOCOL = "{urn:oasis:names:tc:SAML:2.0:protocol}"
_SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"
_CERTIFICATE = "{http://www.w3.org/2000/09/xmldsig#}X509Certificate"
_SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
_FORMATS = ("urn:oasis:names:tc:SAML:2.0:nameid-format:", "urn:oasis:names:tc:SAML:1.1:nameid-format:")
_ATTRIBUTE = "https://aws.amazon.com/SAML/Attributes/"
_RECIPIENTS = ("https://signin.aws.amazon.com/saml",)
_RECIPIENT_ENDS = ".signin.aws.amazon.com/saml"
_AUDIENCE = "urn:amazon:webservices"


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a provider says of somebody."""

    issuer: str
    subject: str
    subject_type: str
    recipient: str
    session_name: str
    source_identity: str
    roles: tuple[tuple[str, str], ...]
    """Role and provider that the bearer may name together."""
    tags: tuple[Mapping[str, str], ...]
    transitive: tuple[str, ...]
    ends_at: datetime | None
    """``SessionNotOnOrAfter``: no session may last longer."""


def certificates(metadata: str) -> tuple[str, ...]:
    """The certificates, in base64, with which a provider signs."""
    root = _parsed(metadata.encode())
    keys = root.iterfind(f".//{_METADATA}IDPSSODescriptor/{_METADATA}KeyDescriptor")
    return tuple(
        "".join((found.text or "").split())
        for key in keys
        if key.get("use") in (None, "signing")
        for found in key.iter(_CERTIFICATE)
    )


def issuer_of(metadata: str) -> str:
    """The provider's own name (``entityID``)."""
    return _parsed(metadata.encode()).get("entityID", "")


def read(encoded: str, metadata: str, now: datetime) -> Assertion:
    """The assertion in a response.

    Raises:
        InvalidIdentityToken: it is no response, or not signed by the provider, or not for us.
        ExpiredTokenException: it is too old. IDPRejectedClaim: its session tags are none.
    """
    try:
        text = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidIdentityToken("Invalid base64 SAMLResponse") from None
    response = _parsed(text)
    if response.tag != f"{_PROTOCOL}Response":
        raise InvalidIdentityToken("The SAML assertion is no Response.")
    assertion = _signed(response, certificates(metadata))
    if _text(assertion, "Issuer") != issuer_of(metadata):
        raise InvalidIdentityToken("Issuer not present in specified provider")
    recipient = _check_subject(assertion, now)
    _check_conditions(assertion, now)
    return _claims(assertion, recipient)


def _parsed(text: bytes) -> Element:
    """A document without a document type, so without entities.

    Raises:
        InvalidIdentityToken: it is none.
    """
    etree: Any = import_module("lxml.etree")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise InvalidIdentityToken("The SAML assertion is no XML document.") from None
    if root.getroottree().docinfo.doctype:
        raise InvalidIdentityToken("The SAML assertion has a document type.")
    return root


def _signed(response: Element, keys: Sequence[str]) -> Element:
    """The one assertion, as a key of the provider signed it, by itself or with the whole response."""
    found = response.findall(f"{_SAML}Assertion")
    if len(found) != 1:
        raise InvalidIdentityToken("A response must have one assertion, not encrypted.")
    status = response.find(f"{_PROTOCOL}Status/{_PROTOCOL}StatusCode")
    if status is not None and status.get("Value") != _SUCCESS:
        raise InvalidIdentityToken("The response says that the authentication failed.")
    for signed in (found[0], response):
        if signed.find(_SIGNATURE) is not None:
            verified = _verified(signed, keys)
            inner = verified if signed is found[0] else verified.find(f"{_SAML}Assertion")
            # Why: what was verified must be what was meant, not another element that a reference names
            if verified.tag == signed.tag and verified.get("ID") == signed.get("ID") and inner is not None:
                return inner
            break
    raise InvalidIdentityToken("Response signature invalid")


def _verified(element: Element, keys: Sequence[str]) -> Element:
    """The copy of an element that its signature covers."""
    from cryptography import x509
    from signxml.algorithms import SignatureMethod
    from signxml.exceptions import SignXMLException
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    etree: Any = import_module("lxml.etree")
    methods = frozenset(
        one
        for one in SignatureMethod
        if one.name in {f"{kind}_SHA{n}" for kind in ("RSA", "ECDSA") for n in (256, 384, 512)}
    )
    config = SignatureConfiguration(location="./", expect_references=1, signature_methods=methods)
    alone, verifier = etree.fromstring(etree.tostring(element, with_tail=False)), cast("Any", XMLVerifier())
    for key in keys:
        try:
            certificate = x509.load_der_x509_certificate(base64.b64decode(key, validate=True))
            result = verifier.verify(alone, x509_cert=certificate, id_attribute="ID", expect_config=config)
        except (SignXMLException, ValueError, TypeError, etree.LxmlError):
            continue
        if result.signed_xml is not None:
            return result.signed_xml
    raise InvalidIdentityToken("Response signature invalid")


def _check_subject(assertion: Element, now: datetime) -> str:
    """The recipient that the subject is confirmed to."""
    data = assertion.find(f"{_SAML}Subject/{_SAML}SubjectConfirmation/{_SAML}SubjectConfirmationData")
    recipient = data.get("Recipient", "") if data is not None else ""
    if recipient not in _RECIPIENTS and not (recipient.startswith("https://") and recipient.endswith(_RECIPIENT_ENDS)):
        raise InvalidIdentityToken("The recipient of the assertion is not AWS.")
    until = _moment(data.get("NotOnOrAfter") if data is not None else None)
    issued = _moment(assertion.get("IssueInstant"))
    if issued is None or until is None:
        raise InvalidIdentityToken("The assertion does not say when it was issued, or until when it is good.")
    if now >= until:
        raise ExpiredTokenException("Response has expired")
    if now - issued > ISSUED_WITHIN:
        raise ExpiredTokenException("Token must be redeemed within 5 minutes of issuance")
    if issued - now > _SKEW:
        raise InvalidIdentityToken("The assertion was issued in the future.")
    return recipient


def _check_conditions(assertion: Element, now: datetime) -> None:
    conditions = assertion.find(f"{_SAML}Conditions")
    if conditions is None:
        raise InvalidIdentityToken("The assertion has no conditions.")
    begins, until = _moment(conditions.get("NotBefore")), _moment(conditions.get("NotOnOrAfter"))
    if until is not None and now >= until:
        raise ExpiredTokenException("Response has expired")
    if begins is not None and begins - now > _SKEW:
        raise InvalidIdentityToken("The assertion is not good yet.")
    audiences = {(one.text or "").strip() for one in conditions.iter(f"{_SAML}Audience")}
    if not any(one in (_AUDIENCE, *_RECIPIENTS) or one.endswith(_RECIPIENT_ENDS) for one in audiences):
        raise InvalidIdentityToken("The audience of the assertion is not AWS.")


def _claims(assertion: Element, recipient: str) -> Assertion:
    attributes = _attributes(assertion)
    name = assertion.find(f"{_SAML}Subject/{_SAML}NameID")
    subject = (name.text or "").strip() if name is not None else ""
    if name is None or not subject:
        raise InvalidIdentityToken("The assertion names no subject.")
    kind = name.get("Format", "")
    for beginning in _FORMATS:
        kind = kind.removeprefix(beginning)
    roles: list[tuple[str, str]] = []
    for pair in attributes.get("Role", ()):
        parts = [part.strip() for part in pair.split(",")]
        if len(parts) == 2:
            role, provider = sorted(parts, key=lambda part: ":saml-provider/" in part)
            roles.append((role, provider))
    tags: list[Mapping[str, str]] = []
    for key, values in attributes.items():
        if key.startswith("PrincipalTag:"):
            if len(values) != 1 or not 0 < len(key) - 13 <= 128 or len(values[0]) > 256:
                raise IDPRejectedClaim(f"The session tag {key[13:141]} in the assertion is not a key with one value.")
            tags.append({"Key": key[13:], "Value": values[0]})
    statement = assertion.find(f"{_SAML}AuthnStatement")
    return Assertion(
        _text(assertion, "Issuer"), subject, kind or "unspecified", recipient,
        next(iter(attributes.get("RoleSessionName", ())), ""),
        next(iter(attributes.get("SourceIdentity", ())), ""),
        tuple(roles), tuple(tags), attributes.get("TransitiveTagKeys", ()),
        _moment(statement.get("SessionNotOnOrAfter")) if statement is not None else None,
    )  # fmt: skip


def _attributes(assertion: Element) -> dict[str, tuple[str, ...]]:
    """AWS's attributes, by the end of their names."""
    found: dict[str, tuple[str, ...]] = {}
    for one in assertion.iterfind(f"{_SAML}AttributeStatement/{_SAML}Attribute"):
        name = one.get("Name", "")
        if name.startswith(_ATTRIBUTE):
            values = tuple("".join(v.itertext()).strip() for v in one.iterfind(f"{_SAML}AttributeValue"))
            short = name.removeprefix(_ATTRIBUTE)
            found[short] = (*found.get(short, ()), *values)
    return found


def _text(element: Element, name: str) -> str:
    return (element.findtext(f"{_SAML}{name}") or "").strip()


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidIdentityToken(f"{text[:64]} is no time.") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)

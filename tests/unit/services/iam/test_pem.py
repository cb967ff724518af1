# SPDX-License-Identifier: Apache-2.0
"""Whatever is uploaded as a key or certificate is taken or refused in IAM's words; nothing else comes out."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.base.errors import ServiceError
from cloudchamber.services.iam import pem

CALLS = (pem.certificate, pem.chain, pem.ssh_key)


@cache
def material() -> tuple[str, bytes]:
    """A private key in PEM, and a certificate of it in DER."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chamber.test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    return key.private_bytes(*form).decode(), der


def text_of(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def test_the_material_itself_is_taken():
    private, der = material()
    pem.belongs(private, pem.certificate(text_of(der)))


@given(
    st.text(max_size=200),
    st.sampled_from(["", "ssh-rsa ", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN PUBLIC KEY-----\n"]),
)
def test_any_text(text, begin):
    for call in CALLS:
        try:
            call(begin + text)
        except ServiceError:
            pass


# A certificate whose number became 0 is taken, with a warning of what a later library will do.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, 2000), st.integers(0, 255))
def test_any_changed_octet(place, octet):
    private, der = material()
    changed = bytearray(der)
    changed[place % len(der)] = octet
    try:
        pem.belongs(private, pem.certificate(text_of(bytes(changed))))
    except ServiceError:
        pass


def test_a_private_key_in_the_wrong_place_is_not_told():
    private, _ = material()
    with pytest.raises(ServiceError) as caught:
        pem.certificate(private)
    assert "PRIVATE" not in caught.value.message

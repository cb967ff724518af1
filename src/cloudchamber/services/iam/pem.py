# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates in text: read, and held against what IAM takes. Source: IAM API Reference, UploadSSHPublicKey,
UploadSigningCertificate, UploadServerCertificate."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cloudchamber.services.iam.errors import (
    InvalidPublicKey,
    KeyPairMismatch,
    MalformedCertificate,
    UnrecognizedPublicKeyEncoding,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import Certificate

# Why: cryptography is imported inside each function; it costs a start 60 ms that few need


def ssh_key(text: str) -> RSAPublicKey:
    """An RSA public key of at least 2048 bits, in the form of OpenSSH or PEM.

    Raises:
        UnrecognizedPublicKeyEncoding: it has neither form.
        InvalidPublicKey: it is another kind of key, or too short.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    octets = text.strip().encode()
    try:
        if octets.startswith(b"-----BEGIN "):
            key = serialization.load_pem_public_key(octets)
        elif octets.startswith((b"ssh-", b"ecdsa-", b"sk-")):
            key = serialization.load_ssh_public_key(octets)
        else:
            raise UnrecognizedPublicKeyEncoding("The public key encoding is not recognized. Use SSH or PEM.")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidPublicKey("The public key is invalid.") from error
    if not isinstance(key, RSAPublicKey) or key.key_size < 2048:
        raise InvalidPublicKey("The public key must be an RSA key of at least 2048 bits.")
    return key


def ssh_text(key: RSAPublicKey, encoding: str) -> str:
    """A public key as ``SSH`` or ``PEM``."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if encoding == "SSH":
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ssh_fingerprint(key: RSAPublicKey) -> str:
    """MD5 of the key as OpenSSH writes it, with colons."""
    import base64

    octets = base64.b64decode(ssh_text(key, "SSH").split()[1])
    digest = hashlib.md5(octets, usedforsecurity=False).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, 32, 2))


def certificate(text: str) -> Certificate:
    """One X.509 certificate in PEM.

    Raises:
        MalformedCertificate: it is none.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            one.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        # Why without the text: it may be a private key that was pasted by mistake, and messages are kept on tracks
        raise MalformedCertificate(
            "Unable to parse certificate. Please ensure the certificate is in PEM format."
        ) from error
    if len(found) != 1:
        raise MalformedCertificate("There should be one certificate in the body; the others belong in the chain")
    return found[0]


def chain(text: str) -> None:
    """Certificates in PEM, one after the other.

    Raises:
        MalformedCertificate: they are none.
    """
    from cryptography import x509

    try:
        x509.load_pem_x509_certificates(text.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise MalformedCertificate("Unable to parse certificate chain") from error


def fingerprint(found: Certificate) -> str:
    """SHA-256 of a certificate, hexadecimal."""
    from cryptography.hazmat.primitives import hashes

    return found.fingerprint(hashes.SHA256()).hex()


def belongs(private_key: str, found: Certificate) -> None:
    """Hold a private key against a certificate.

    Raises:
        MalformedCertificate: it is no unencrypted private key in PEM.
        KeyPairMismatch: it is another certificate's.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(private_key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedCertificate("Unable to parse key; it must be PEM, and not encrypted") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != found.public_key().public_bytes(*form):
        raise KeyPairMismatch("Private key doesn't match certificate")

# SPDX-License-Identifier: Apache-2.0
"""Signatures of instance identity documents, by a key that only the chamber has.

Whoever trusts the chamber's certificate (`ec2/identity/certificate.pem` in the state folder) can tell which instance
speaks to it, as with AWS's certificates. All three signatures are made with one RSA-2048 key and SHA-256.
Source: Amazon EC2 User Guide, Verify instance identity documents.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

    from cloudchamber.base.clock import Clock

_DAYS = 365 * 30


class Signer:
    """Signs documents; the key is made when it is first needed, and kept 0600."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._loaded: tuple[Any, Any] | None = None

    def signature(self, document: bytes) -> str:
        """RSA PKCS #1 signature in base64."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        key, _ = self._load()
        return _lines(key.sign(document, padding.PKCS1v15(), hashes.SHA256()))

    def pkcs7(self, document: bytes) -> str:
        """PKCS #7 with the document inside, in base64 without its first and last line."""
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.serialization import pkcs7

        key, certificate = self._load()
        made = pkcs7.PKCS7SignatureBuilder().set_data(document).add_signer(certificate, key, hashes.SHA256())
        options = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCerts]
        return _lines(made.sign(serialization.Encoding.DER, options))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from cryptography import x509
            from cryptography.hazmat.primitives import serialization

            key, certificate = self._folder / "key.pem", self._folder / "certificate.pem"
            if not (key.exists() and certificate.exists()):
                self._make(key, certificate)
            self._loaded = (
                serialization.load_pem_private_key(key.read_bytes(), None),
                x509.load_pem_x509_certificate(certificate.read_bytes()),
            )
        return self._loaded

    def _make(self, key_path: Path, certificate_path: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.x509.oid import NameOID

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudchamber instance identity")])
        now = self._clock.now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=_DAYS))
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        private.write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
        # INVARIANT: the key comes last: where it is, the certificate belongs to it.
        private.write(key_path, pem)


def _lines(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(text[place : place + 64] for place in range(0, len(text), 64))

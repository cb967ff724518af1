# SPDX-License-Identifier: Apache-2.0
"""The chamber's own certificate authority: made at first start, kept 0600 in the state folder."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cloudchamber.store import private

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import GeneralName

    from cloudchamber.base.clock import Clock

_CA_DAYS = 3650
_LEAF_DAYS = 397  # what browsers accept at most
_RENEW_DAYS = 30


class Authority:
    """Issues certificates that everything inside the chamber, and the person who asks for it, trusts."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._issuing = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)
        self.certificate_path = folder / "ca.pem"
        self._key_path = folder / "ca.key"
        if not self.certificate_path.exists():
            self._make_root()

    @property
    def certificate_pem(self) -> bytes:
        """The CA's own certificate."""
        return self.certificate_path.read_bytes()

    def issue(self, names: tuple[str, ...]) -> tuple[Path, Path]:
        """Paths of a chain and its key for DNS names and IP addresses; kept, and renewed before it ends."""
        label = hashlib.sha256("\0".join(names).encode()).hexdigest()[:24]
        chain, key = self._folder / f"{label}.pem", self._folder / f"{label}.key"
        until = self._folder / f"{label}.until"
        # INVARIANT: where `until` is, chain and key belong together: it goes first and comes last, and one at a time.
        with self._issuing:
            if not (chain.exists() and key.exists() and self._fresh(until)):
                until.unlink(missing_ok=True)
                self._make_leaf(names, chain, key)
                private.write(until, (self._clock.now() + timedelta(days=_LEAF_DAYS)).isoformat().encode())
        return chain, key

    def https(self, names: tuple[str, ...]) -> ssl.SSLContext:
        """What a server of HTTP/1.1 by these names needs: TLS 1.2 or newer, with a certificate of this authority."""
        chain, key = self.issue(names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(chain, key)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _fresh(self, until: Path) -> bool:
        """Whether a certificate is good for a while; its end lies beside it: reading it would cost a start 30 ms."""
        try:
            ends = datetime.fromisoformat(until.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False
        return ends - self._clock.now() > timedelta(days=_RENEW_DAYS)

    def _make_root(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloudchamber local CA")])
        now = self._clock.now()
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=_CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        private.write(self._key_path, _private_pem(key))
        private.write(self.certificate_path, certificate.public_bytes(serialization.Encoding.PEM))

    def _make_leaf(self, names: tuple[str, ...], chain: Path, key_path: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        root = x509.load_pem_x509_certificate(self.certificate_pem)
        signer = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA's key is not an elliptic-curve key")
        key = ec.generate_private_key(ec.SECP256R1())
        now: datetime = self._clock.now().astimezone(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])]))
            .issuer_name(root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=_LEAF_DAYS))
            .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        private.write(key_path, _private_pem(key))
        private.write(chain, certificate.public_bytes(serialization.Encoding.PEM) + self.certificate_pem)


def _general_name(name: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

# SPDX-License-Identifier: Apache-2.0
"""The chamber's certificate authority: what it issues, keeps, and renews."""

from __future__ import annotations

import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from cloudchamber.front.authority import Authority


class Moment:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def test_a_certificate_is_good_for_its_names(tmp_path: Path) -> None:
    clock = Moment()
    authority = Authority(tmp_path / "ca", clock)
    chain, key = authority.issue(("*.ec2.localhost", "127.0.0.1"))
    root = x509.load_pem_x509_certificate(authority.certificate_pem)
    leaf, _ = x509.load_pem_x509_certificates(chain.read_bytes())
    verifier = (
        PolicyBuilder().store(Store([root])).time(clock.now()).build_server_verifier(x509.DNSName("i-1.ec2.localhost"))
    )
    assert verifier.verify(leaf, [])
    for path in (key, chain, tmp_path / "ca" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_kept_and_renewed_before_it_ends(tmp_path: Path) -> None:
    clock = Moment()
    first = Authority(tmp_path / "ca", clock).issue(("localhost",))[0].read_bytes()
    clock.at += timedelta(days=360)
    assert Authority(tmp_path / "ca", clock).issue(("localhost",))[0].read_bytes() == first
    clock.at += timedelta(days=10)
    assert Authority(tmp_path / "ca", clock).issue(("localhost",))[0].read_bytes() != first


def test_other_names_get_another_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", Moment())
    assert authority.issue(("a.localhost",)) != authority.issue(("b.localhost",))


def test_one_certificate_that_many_ask_for_at_once_has_its_own_key(tmp_path):
    authority = Authority(tmp_path / "ca", Moment())

    def load(_: int) -> None:
        chain, key = authority.issue(("a.example",))
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load, range(32)))

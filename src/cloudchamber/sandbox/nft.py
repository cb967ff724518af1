# SPDX-License-Identifier: Apache-2.0
"""Security groups of one sandbox as an nftables ruleset for its router, outside of its reach.

The router sees connections into the instance as its own, so the inbound rules hold by port here; who the caller is
was checked by the chamber, which is the only one that can open such a connection. Outbound holds by address and port.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.sandbox.spec import Rule

_PROTOCOLS = {"tcp", "udp"}
MARK = 0xCC
"""On datagrams that are for whoever reads all of them in the router."""


def program() -> str | None:
    """Where `nft` is, if it is."""
    return shutil.which("nft", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin")


def ruleset(rules: Sequence[Rule] | None, outbound_port: int = 0, datagram_port: int = 0) -> str:
    """The whole table for these rules; None lets everything through.

    Security groups remember connections; the metadata service and answers are always let through, as on AWS.
    TCP that is led to `outbound_port` is decided by who accepts it there, connection by connection; UDP that is led to
    `datagram_port`, by who reads it.
    """
    lines = ["table ip cloudchamber", "delete table ip cloudchamber"]
    leading = _leading(outbound_port) if outbound_port else []
    leading += _datagrams(datagram_port) if datagram_port else []
    if rules is None:
        return "\n".join([*lines, *(["table ip cloudchamber {", *leading, "}"] if leading else [])]) + "\n"
    inbound = [_accept(rule, "saddr", any_peer=True) for rule in rules if rule.direction == "in"]
    outbound = [_accept(rule, "daddr", any_peer=False) for rule in rules if rule.direction == "out"]
    lines += [
        "table ip cloudchamber {",
        *leading,
        " chain inbound { type filter hook output priority 0; policy accept;",
        '  oifname != "vpc0" accept',
        "  ct state established,related accept",
        *(f"  {line}" for line in inbound),
        "  drop",
        " }",
        " chain outbound { type filter hook input priority 0; policy accept;",
        '  iifname != "vpc0" accept',
        "  ct state established,related accept",
        "  ip daddr 169.254.169.254 tcp dport 80 accept",
        "  ip daddr 169.254.169.253 udp dport 53 accept",
        *([f"  tcp dport {outbound_port} ct status dnat accept"] if outbound_port else []),
        *([f"  meta mark {MARK} meta l4proto udp accept"] if datagram_port else []),
        *(f"  {line}" for line in outbound),
        "  drop",
        " }",
        " chain through { type filter hook forward priority 0; policy drop;",
        *(f"  {line}" for line in outbound),
        " }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _leading(port: int) -> list[str]:
    """All TCP but that for the router's own services goes to one listener."""
    return [
        " chain leading { type nat hook prerouting priority -100; policy accept;",
        f'  iifname "vpc0" ip daddr != 169.254.0.0/16 meta l4proto tcp redirect to :{port}',
        " }",
    ]


def _datagrams(port: int) -> list[str]:
    """All UDP but that for the router's own services goes to one socket, or to the one that was made for its flow."""
    return [
        " chain datagrams { type filter hook prerouting priority -150; policy accept;",
        f'  iifname "vpc0" ip daddr != 169.254.0.0/16 meta l4proto udp tproxy to :{port} meta mark set {MARK} accept',
        " }",
    ]


def _accept(rule: Rule, field: str, *, any_peer: bool) -> str:
    network = ipaddress.ip_network(rule.cidr, strict=False)
    if network.version != 4:
        return "# IPv6 rule: nothing here speaks it"
    peer = "" if any_peer else f"ip {field} {network} "
    if rule.protocol in {"-1", "all"}:
        return f"{peer}accept"
    if rule.protocol == "icmp":
        return f"{peer}ip protocol icmp accept"
    if rule.protocol not in _PROTOCOLS:
        return f"{peer}ip protocol {int(rule.protocol)} accept"
    return f"{peer}{rule.protocol} dport {int(rule.port_from)}-{int(rule.port_to)} accept"


def load(rules: Sequence[Rule] | None, outbound_port: int = 0, datagram_port: int = 0) -> None:
    """Put the rules in force in the network namespace of this process; without datagrams where the kernel cannot lead
    them.

    Raises:
        OSError: `nft` is missing or refuses.
    """
    tool = program()
    if tool is None:
        raise OSError("nft is not installed")
    said = b""
    for port in dict.fromkeys((datagram_port, 0)):
        text = ruleset(rules, outbound_port, port).encode()
        done = subprocess.run([tool, "-f", "-"], input=text, capture_output=True, check=False, env={})
        if not done.returncode:
            return
        said = said or done.stderr
    raise OSError(f"nft: {said.decode(errors='replace')[:500]}")


def lets_in(rules: Sequence[Rule] | None, port: int) -> bool:
    """Whether some inbound rule opens this TCP port, for whomever."""
    if rules is None:
        return True
    return any(
        rule.direction == "in"
        and (rule.protocol in {"-1", "all"} or (rule.protocol == "tcp" and rule.port_from <= port <= rule.port_to))
        for rule in rules
    )

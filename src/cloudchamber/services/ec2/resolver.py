# SPDX-License-Identifier: Apache-2.0
"""The name service of a VPC, at 169.254.169.253: private names of instances, and what this machine can resolve.

Source: Amazon VPC User Guide, DNS attributes for your VPC; Amazon EC2 User Guide, EC2 instance hostnames and domains.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import names, nets, tables, truststore
from cloudchamber.services.ec2.opened import Served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    import dns.message

    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Reader

ADDRESS = "169.254.169.253"
_PRIVATE = re.compile(r"ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})\.(ec2|[a-z0-9-]+\.compute)\.internal", re.ASCII)
_PUBLIC = re.compile(r"(i-[0-9a-f]{8,17})\.ec2\.localhost", re.ASCII)
_OCTETS_MAX = 4096
_UNDER_WAY_MAX = 64
_WITHIN_S = 5.0
_ASKED_MAX = 3
"""Names of one instance that this machine's resolver is asked for at a time: its threads are few."""
_THREADS = 12
_TTL_S = 60
_log = logging.getLogger(__name__)


class Resolver:
    """Answers the instances of every VPC, each with what is known in its own."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._outside = Outside()

    def serve(self, listener: socket.socket, instance_id: str) -> Served:
        """Answer on the socket of one instance."""
        return answering(listener, lambda query: self._answer(query, instance_id))

    def stop(self) -> None:
        """Ask nobody any more."""
        self._outside.stop()

    async def _answer(self, query: dns.message.Message, instance_id: str) -> dns.message.Message:
        import dns.message
        import dns.rcode
        import dns.rdatatype
        import dns.rrset

        answer = dns.message.make_response(query, recursion_available=True)
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None or len(query.question) != 1 or not self._on(row):
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        asked = query.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        if asked.rdtype == dns.rdatatype.PTR:
            found = self._doors.database.read(lambda db: _reverse(db, row, name))
            if found:
                answer.answer.append(dns.rrset.from_text(asked.name, _TTL_S, "IN", "PTR", f"{found}."))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            return answer
        known = self._doors.database.read(lambda db: _own(db, row, name))
        addresses = await self._outside.ask(name, instance_id) if known is None else known
        if addresses is None:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif not addresses:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
            answer.answer.append(dns.rrset.from_text(asked.name, _TTL_S, "IN", "A", *addresses))
        return answer

    def _on(self, row: tables.Instance) -> bool:
        vpc = self._doors.database.read(lambda db: nets.find(db, nets.Vpc, row.vpc_id))
        return vpc is not None and bool(vpc.dns_support)


def _own(db: Reader, row: tables.Instance, name: str) -> list[str] | None:
    """Addresses of a name that is ours to answer; None for all others."""
    private = _PRIVATE.fullmatch(name)
    if private is not None:
        address = ".".join(private.groups()[:4])
        vpc = nets.find(db, nets.Vpc, row.vpc_id)
        inside = vpc is not None and names.covers(vpc.cidr, address)
        return [address] if inside and names.private_dns(address, row.region) == name else []
    public = _PUBLIC.fullmatch(name)
    if public is not None:
        other = tables.instance(db, public.group(1))
        # Why: within its VPC a public name leads to the private address, as on AWS.
        return [other.private_ip] if other is not None and other.vpc_id == row.vpc_id else []
    if name == truststore.NAME:
        return [truststore.ADDRESS]
    if name == "localhost" or name.endswith(".localhost"):
        return ["127.0.0.1"]
    return [] if name.endswith((".internal", ".local")) or "." not in name else None


def _reverse(db: Reader, row: tables.Instance, name: str) -> str:
    octets = name.removesuffix(".in-addr.arpa").split(".")
    try:
        address = str(ipaddress.IPv4Address(".".join(reversed(octets))))
    except ValueError:
        return ""
    vpc = nets.find(db, nets.Vpc, row.vpc_id)
    return names.private_dns(address, row.region) if vpc is not None and names.covers(vpc.cidr, address) else ""


class Outside:
    """What this machine's own resolver says, of addresses of the internet only.

    It has threads of its own, and no instance gets all of them: a name whose servers do not answer holds one for long.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._asked: dict[str, int] = {}

    async def ask(self, name: str, instance_id: str) -> list[str] | None:
        """Addresses of a name; None while that cannot be said."""
        if self._asked.get(instance_id, 0) >= _ASKED_MAX:
            return None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, "names")
        self._asked[instance_id] = self._asked.get(instance_id, 0) + 1
        asking = asyncio.get_running_loop().run_in_executor(self._threads, _looked_up, name)
        asking.add_done_callback(lambda _: self._done(instance_id))
        try:
            async with asyncio.timeout(_WITHIN_S):
                # Why shield: the thread goes on, and counts until it ends.
                return await asyncio.shield(asking)
        except TimeoutError:
            return None

    def _done(self, instance_id: str) -> None:
        self._asked[instance_id] -= 1
        if not self._asked[instance_id]:
            del self._asked[instance_id]

    def stop(self) -> None:
        """Ask nobody any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _looked_up(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    addresses = dict.fromkeys(str(one[4][0]) for one in found)
    return [one for one in addresses if ipaddress.IPv4Address(one).is_global]


def answering(
    listener: socket.socket, answer: Callable[[dns.message.Message], Awaitable[dns.message.Message]]
) -> Served:
    """Answer the queries that come to one socket."""

    async def answered(data: bytes, peer: tuple[str, int]) -> None:
        import dns.exception
        import dns.message

        # What is no query, or comes from whom nobody can answer, is left.
        with contextlib.suppress(dns.exception.DNSException, OSError, ValueError):
            said = await answer(dns.message.from_wire(data))
            listener.sendto(said.to_wire(max_size=_OCTETS_MAX), peer)

    def take(listener: socket.socket, full: bool) -> Coroutine[Any, Any, None] | None:
        data, peer = listener.recvfrom(_OCTETS_MAX)
        return None if full else answered(data, peer)  # the client asks again

    return Served(listener, _UNDER_WAY_MAX, take)

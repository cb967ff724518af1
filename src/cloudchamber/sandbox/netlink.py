# SPDX-License-Identifier: Apache-2.0
"""A sandbox's network, without the `ip` tool: a veth pair, addresses, routes.

Sources: rtnetlink(7), netdevice(7). The functions that build messages are pure; `send` and `loopback` are not.
"""

from __future__ import annotations

import os
import socket
import struct

_NEWLINK, _NEWADDR, _NEWROUTE, _NEWRULE = 16, 20, 24, 32
_REQUEST_ACK, _CREATE, _EXCLUSIVE = 5, 0x400, 0x200
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 3, 18, 19
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_FLAGS, _NO_PREFIX_ROUTE = 8, 0x200
_UP = 1
_FRA_FWMARK = 10
_MARKED_TABLE = 100
_TRANSPARENT, _RECEIVE_DESTINATION = 19, 20
"""`IP_TRANSPARENT`, `IP_RECVORIGDSTADDR` of linux/in.h."""

Message = tuple[int, int, bytes]
"""Type, flags, body."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four octets."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags)


def veth_pair(name: str, peer: str, peer_pid: int) -> Message:
    """Two ends of a cable: `name` here, `peer` in the network namespace of a process."""
    other = _link() + attribute(_IFLA_IFNAME, peer.encode() + b"\0")
    other += attribute(_IFLA_NET_NS_PID, struct.pack("=I", peer_pid))
    info = attribute(_INFO_KIND, b"veth\0") + attribute(_INFO_DATA, attribute(_VETH_PEER, other))
    body = _link() + attribute(_IFLA_IFNAME, name.encode() + b"\0") + attribute(_IFLA_LINKINFO, info)
    return _NEWLINK, _CREATE | _EXCLUSIVE, body


def add_address(index: int, address: str, prefix: int, *, no_route: bool = False) -> Message:
    """An address of an interface; `no_route`: its network is not taken to be on this cable."""
    packed = socket.inet_aton(address)
    head = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index)
    flags = attribute(_IFA_FLAGS, struct.pack("=I", _NO_PREFIX_ROUTE)) if no_route else b""
    return _NEWADDR, _CREATE | _EXCLUSIVE, head + attribute(1, packed) + attribute(2, packed) + flags


def set_up(index: int) -> Message:
    """Switch an interface on."""
    return _NEWLINK, 0, _link(index, _UP)


def route(network: str, prefix: int, gateway: str) -> Message:
    """What is for that network goes to the gateway."""
    main, static, universe, unicast = 254, 3, 0, 1
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, prefix, 0, 0, main, static, universe, unicast, 0)
    destination = attribute(1, socket.inet_aton(network)) if prefix else b""
    return _NEWROUTE, _CREATE, head + destination + attribute(5, socket.inet_aton(gateway))


def neighbour(address: str, index: int) -> Message:
    """An address that is on the cable of an interface."""
    main, static, link, unicast = 254, 3, 253, 1
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, main, static, link, unicast, 0)
    return _NEWROUTE, _CREATE, head + attribute(1, socket.inet_aton(address)) + attribute(4, struct.pack("=I", index))


def marked_rule(mark: int) -> Message:
    """Packets with this mark are looked up in a table of their own."""
    to_table = 1
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _MARKED_TABLE, 0, 0, to_table, 0)
    return _NEWRULE, _CREATE | _EXCLUSIVE, head + attribute(_FRA_FWMARK, struct.pack("=I", mark))


def marked_route(index: int) -> Message:
    """Whatever is looked up in that table is for here; `index` is the loopback's."""
    static, host, local = 3, 254, 2
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _MARKED_TABLE, static, host, local, 0)
    return _NEWROUTE, _CREATE, head + attribute(4, struct.pack("=I", index))


def frame(message: Message, sequence: int = 1) -> bytes:
    """A message as it goes over the socket."""
    kind, flags, body = message
    return struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST_ACK, sequence, 0) + body


def send(*messages: Message) -> None:
    """Have the kernel do these, in the network namespace of this process.

    Raises:
        OSError: what the kernel says.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.bind((0, 0))
        for message in messages:
            link.send(frame(message))
            error = struct.unpack_from("=i", link.recv(65536), 16)[0]
            if error:
                raise OSError(-error, f"netlink {message[0]}: {os.strerror(-error)}")


def interface_up(name: str, address: str, prefix: int) -> None:
    """Give an interface its address and switch it on."""
    index = socket.if_nametoindex(name)
    send(add_address(index, address, prefix), set_up(index))


def interface_behind(name: str, address: str, prefix: int, gateway: str) -> None:
    """Give an interface its address and switch it on; everything else is behind the gateway, its own subnet too."""
    index = socket.if_nametoindex(name)
    send(add_address(index, address, prefix, no_route=True), set_up(index))
    send(neighbour(gateway, index), route("0.0.0.0", 0, gateway))


def loopback_up() -> None:
    """Switch the loopback on: 127.0.0.0/8 is local then."""
    send(set_up(socket.if_nametoindex("lo")))


def loopback_address(address: str) -> None:
    """One more local address, unless it is one already."""
    if address.startswith("127."):
        return
    try:
        send(add_address(socket.if_nametoindex("lo"), address, 32))
    except FileExistsError:
        return


def keep_marked(mark: int) -> None:
    """Packets with this mark are for sockets here, whatever their destination.

    Raises:
        OSError: the kernel has no rules for routing.
    """
    send(marked_rule(mark), marked_route(socket.if_nametoindex("lo")))


def datagrams_as(source: tuple[str, int], to: tuple[str, int]) -> socket.socket:
    """A UDP socket with another's address, which need not be one of here, connected to `to`.

    Raises:
        OSError: also for who may not have that.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_IP, _TRANSPARENT, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(source)
        made.connect(to)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def open_listener(address: str, port: int, kind: str) -> socket.socket:
    """A listening socket in the network namespace of this process; its address is made local first."""
    udp = kind in ("udp", "datagrams")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == "datagrams":
            made.setsockopt(socket.SOL_IP, _TRANSPARENT, 1)
            made.setsockopt(socket.SOL_IP, _RECEIVE_DESTINATION, 1)
        made.bind((address, port))
        if not udp:
            made.listen(512)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made

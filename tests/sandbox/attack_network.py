# SPDX-License-Identifier: Apache-2.0
"""What the root of an instance tries over the network: prints {attempt: "OPEN" or why not}. Not a test itself.

A victim says VICTIM to whoever reaches it, by TCP at once, by UDP as its answer.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import socket
import struct
import sys

TARGETS = json.loads(sys.argv[1])
FREEBIND, TRANSPARENT = 15, 19
WAIT_S = 1.5


def talk(address, port, source="", option=0):
    """Only what answers was reached: the router accepts all TCP, and resets what leads nowhere."""
    with socket.socket() as made:
        made.settimeout(WAIT_S)
        if source:
            made.setsockopt(socket.IPPROTO_IP, option, 1)
            made.bind((source, 0))
        made.connect((address, port))
        made.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert made.recv(100), "ended at once"


def tell(address, port, option=None, source=""):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(WAIT_S)
        if option:
            made.setsockopt(*option)
        if source:
            made.bind((source, 0))
        made.sendto(b"hello", (address, port))
        assert b"VICTIM" in made.recv(100)


def first_of(ways):
    """OPEN, and which, if one of them is; otherwise why not, of the first."""
    reasons = []
    for number, way in enumerate(ways):
        try:
            way()
        except Exception as error:  # noqa: BLE001 - every way to fail counts
            reasons.append(error)
        else:
            raise SystemExit(f"OPEN {number}")
    raise reasons[0]


def out_of_flows():
    """Many more flows than it may have, to where it may send: afterwards another instance must still be served."""
    made = []
    for number in range(600):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.sendto(b"x" * 1000, (TARGETS["friend"], 9000 + number))
        made.append(one)
    for one in made:
        one.close()
    metadata_answers()


def metadata_answers():
    """Whoever serves this instance still does."""
    with socket.socket() as made:
        made.settimeout(30)
        made.connect(("169.254.169.254", 80))
        made.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert not made.recv(1000), "it still answers"


def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as made:
        made.settimeout(WAIT_S)
        made.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FF, 0, 0), (TARGETS["lan"], 0))
        assert made.recv(100)


def raw(family, kind, protocol):
    socket.socket(family, kind, protocol).close()


def netlink(kind, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as made:
        made.send(struct.pack("=IHHII", 16 + len(body), kind, 0x405, 1, 0) + body)
        error = -struct.unpack_from("=i", made.recv(4096), 16)[0]
        if error:
            raise OSError(error, os.strerror(error))


def new_address():
    netlink(20, struct.pack("=BBBBI", 2, 32, 0, 0, 1) + struct.pack("=HH4s", 8, 2, socket.inet_aton("10.9.8.7")))


def new_route():
    head = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)
    netlink(24, head + struct.pack("=HH4s", 8, 5, socket.inet_aton(TARGETS["other"])))


def question(name, kind=1):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


def asked(data, server="169.254.169.253"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(10)
        made.sendto(data, (server, 53))
        return made.recv(65536)


def name_of_the_host():
    """A name of this machine or its network: its address would come back."""
    answers = [asked(question(name)) for name in TARGETS["names"]]
    found = [name for name, answer in zip(TARGETS["names"], answers, strict=True) if answer[6:8] != b"\0\0"]
    assert found, "no addresses"
    raise SystemExit(f"OPEN {found}")


def resolver_gone():
    """Garbage, questions without an end and very many of them: afterwards it must still answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("169.254.169.253", 53))
        for number in range(3000):
            data = os.urandom(number % 600) if number % 2 else question("a" * 60 + ".b" * (number % 80) + ".internal")
            made.send(data if number % 100 else b"\0" * 9000)
        loop = struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\x01\0\x01"
        made.send(loop)
    for _ in range(4):  # a full buffer loses questions, as names are asked for
        try:
            assert asked(question("localhost"))
        except (OSError, AssertionError):
            continue
        raise AssertionError("it still answers")


def amplified():
    """An answer much larger than the question."""
    answer = asked(question(".".join(["x" * 60] * 3 + ["internal"]), 255))
    assert len(answer) > 4000, f"{len(answer)} octets"


def metadata(source=""):
    """Credentials without a token."""
    with socket.socket() as made:
        made.settimeout(WAIT_S)
        if source:
            made.setsockopt(socket.IPPROTO_IP, FREEBIND, 1)
            made.bind((source, 0))
        made.connect(("169.254.169.254", 80))
        made.sendall(b"GET /latest/meta-data/instance-id HTTP/1.0\r\nX-Forwarded-For: 172.31.0.9\r\n\r\n")
        answer = made.recv(1000)
        assert b" 200 " in answer.split(b"\r\n")[0], answer[:60]


def through_the_endpoint(host, path="/"):
    address, _, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    with socket.create_connection((address, int(port)), timeout=5) as made:
        made.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = made.recv(4000)
        assert b" 200 " in answer.split(b"\r\n")[0], answer[:60]


def unshared_network():
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")


T, LAN, OTHER = TARGETS["tcp"], TARGETS["lan"], TARGETS["other"]
GATEWAY = TARGETS["gateway"]
PRIVATE = ("10.0.0.1", "172.17.0.1", "192.168.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "127.0.0.2",
           "127.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", GATEWAY)  # fmt: skip
SHARED = (socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
ATTEMPTS = {
    "a service on the host's loopback": lambda: talk("127.0.0.1", T),
    "a service on the host's own address": lambda: talk(LAN, T),
    "a service on the host's gateway": lambda: talk(TARGETS["host_gateway"], T),
    "the host by private, reserved and loopback addresses": lambda: first_of([lambda a=a: talk(a, T) for a in PRIVATE]),
    "another user's service beside the endpoint": lambda: talk(GATEWAY, TARGETS["endpoint"]),
    "the router's own port for connections": lambda: first_of(
        [lambda a=a: talk(a, 15001) for a in (GATEWAY, "169.254.169.254", "169.254.169.253", LAN, OTHER)]
    ),
    "a port of another instance that its group shuts": lambda: talk(OTHER, 8000),
    "the same with a source address of a friend of it": lambda: talk(OTHER, 8000, TARGETS["friend"], FREEBIND),
    "the same with IP_TRANSPARENT": lambda: talk(OTHER, 8000, TARGETS["friend"], TRANSPARENT),
    "another instance's metadata": lambda: talk(OTHER, 80),
    "the metadata service as another instance": lambda: metadata(TARGETS["friend"]),
    "the metadata service without a token": metadata,
    "UDP to the host's own address": lambda: tell(LAN, TARGETS["udp"]),
    "UDP to private and reserved addresses": lambda: first_of([lambda a=a: tell(a, TARGETS["udp"]) for a in PRIVATE]),
    "UDP broadcast": lambda: tell("255.255.255.255", TARGETS["udp"], SHARED),
    "UDP multicast": lambda: tell("224.0.0.251", TARGETS["udp"], (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)),
    "UDP to another instance": lambda: tell(OTHER, 8000),
    "the same with a friend's source address": lambda: first_of(
        [lambda o=o: tell(OTHER, 8000, (socket.IPPROTO_IP, o, 1), TARGETS["friend"]) for o in (FREEBIND, TRANSPARENT)]
    ),
    "the router's own port for datagrams": lambda: first_of(
        [lambda a=a: tell(a, 15002) for a in (GATEWAY, "169.254.169.254", "169.254.169.253", LAN, OTHER)]
    ),
    "end whoever carries datagrams": out_of_flows,
    "ping the host": ping,
    "a raw socket": lambda: raw(socket.AF_INET, socket.SOCK_RAW, 1),
    "a packet socket": lambda: raw(socket.AF_PACKET, socket.SOCK_RAW, 3),
    "an address of its own": new_address,
    "a route of its own": new_route,
    "a network of its own": unshared_network,
    "names that lead to this machine or its network": name_of_the_host,
    "the name service by TCP": lambda: talk("169.254.169.253", 53),
    "the name service of the gateway": lambda: asked(question("localhost"), GATEWAY),
    "end the name service": resolver_gone,
    "a large answer for a small question": amplified,
    "the console through its endpoint": lambda: first_of(
        [
            lambda h=h, p=p: through_the_endpoint(h, p)
            for h in TARGETS["consoles"]
            for p in ("/", "/console", "/api/tracks")
        ]
    ),
    "another instance's website through its endpoint": lambda: through_the_endpoint(TARGETS["website"]),
}

if __name__ == "__main__":
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            found[name] = "OPEN"
        except BaseException as error:  # noqa: BLE001 - every way to fail counts
            found[name] = str(error) if str(error).startswith("OPEN") else f"{type(error).__name__}: {error}"
    print("RESULT " + json.dumps(found), flush=True)

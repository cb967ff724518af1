# SPDX-License-Identifier: Apache-2.0
"""What chamber, spawner, shim and PID 1 say to each other: one JSON object per packet, perhaps with descriptors."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 128 * 1024
MOST_DESCRIPTORS = 64
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends that keep the borders of messages."""
    return socket.socketpair(socket.AF_UNIX, _kind())


def _kind() -> socket.SocketKind:
    # Why: macOS has no SEQPACKET for unix sockets; DGRAM pairs keep borders there too.
    return getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM) if os.uname().sysname == "Linux" else socket.SOCK_DGRAM


def send(to: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone, or the message is too long.
    """
    socket.send_fds(to, [json.dumps(message, separators=(",", ":")).encode()], list(descriptors))


def receive(source: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors (closed on exec); None when the other side is gone.

    Raises:
        BlockingIOError: nothing there yet, and the socket does not wait.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(source, LARGEST, MOST_DESCRIPTORS, _CLOSE_ON_EXEC)
    except ConnectionError:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if not data:
        return None
    try:
        message: Any = json.loads(data)
    except ValueError:
        message = None
    if isinstance(message, dict):
        return cast("dict[str, Any]", message), list(descriptors)
    # Why: PID 1 lives among untrusted processes; nonsense from it counts as silence.
    for descriptor in descriptors:
        os.close(descriptor)
    return {}, []

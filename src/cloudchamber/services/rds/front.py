# SPDX-License-Identifier: Apache-2.0
"""The endpoint of one DB instance: TLS, who may come in, and then bytes to and from PostgreSQL.

Password users prove themselves to PostgreSQL (SCRAM passes through); members of ``rds_iam`` to us, with a token.

Source: Amazon RDS User Guide, "IAM database authentication", "Requiring an SSL/TLS connection".
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cloudchamber.services.rds import messages
from cloudchamber.services.rds.control import ADMIN, dial
from cloudchamber.services.rds.link import Link
from cloudchamber.services.rds.observe import Observer, Session
from cloudchamber.services.rds.splice import Splice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudchamber.base.clock import Clock
    from cloudchamber.track.recorder import Recorder

_log = logging.getLogger(__name__)
_BEGIN_WITHIN_S = 60.0
_BEGINNING_MAX = 200
_UPSTREAM_MESSAGE_MAX = 1 << 16
_AGREE_TURNS = 30
_AUTHENTICATION_OK = b"\0\0\0\0"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a DB instance is reached: the same inside instances and outside."""

    resource_id: str
    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a connection comes from: an EC2 instance, or this machine (no instance id)."""

    peer_ip: str
    instance_id: str = ""


class Refused(Exception):  # noqa: N818 - an outcome
    """A connection is ended with an error: what the client sees, and the real reason for the owner."""

    def __init__(self, code: str, seen: str, reason: str = "", *, recorded: bool = False) -> None:
        super().__init__(reason or seen)
        self.recorded = recorded
        self.code = code
        self.seen = seen
        self.reason = reason or seen


class Gate(Protocol):
    """What an endpoint asks its DB instance."""

    def may_connect(self, caller: Caller) -> tuple[bool, str]:
        """What the security groups say, and why."""
        ...

    async def uses_iam(self, user: str) -> bool:
        """Whether a database user is a member of ``rds_iam``.

        Raises:
            Refused: nobody may come in as this user.
        """
        ...

    def authenticate(self, start: messages.Start, password: str, caller: Caller) -> Session:
        """Check a token and the permission.

        Raises:
            Refused: with what the client may see.
        """
        ...

    async def agree(self, user: str, iam: bool) -> None:
        """Make PostgreSQL treat a user as we do: let in what we verified, ask for a password otherwise.

        Raises:
            Refused: that cannot be done for such a name.
        """
        ...

    def plain(self, start: messages.Start) -> Session:
        """The session of a password user."""
        ...

    def refused(self, user: str, caller: Caller, reason: str, *, recorded: bool = False) -> None:
        """Tell the owner about a refused connection; `recorded`: its track has the decision already."""
        ...

    @property
    def needs_tls(self) -> bool:
        """``rds.force_ssl``."""
        ...


class Front:
    """Everything that listens for one DB instance."""

    def __init__(
        self,
        endpoint: Endpoint,
        certificate: tuple[Path, Path],
        upstream: Path,
        gate: Gate,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self.endpoint = endpoint
        self._context = _context(certificate)
        self._upstream = upstream
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._splices: set[Splice] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._doors: list[Callable[[], None]] = []
        self._ours: set[tuple[str, int]] = set()

    @property
    def connections(self) -> int:
        """Sessions that are open."""
        return len(self._splices)

    def listen(self) -> None:
        """Open the endpoint on this machine.

        Raises:
            OSError: the address or the port cannot be had.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.endpoint.address, self.endpoint.port))
            listener.listen(256)
        except OSError:
            listener.close()
            raise
        self.serve(listener, None)

    def serve(self, listener: socket.socket, caller: Caller | None) -> Callable[[], None]:
        """Accept connections of `listener`, all of them from `caller` if given; returns what closes it."""
        listener.setblocking(False)
        file = listener.fileno()
        self._loop.add_reader(file, self._accept, listener, caller)

        def close() -> None:
            if close in self._doors:
                self._doors.remove(close)
                self._loop.remove_reader(file)
                listener.close()

        self._doors.append(close)
        return close

    def close(self) -> None:
        """Close listeners and connections; the server behind is left alone."""
        for door in list(self._doors):
            door()
        for task in list(self._beginning):
            task.cancel()
        self.drop()

    def drop(self) -> None:
        """Close the connections only."""
        for splice in list(self._splices):
            splice.close()

    async def answers(self) -> bool:
        """Whether a client that connects to the endpoint is answered."""
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        probe.setblocking(False)
        link = Link(probe)
        try:
            probe.bind(("127.0.0.1", 0))
            self._ours.add(probe.getsockname())
            async with asyncio.timeout(10):
                await self._loop.sock_connect(probe, (self.endpoint.address, self.endpoint.port))
                await link.write(b"\0\0\0\x08" + messages.SSL_REQUEST.to_bytes(4, "big"))
                return await link.read(1) == b"S"
        except (OSError, EOFError, TimeoutError):
            return False
        finally:
            link.close()

    def _accept(self, listener: socket.socket, caller: Caller | None) -> None:
        for _ in range(16):
            try:
                client, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("%s: cannot accept: %s", self.endpoint.name, error)
                return
            link = Link(client)
            if len(self._beginning) >= _BEGINNING_MAX:
                link.reset()
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Why: without a TCP keepalive the session of a client that vanished holds its server process for ever.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            who = caller or Caller(str(peer[0]))
            own = peer[:2] in self._ours
            self._ours.discard(peer[:2])
            task = self._loop.create_task(self._begin(link, who, own))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, link: Link, caller: Caller, own: bool) -> None:
        """From accept to splice, or to the reason why not."""
        upstream: Link | None = None
        try:
            if not own:
                allowed, why = self._gate.may_connect(caller)
                if not allowed:
                    # Why: about an instance's attempt EC2, whose decision it is, has put a step on a track.
                    self._gate.refused("", caller, why, recorded=bool(caller.instance_id))
                    link.reset()
                    return
            async with asyncio.timeout(_BEGIN_WITHIN_S):
                start = await self._opening(link)
                if start is None:
                    return
                upstream, session = await self._admit(link, start, caller)
            observer = Observer(session, self._recorder, self._clock)
            self._splices.add(Splice(self._loop, link.end, upstream.end, observer, self._splices.discard))
            return
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass
        except messages.Malformed as error:
            await _say(link, messages.fatal("08P01", str(error)))
        except Exception:  # noqa: BLE001 - the edge: one connection must not end the endpoint
            _log.exception("%s: a connection failed", self.endpoint.name)
        link.close()
        if upstream is not None:
            upstream.close()

    async def _opening(self, link: Link) -> messages.Start | None:
        """TLS and the start packet; None when nothing more is to be done."""
        if await link.first() == 0x16:
            secured = await link.start_tls(self._context)
            if secured.selected_alpn_protocol() != "postgresql":
                raise EOFError
        for _ in range(4):
            size = int.from_bytes(await link.read(4), "big") - 4
            if not 4 <= size <= messages.START_OCTETS_MAX:
                raise messages.Malformed("invalid length of startup packet")
            body = await link.read(size)
            code = int.from_bytes(body[:4], "big")
            if code == messages.SSL_REQUEST and not link.secure:
                await link.write(b"S")
                await link.start_tls(self._context)
            elif code in (messages.GSS_REQUEST, messages.SSL_REQUEST):
                await link.write(b"N")
            elif code == messages.CANCEL_REQUEST:
                await self._cancel(link, (size + 4).to_bytes(4, "big") + body)
                return None
            else:
                return messages.read_start(body)
        raise messages.Malformed("too many encryption requests")

    async def _cancel(self, link: Link, packet: bytes) -> None:
        upstream = Link(dial(self._upstream))
        try:
            await upstream.write(packet)
            await upstream.read(1)
        except (OSError, EOFError):
            pass
        finally:
            upstream.close()
        if isinstance(link.end, ssl.SSLSocket):
            try:
                link.end.unwrap()  # libpq waits for an orderly end of TLS
            except OSError:
                pass
        link.close()

    async def _admit(self, link: Link, start: messages.Start, caller: Caller) -> tuple[Link, Session]:
        """Authenticate; the connection to PostgreSQL, where the session has begun.

        Raises:
            EOFError: it was refused, and the client was told.
        """
        try:
            if self._gate.needs_tls and not link.secure:
                raise Refused(
                    "28000",
                    f'no pg_hba.conf entry for host "{caller.peer_ip}", user "{start.user}", '
                    f'database "{start.database}", no encryption',
                )
            if start.user == ADMIN:
                raise Refused("28000", f'role "{ADMIN}" is reserved')
            iam = await self._gate.uses_iam(start.user)
            session = await self._token(link, start, caller) if iam else self._gate.plain(start)
            upstream = await self._greeted(link, start, iam)
        except Refused as refused:
            self._gate.refused(start.user, caller, refused.reason, recorded=refused.recorded)
            await _say(link, messages.fatal(refused.code, refused.seen))
            raise EOFError from refused
        except (ConnectionRefusedError, FileNotFoundError) as error:
            await _say(link, messages.fatal("57P03", "the database system is starting up"))
            raise EOFError from error
        return upstream, session

    async def _token(self, link: Link, start: messages.Start, caller: Caller) -> Session:
        seen = f'PAM authentication failed for user "{start.user}"'
        if not link.secure:
            raise Refused("28000", seen, "IAM authentication needs TLS")
        await link.write(messages.ASK_CLEARTEXT)
        kind, body = await link.message(messages.PASSWORD_OCTETS_MAX)
        if kind != b"p":
            raise messages.Malformed(f"expected password response, got message type {kind[0]}")
        return self._gate.authenticate(start, body.rstrip(b"\0").decode(errors="replace"), caller)

    async def _greeted(self, link: Link, start: messages.Start, iam: bool) -> Link:
        """A connection to PostgreSQL whose first answer is the one that this way of authentication must give.

        Why it may not be at once: PostgreSQL sees members of ``rds_iam`` more widely than RDS does (ADMIN OPTION
        counts), and a user may join or leave between our look and its. Nobody is ever let in without a proof.

        Raises:
            Refused: PostgreSQL does not come to agree. OSError: it does not answer.
        """
        for turn in range(_AGREE_TURNS):
            upstream = Link(dial(self._upstream))
            try:
                await upstream.write(start.raw)
                first: list[bytes] = []
                while True:
                    kind, body = await upstream.message(_UPSTREAM_MESSAGE_MAX)
                    first.append(kind + (len(body) + 4).to_bytes(4, "big") + body)
                    if kind in (b"R", b"E"):
                        break
                if kind == b"E" or (body[:4] == _AUTHENTICATION_OK) == iam:
                    await link.write(b"".join(first))
                    return upstream
            except BaseException:
                upstream.close()
                raise
            upstream.close()
            if turn == 0:
                await self._gate.agree(start.user, iam)
            await asyncio.sleep(0.005 * turn)
        seen = f'authentication failed for user "{start.user}"'
        raise Refused("28000", seen, "PostgreSQL and RDS see the membership of rds_iam differently")


async def _say(link: Link, message: bytes) -> None:
    """Tell the client, if it still listens."""
    try:
        async with asyncio.timeout(5):
            await link.write(message)
    except (OSError, TimeoutError):
        pass


def _context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["postgresql"])
    return context


def loopback_addresses() -> bool:
    """Whether every address of 127.0.0.0/8 is there (Linux); elsewhere only 127.0.0.1 is."""
    return sys.platform == "linux"

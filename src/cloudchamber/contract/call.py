# SPDX-License-Identifier: Apache-2.0
"""One authenticated call on its way through a service, and the doors that it may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cloudchamber.store.blobs import Blobs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from cloudchamber.base.clock import Clock
    from cloudchamber.contract.identity import Identities, Principal
    from cloudchamber.contract.service import Service
    from cloudchamber.sandbox.sandboxes import Sandboxes
    from cloudchamber.store.database import Database
    from cloudchamber.store.outbox import Outbox
    from cloudchamber.track.recorder import Recorder
    from cloudchamber.track.track import Segment, Trace
    from cloudchamber.wire.http import Headers

P = TypeVar("P")


class Authority(Protocol):
    """The chamber's certificate authority."""

    @property
    def certificate_pem(self) -> bytes:
        """The CA's own certificate, for trust stores."""
        ...

    def issue(self, names: tuple[str, ...]) -> tuple[Path, Path]:
        """Paths of a certificate chain and its key (PEM, ECDSA P-256) for DNS names and IP addresses."""
        ...

    def https(self, names: tuple[str, ...]) -> ssl.SSLContext:
        """What a server of HTTP/1.1 by these names needs."""
        ...


class Ask(Protocol):
    """Call an operation of any service: authorized and tracked like every call, without HTTP."""

    async def __call__(
        self,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        principal: Principal,
        trace: Trace | None = None,
        region: str = "",
        within: Call | None = None,
    ) -> Any:
        """The operation's response.

        `within` is the call of which this one is a part, as one deletion of DeleteObjects is: what conditions see of
        its HTTP request (address, TLS, headers) they see here too.

        Raises:
            ServiceError: what the operation answers, `AccessDenied` included.
        """
        ...


@dataclass(frozen=True, slots=True)
class Doors:
    """What the composition root hands to every service. Frozen; the chamber makes one."""

    account: str
    region: str
    endpoint: str
    """URL of the one endpoint, ``http://127.0.0.1:4566``: the same inside instances and functions."""
    folder: Path
    """The state folder (0700). A service keeps files only below `folder / <service>`."""
    clock: Clock
    database: Database
    outbox: Outbox
    recorder: Recorder
    sandboxes: Sandboxes
    authority: Authority
    identities: Identities
    services: Mapping[str, Service]
    ask: Ask
    parts: Mapping[str, Any]
    """What each service's `part` returned, by service name: read your own with `part()`."""
    https_port: int = 4443
    """Port that the HTTPS door to instances should take; 0 means any free one."""
    restore_s: float | None = None
    """How long S3 takes to restore an archived object; None: as long as AWS."""
    legacy_buckets: bool = False
    """New buckets have the defaults of before April 2023: ACLs in force, public access not blocked."""
    encrypts_all: bool = False
    """S3 encrypts each object, of whatever size."""
    apart: Mapping[str, Service] = field(default_factory=dict[str, "Service"])
    """Services that this chamber does not offer, because they run on one machine only and it shares its state."""
    open_blobs: Callable[[Path], Blobs] = Blobs
    """Blobs below a folder of the service's own, or where several chambers share them."""

    def part(self, service: str, kind: type[P]) -> P:
        """The live part of a service, checked for its type."""
        found = self.parts[service]
        if not isinstance(found, kind):
            raise TypeError(f"{service} has {type(found).__name__}, not {kind.__name__}")
        return found


@dataclass(slots=True, eq=False)
class Call:
    """Who calls, where, and when; the same for every operation of every service. Nobody but who decides
    about it changes it."""

    # Why not frozen: one is made for each request, and that takes three times as long.

    principal: Principal
    account: str
    region: str
    request_id: str
    now: datetime
    doors: Doors
    segment: Segment
    """This call's own step on its track; `note` writes on it."""
    lineage: str = ""
    headers: Headers | None = None
    """The HTTP headers, None for an in-process call."""
    peer: str = "127.0.0.1"
    secure: bool = False
    signed_by: str = ""
    """How the request was signed: ``header``, ``query``, ```` for in-process."""
    algorithm: str = ""
    """``AWS4-HMAC-SHA256``, or ``AWS`` for Signature Version 2; empty if there is no signature."""
    signed_at: datetime | None = None
    """When the signature says it was made; None where it does not say."""
    missing_only: bool = False
    """Whether it was let in only to hear that what it asks for is not there (see `Need.instead`)."""

    @property
    def trace(self) -> Trace:
        """What to hand on to those that this call calls."""
        return self.segment.trace(self.lineage)

    def note(self, **notes: Any) -> None:
        """Write short values for people onto this call's segment: ``call.note(bytes=1234)``."""
        self.segment.notes.update(notes)

    async def ask(
        self,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        principal: Principal | None = None,
        part: bool = False,
    ) -> Any:
        """Call another service on this track, as the same caller or as `principal` (a role, a service).

        `part`: the call is a part of this one, and its conditions see this one's HTTP request.
        """
        return await self.doors.ask(
            service,
            operation,
            request,
            principal=self.principal if principal is None else principal,
            trace=self.trace,
            region=self.region,
            within=self if part else None,
        )

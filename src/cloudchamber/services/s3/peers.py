# SPDX-License-Identifier: Apache-2.0
"""Buckets of other chambers, and of any other store that speaks S3, to which replication copies.

``peers.json`` in the state folder says where they are, and with which access key their chamber lets copies in. It is
written by ``cloudchamber peer`` and read anew for each copy. A copy gets a version id of its own there: no request of
S3 says which it should have.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from cloudchamber.base.errors import ChamberError
from cloudchamber.services.s3 import rfc2047
from cloudchamber.services.s3.verify import Pace, Verifier
from cloudchamber.store import private
from cloudchamber.wire.scalars import http_date

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from cloudchamber.base.clock import Clock
    from cloudchamber.services.s3.encryption import Keeper
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.blobs import Blobs
    from cloudchamber.store.s3_client import Store

FILE = "peers.json"
PART = 16 * 1024 * 1024
"""Larger objects are sent in parts of so many octets."""
PARTS_MAX = 10_000
TRY_FOR_S = 2.0
_HEADERS = {
    "CacheControl": "cache-control",
    "ContentDisposition": "content-disposition",
    "ContentEncoding": "content-encoding",
    "ContentLanguage": "content-language",
    "ContentType": "content-type",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """Where one bucket is, and who writes there."""

    endpoint: str
    key: str
    secret: str = field(repr=False)
    region: str = "us-east-1"


class PeerRefused(Exception):  # noqa: N818 - an outcome, not a failure
    """The chamber there said no."""


class PeerSilent(Exception):  # noqa: N818 - an outcome, not a failure
    """Nobody answers there, or only to say that it is in trouble."""


def read(folder: Path) -> dict[str, Peer]:
    """All buckets that are elsewhere, by name.

    Raises:
        ChamberError: the file cannot be read.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
        found = cast("dict[str, dict[str, str]]", json.loads(text))
        return {bucket: Peer(**told) for bucket, told in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise ChamberError(f"cannot read {path}: {error}", "write it anew: cloudchamber peer add") from error


def write(folder: Path, peers: Mapping[str, Peer]) -> None:
    """Replace them all."""
    told = {
        bucket: {"endpoint": p.endpoint, "key": p.key, "secret": p.secret, "region": p.region}
        for bucket, p in sorted(peers.items())
    }
    private.write(folder / FILE, json.dumps(told, indent=1).encode())


class Sender:
    """Sends copies. It blocks: call it on a thread."""

    def __init__(self, blobs: Blobs, keeper: Keeper, clock: Clock) -> None:
        self._verifier = Verifier(blobs, keeper, Pace(0))
        self._clock = clock

    def send(self, bucket: str, peer: Peer, found: Object, storage_class: str) -> None:
        """Write one version there, or its delete marker.

        Raises:
            PeerRefused, PeerSilent: it is not there. OSError: the octets are not what the row says.
        """
        with _store(bucket, peer, self._clock) as store:
            if found.marker:
                store.remove(found.key)
                return
            headers = _headers(found, storage_class)
            if found.size <= PART:
                store.put(found.key, b"".join(self._octets(found)), headers)
            else:
                self._in_parts(store, found, headers)

    def _in_parts(self, store: Store, found: Object, headers: Mapping[str, str]) -> None:
        upload = store.begin(found.key, headers)
        size = max(PART, -(-found.size // PARTS_MAX))
        try:
            etags: list[str] = []
            held = bytearray()
            for octets in self._octets(found):
                held += octets
                while len(held) >= size:
                    etags.append(store.part(found.key, upload, len(etags) + 1, bytes(held[:size])))
                    del held[:size]
            if held:
                etags.append(store.part(found.key, upload, len(etags) + 1, bytes(held)))
            store.complete(found.key, upload, etags, found.size)
        except BaseException:
            store.abort(found.key, upload)
            raise

    def _octets(self, found: Object) -> Iterator[bytes]:
        nonce: str | None = found.stored.get("nonce")
        pieces: Any = found.stored.get("nonces") or [(found.size, nonce)]
        sent = 0
        for octets in self._verifier.octets(found.data, found.blob, found.size, pieces):
            sent += len(octets)
            yield octets
        if sent != found.size:
            raise OSError(f"{sent} octets are there of {found.size}")


def versioned(bucket: str, peer: Peer, clock: Clock) -> bool:
    """Whether the bucket is there and keeps versions; blocks.

    Raises:
        PeerRefused, PeerSilent: nobody says.
    """
    with _store(bucket, peer, clock) as store:
        return store.versioned()


@contextmanager
def _store(bucket: str, peer: Peer, clock: Clock) -> Generator[Store]:
    from cloudchamber.store.s3_client import Place, Store, StoreError  # lazily: few have peers

    place = Place(peer.endpoint, bucket, "", peer.region, peer.key, peer.secret)
    store = Store(place, clock, connections=1, try_for_s=TRY_FOR_S, name=peer.endpoint)
    try:
        yield store
    except StoreError as error:
        if error.status == 0 or error.status >= 500:
            raise PeerSilent(error.message) from error
        raise PeerRefused(error.message) from error
    finally:
        store.close()


def _headers(found: Object, storage_class: str) -> dict[str, str]:
    """What is said of an object when it is written."""
    made = {header: found.headers[name] for name, header in _HEADERS.items() if name in found.headers}
    if "Expires" in found.headers:
        made["expires"] = http_date(datetime.fromtimestamp(float(found.headers["Expires"]), UTC))
    made |= {f"x-amz-meta-{name}": value for name, value in rfc2047.encoded(found.metadata).items()}
    if found.tags:
        made["x-amz-tagging"] = urlencode(found.tag_values, quote_via=quote)
    wanted = storage_class or found.stored.get("class", "")
    if wanted:
        made["x-amz-storage-class"] = wanted
    return made

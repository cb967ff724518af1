# SPDX-License-Identifier: Apache-2.0
"""Checksums of objects: pure, except for the libraries that compute them.

Source: Amazon S3 User Guide, "Checking object integrity in Amazon S3".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3.errors import BadDigest, InvalidDigest, InvalidRequest, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Call

WIDTHS = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}
MEMBERS = {f"Checksum{name}": name for name in WIDTHS}
HEADERS = {f"x-amz-checksum-{name.lower()}": name for name in WIDTHS}
DEFAULT = "CRC64NVME"


class Crc:
    """A CRC of 32 or 64 bits that grows like a hash of hashlib."""

    __slots__ = ("_add", "_octets", "value")

    def __init__(self, add: Callable[[bytes, int], int], octets: int) -> None:
        self._add = add
        self._octets = octets
        self.value = 0

    def update(self, data: bytes, /) -> None:
        """Take more octets."""
        self.value = self._add(data, self.value)

    def digest(self) -> bytes:
        """The CRC, big end first."""
        return self.value.to_bytes(self._octets, "big")


def new(algorithm: str) -> Any:
    """An empty checksum: `update` and `digest`."""
    if algorithm == "CRC32":
        return Crc(zlib.crc32, 4)
    if algorithm in ("CRC32C", "CRC64NVME"):
        import awscrt.checksums as crt  # lazily: it is a large library

        return Crc(crt.crc32c, 4) if algorithm == "CRC32C" else Crc(crt.crc64nvme, 8)
    return hashlib.new(algorithm.lower())


def text(digest: bytes) -> str:
    """Base64, as headers carry it."""
    return base64.b64encode(digest).decode()


def combined(algorithm: str, parts: Sequence[tuple[str, int]]) -> str:
    """CRC of a whole object from the CRCs and sizes of its parts."""
    import awscrt.checksums as crt

    combine = {
        "CRC32": crt.combine_crc32,
        "CRC32C": crt.combine_crc32c,
        "CRC64NVME": crt.combine_crc64nvme,
    }[algorithm]
    whole = 0
    for value, size in parts:
        whole = combine(whole, int.from_bytes(base64.b64decode(value), "big"), size)
    return text(whole.to_bytes(WIDTHS[algorithm], "big"))


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """Checksum of the checksums of the parts, with their number."""
    whole = new(algorithm)
    for value in parts:
        whole.update(base64.b64decode(value))
    return f"{text(whole.digest())}-{len(parts)}"


@dataclass(slots=True)
class Wanted:
    """What a client says of a body's checksum: the algorithm, and the value now or in a trailer."""

    algorithm: str
    expected: str
    trailer: str
    given: bool
    """Whether the client chose the algorithm; else it is ours."""
    digest: Any

    def verify(self, body: Body | None) -> str:
        """The checksum, after it was compared.

        Raises:
            BadDigest: the client said another.
            InvalidRequest: the client's is not of the algorithm's form, or the trailer is missing.
        """
        value = text(self.digest.digest())
        expected = self.expected
        if self.trailer:
            expected = body.trailers.get(self.trailer, "") if body is not None else ""
            if not expected:
                raise InvalidRequest(f"The value specified in the x-amz-trailer header, {self.trailer}, did not come.")
            check_form(self.algorithm, expected, self.trailer)
        if expected and expected != value:
            raise BadDigest(f"The {self.algorithm} you specified did not match the calculated checksum.")
        return value


def wanted(call: Call, request: Mapping[str, Any], default: str = DEFAULT) -> Wanted:
    """What the request says of its body's checksum.

    Raises:
        InvalidRequest: two checksums, one of a wrong form, or an algorithm without a value.
    """
    given = [(algorithm, request[member]) for member, algorithm in MEMBERS.items() if request.get(member)]
    if len(given) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    announced = request.get("ChecksumAlgorithm", "")
    trailer = trailing(call)
    if given:
        algorithm, value = given[0]
        check_form(algorithm, value, f"x-amz-checksum-{algorithm.lower()}")
        if announced and announced != algorithm:
            raise InvalidRequest(
                "Value for x-amz-sdk-checksum-algorithm header is invalid."
                if announced not in WIDTHS
                else "The x-amz-sdk-checksum-algorithm header does not match the x-amz-checksum- header."
            )
        return Wanted(algorithm, value, "", True, new(algorithm))
    if trailer:
        return Wanted(HEADERS[trailer], "", trailer, True, new(HEADERS[trailer]))
    if announced and call.headers is not None:
        if announced not in WIDTHS:
            raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found."
        )
    algorithm = announced if announced in WIDTHS else default
    return Wanted(algorithm, "", "", bool(announced), new(algorithm))


def trailing(call: Call) -> str:
    """The trailer that will carry a checksum."""
    if call.headers is None or "x-amz-trailer" not in call.headers:
        return ""
    names = [name.strip().lower() for name in call.headers.get("x-amz-trailer").split(",")]
    other = next((name for name in names if name.startswith("x-amz-checksum-") and name not in HEADERS), "")
    if other:
        raise Unimplemented(f"{other} is not implemented by this chamber yet", Header=other)
    return next((name for name in names if name in HEADERS), "")


def check_form(algorithm: str, value: str, header: str) -> None:
    """Base64 of as many octets as the algorithm gives."""
    if len(decoded(value)) != WIDTHS[algorithm]:
        raise InvalidRequest(f"Value for {header} header is invalid.")


def decoded(value: str) -> bytes:
    """Base64, strict; empty if it is none."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def check_md5(request: Mapping[str, Any], md5: bytes) -> None:
    """Compare `Content-MD5`.

    Raises:
        BadDigest: the body has another MD5.
    """
    if "ContentMD5" in request and decoded(request["ContentMD5"]) != md5:
        # Why: so S3 writes them: of an object what was expected in hexadecimal digits, of a part in base64
        given = request["ContentMD5"]
        expected = given if "PartNumber" in request else decoded(given).hex()
        raise BadDigest(ExpectedDigest=expected, CalculatedDigest=text(md5))


def check_md5_form(request: Mapping[str, Any]) -> None:
    """`Content-MD5` must be base64 of 16 octets."""
    if "ContentMD5" in request and len(decoded(request["ContentMD5"])) != 16:
        raise InvalidDigest(**{"Content-MD5": request["ContentMD5"]})


def members(stored: str) -> dict[str, str]:
    """Response members of a stored checksum, which is written ``CRC32:value`` with ``-N`` behind composite ones."""
    if not stored:
        return {}
    algorithm, _, value = stored.partition(":")
    return {f"Checksum{algorithm}": value, "ChecksumType": kind(stored)}


def kind(stored: str) -> str:
    """`COMPOSITE` or `FULL_OBJECT`."""
    return "COMPOSITE" if "-" in stored else "FULL_OBJECT"


def algorithm_of(stored: str) -> str:
    """The algorithm of a stored checksum."""
    return stored.partition(":")[0]

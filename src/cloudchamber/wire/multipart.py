# SPDX-License-Identifier: Apache-2.0
"""An HTML form with one file, decoded as it arrives: first its fields, then the octets of the file.

Source: Amazon S3 API Reference, "POST Object"; RFC 7578.
"""

from __future__ import annotations

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cloudchamber.wire.errors import (
    IncompleteBody,
    InvalidArgument,
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceeded,
    PreconditionFailed,
)

FIELDS_OCTETS_MAX = 20 * 1024
"""Names and values of all fields but the file."""
PREAMBLE_OCTETS_MAX = 128 * 1024
"""Octets of the body before the file begins, with what frames the fields."""
BOUNDARY_MAX = 200
_MALFORMED = "The body of your POST request is not well-formed multipart/form-data."


class FormDecoder:
    """Decodes one form: `feed` octets as they come, then `finish`. What follows the file is read and ignored."""

    def __init__(self, content_type: str) -> None:
        """The form of that type.

        Raises:
            PreconditionFailed: it is not multipart/form-data. MalformedPOSTRequest: it has no boundary.
        """
        kind, options = parse_options_header(content_type)
        if kind.lower() != b"multipart/form-data":
            raise PreconditionFailed(
                "At least one of the pre-conditions you specified did not hold",
                Condition="Bucket POST must be of the enclosure-type multipart/form-data",
            )
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= BOUNDARY_MAX:
            raise MalformedPOSTRequest(_MALFORMED)
        self.fields: dict[str, str] = {}
        """Values by names in lower case; of several of one name, all, with commas between."""
        self.file_name = ""
        self.file_type = ""
        self.file_began = False
        self._in_file = False
        self._ended = False
        self._octets = 0
        self._fields_octets = 0
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._value: list[bytes] = []
        self._out: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_began,
                "on_part_data": self._data,
                "on_part_end": self._part_ended,
                "on_header_begin": self._header_began,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ended,
                "on_headers_finished": self._named,
                "on_end": self._all_ended,
            },
        )

    def feed(self, data: bytes) -> list[bytes]:
        """Octets of the file.

        Raises:
            ServiceError: the form is malformed, or its fields are too long.
        """
        self._write(data)
        if not self.file_began:
            self._octets += len(data)
            if self._octets > PREAMBLE_OCTETS_MAX:
                raise self._too_long()
        out, self._out = self._out, []
        return out

    def finish(self) -> None:
        """The body ended.

        Raises:
            InvalidArgument: it has no file. IncompleteBody: it ended too early.
        """
        if not self._ended:
            raise IncompleteBody("The request body terminated unexpectedly") if self.file_began else self._malformed()
        if not self.file_began:
            raise InvalidArgument(
                "POST requires exactly one file upload per request.", ArgumentName="file", ArgumentValue="0"
            )

    def _write(self, data: bytes) -> None:
        if self._ended:
            return  # an epilogue says nothing (RFC 2046, 5.1.1)
        try:
            self._parser.write(data)
        except FormParserError:
            raise self._malformed() from None

    @staticmethod
    def _malformed() -> MalformedPOSTRequest:
        return MalformedPOSTRequest(_MALFORMED)

    @staticmethod
    def _too_long() -> MaxPostPreDataLengthExceeded:
        return MaxPostPreDataLengthExceeded(
            "Your POST request fields preceding the upload file were too large.",
            MaxPostPreDataLengthBytes=str(FIELDS_OCTETS_MAX),
        )

    # what the parser calls

    def _part_began(self) -> None:
        self._headers = {}
        self._name = ""
        self._value = []

    def _header_began(self) -> None:
        self._header = [b"", b""]

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_ended(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]

    def _named(self) -> None:
        if self.file_began:
            return
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if kind.lower() != b"form-data" or not name:
            raise self._malformed()
        self._name = _text(name).lower()
        if self._name == "file":
            self.file_began = self._in_file = True
            self.file_name = _text(options.get(b"filename", b""))
            self.file_type = self._headers.get(b"content-type", b"").decode("latin-1")
            return
        self._count(len(name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._out.append(data[start:end])
        elif not self.file_began:
            self._count(end - start)
            self._value.append(data[start:end])

    def _part_ended(self) -> None:
        if self._in_file:
            self._in_file = False
        elif not self.file_began:
            value = _text(b"".join(self._value))
            known = self.fields.get(self._name)
            self.fields[self._name] = value if known is None else f"{known},{value}"

    def _all_ended(self) -> None:
        self._ended = True

    def _count(self, octets: int) -> None:
        self._fields_octets += octets
        if self._fields_octets > FIELDS_OCTETS_MAX:
            raise self._too_long()


def _text(octets: bytes) -> str:
    """UTF-8, as headers are; a page that does not say its encoding sends what its browser takes for text."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")

# SPDX-License-Identifier: Apache-2.0
"""Methods, paths and query flags of the REST protocols, indexed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from cloudchamber.wire.http import Headers, octets
from cloudchamber.wire.model import OperationModel, ServiceModel, must

_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")
_ELSEWHERE = {"ListDirectoryBuckets", "WriteGetObjectResponse", "CreateSession"}
"""S3 operations that other hosts answer (directory buckets, Object Lambda)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One operation at a path: query flags with their values, further required parameters and headers."""

    operation: OperationModel
    flags: tuple[tuple[str, str], ...]
    must: tuple[str, ...]

    def flagged(self, query: Mapping[str, str]) -> bool:
        """Whether every flag is in the query."""
        for name, value in self.flags:  # noqa: SIM110 - on every request's way: all() with a generator is slower
            if name not in query or value not in ("", query[name]):
                return False
        return True

    def complete(self, query: Mapping[str, str], headers: Headers) -> bool:
        """Whether what the operation requires is there."""
        for m in self.must:  # noqa: SIM110 - as above
            if (m[1:] not in query) if m[0] == "?" else (m not in headers):
                return False
        return True


def candidate(service: ServiceModel, operation: OperationModel) -> Candidate:
    """Of one operation."""
    flags = operation.uri.partition("?")[2]
    listed = tuple((n, v) for n, _, v in (f.partition("=") for f in flags.split("&") if f))
    # Why: botocore names the operation in x-id; other SDKs leave it out.
    flags_kept = tuple(f for f in listed if f[0] != "x-id")
    needed = tuple(must(operation.described, service.shapes))
    return Candidate(operation, flags_kept, needed)


class Table:
    """Every operation of one REST service."""

    def __init__(self, service: ServiceModel) -> None:
        self._service = service
        self._exact: dict[tuple[str, str], list[Candidate]] = {}
        self._paths: dict[str, list[tuple[re.Pattern[str], tuple[str, ...], str]]] = {}
        for operation in service.operations.values():
            if operation.name in _ELSEWHERE:
                continue
            path = operation.uri.partition("?")[0]
            known = self._exact.setdefault((operation.method, path), [])
            known.append(candidate(service, operation))
        for (method, path), known in self._exact.items():
            # Why: most specific first; of equals (GetBucketNotification, ...Configuration) the one that we have.
            known.sort(
                key=lambda c: (len(c.flags), len(c.must), c.operation.implemented, len(c.operation.name)), reverse=True
            )
            names = tuple(m[1] for m in _LABEL.finditer(path))
            self._paths.setdefault(method, []).append((pattern(path), names, path))
        self._plain = {
            at: [one for one in known if not one.flags and one.operation.name != "PostObject"]
            for at, known in self._exact.items()
        }
        """Those that a request without a query can mean."""
        self._simple = {
            at: (frozenset(m for one in known for m in one.must if m[0] != "?"), free[0].operation)
            for at, known in self._plain.items()
            if (free := [one for one in known if not one.must]) and at != ("POST", "/{Bucket}")
        }
        """Of them, the first that requires nothing, and the headers that would mean another."""
        for routes in self._paths.values():
            routes.sort(key=lambda r: (r[2].count("{"), r[2].count("+}"), -len(r[2])))

    def only(self, method: str, path: str, headers: Headers) -> OperationModel | None:
        """The operation of a request without a query and without a header that could make it another one."""
        found = self._simple.get((method, path))
        return found[1] if found is not None and found[0].isdisjoint(headers.first) else None

    def choose(self, method: str, path: str, query: Mapping[str, str], headers: Headers) -> OperationModel | None:
        """The operation at a path of the model (``/{Bucket}``)."""
        known = (self._exact if query else self._plain).get((method, path), ())
        if method == "POST" and path == "/{Bucket}" and not query:
            return self._service.operations["PostObject"]
        incomplete: Candidate | None = None
        for one in known:
            if one.operation.name == "PostObject" or not one.flagged(query):
                continue
            if incomplete is not None and len(one.flags) < len(incomplete.flags):
                break
            if one.complete(query, headers):
                return one.operation
            if one.flags or self._service.name != "s3":
                incomplete = one
        return None if incomplete is None else incomplete.operation

    def match(
        self, method: str, path: str, query: Mapping[str, str], headers: Headers
    ) -> tuple[OperationModel, dict[str, str]] | None:
        """The operation at a path as it came, and the decoded labels."""
        for regex, names, uri in self._paths.get(method, ()):
            hit = regex.fullmatch(path)
            if hit is not None and (operation := self.choose(method, uri, query, headers)) is not None:
                try:
                    return operation, {n: decoded(v) for n, v in zip(names, hit.groups(), strict=True)}
                except UnicodeDecodeError:
                    return None
        return None


def decoded(text: str) -> str:
    """One label. Raises UnicodeDecodeError if it is not UTF-8."""
    return unquote_to_bytes(octets(text)).decode()


def pattern(path: str) -> re.Pattern[str]:
    """A path of the model as a regular expression over raw paths; a trailing slash does not matter."""
    out = ""
    last = 0
    for label in _LABEL.finditer(path):
        out += re.escape(path[last : label.start()]) + ("(.+)" if label[2] else "([^/]+)")
        last = label.end()
    out += re.escape(path[last:].rstrip("/"))
    return re.compile(out + "/?")


@lru_cache(maxsize=64)
def table(service: ServiceModel) -> Table:
    """The table of a service, built once."""
    return Table(service)

# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for values of botocore's shapes."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import strategies as st

DEPTH_MAX = 4

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Cn")), max_size=8)
HEADER = st.text(st.sampled_from("abcXYZ019-_./ "), min_size=1, max_size=8).map(str.strip).filter(bool)
LABEL = st.text(st.sampled_from("abcXYZ019-_.:% é"), min_size=1, max_size=8).filter(lambda t: t.strip(". ") != "")
TIMES = st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def scalar(shape: Any, location: str | None) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    if kind in ("string", "character"):
        if shape.enum and location is not None:
            return st.sampled_from([e for e in shape.enum if e] or ["x"])
        if location == "uri":
            return LABEL
        return HEADER if location == "header" else TEXT
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        return st.integers(-(2**31), 2**31 - 1)
    if kind in ("float", "double"):
        return st.floats(-1e9, 1e9, allow_nan=False).map(lambda f: round(f, 3))
    if kind == "timestamp":
        return TIMES
    return st.binary(max_size=12)


def value(shape: Any, depth: int = 0, location: str | None = None, *, output: bool = False) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    if kind == "structure":
        return structure(shape, depth + 1, output=output)
    if kind == "list":
        low = 1 if location or output else 0
        high = max(low, 0 if depth > DEPTH_MAX and not location else 2)
        return st.lists(value(shape.member, depth + 1, location, output=output), min_size=low, max_size=high)
    if kind == "map":
        keys = (
            HEADER.map(lambda k: k.replace(" ", "").lower()).filter(bool)
            if location == "headers"
            else TEXT.filter(bool)
        )
        item = HEADER if location == "headers" else value(shape.value, depth + 1, output=output)
        return st.dictionaries(keys, item, min_size=1, max_size=2 if depth < DEPTH_MAX else 1)
    return scalar(shape, location)


def structure(shape: Any, depth: int = 0, *, output: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    payload = shape.serialization.get("payload")
    fixed: dict[str, Any] = {}
    maybe: dict[str, Any] = {}
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if getattr(member, "is_document_type", False) or member.serialization.get("eventstream"):
            continue
        if location == "statusCode":
            continue
        if depth > DEPTH_MAX and name not in shape.required_members:
            continue
        made = st.deferred(lambda m=member, loc=location: value(m, depth + 1, loc, output=output))
        if name in shape.required_members or name == payload:
            fixed[name] = made
        else:
            maybe[name] = made
    if shape.is_tagged_union:
        either = [(n, shape.members[n]) for n in shape.members]
        return st.one_of([value(m, depth + 1, output=output).map(lambda v, n=n: {n: v}) for n, m in either])
    few = st.lists(st.sampled_from(sorted(maybe)), max_size=6, unique=True) if maybe else st.just([])
    return few.flatmap(lambda names: st.fixed_dictionaries({**fixed, **{n: maybe[n] for n in names}}))


def norm(found: Any) -> Any:
    """For comparing: without metadata and empty things, times as seconds, streams as octets."""
    if isinstance(found, dict):
        out = {k: norm(v) for k, v in found.items() if k != "ResponseMetadata"}
        return {k: v for k, v in out.items() if v is not None and v != {} and v != []}
    if isinstance(found, list | tuple):
        # Why: forms and XML cannot tell a list of one empty structure from an empty list.
        return [v for v in (norm(v) for v in found) if v not in ({}, [])]
    if isinstance(found, datetime):
        return int(found.timestamp())
    if isinstance(found, float):
        return "NaN" if math.isnan(found) else round(found, 3)
    if hasattr(found, "read"):
        return found.read()
    return found

# SPDX-License-Identifier: Apache-2.0
"""Service models: the slices that ``python -m tools gen`` cut, as values.

A model is read once, when its service is first called; shapes stay the dictionaries that botocore's JSON has, and the
codecs compile closures from them, once for each operation.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeAlias

import orjson

Shape: TypeAlias = "dict[str, Any]"
Reference: TypeAlias = "dict[str, Any]"

MAX_DEPTH = 64
"""Levels of nesting that input may have; AWS's own deepest documents (policies, IPAM filters) have under 20."""


def must(described: dict[str, Any], shapes: dict[str, Shape]) -> list[str]:
    """What a REST request must carry to mean this operation: ``?uploadId``, ``x-amz-copy-source``.

    Several S3 operations share a method and a path and differ only in required parameters and headers.
    """
    if "must" in described:
        return described["must"]
    shape: Shape = shapes[described["input"]["shape"]] if "input" in described else {}
    found: list[str] = []
    for name in shape.get("required", ()):
        member = shape["members"][name]
        if member.get("location") == "querystring":
            found.append("?" + member["locationName"])
        elif member.get("location") == "header":
            found.append(member["locationName"].lower())
    return found


class OperationModel:
    """One operation: names, HTTP binding, and the shapes of its input and output."""

    def __init__(self, service: ServiceModel, name: str, described: dict[str, Any]) -> None:
        self.service = service
        self.name = name
        self.described = described
        http = described["http"]
        self.method: str = http["method"]
        self.uri: str = http["requestUri"]
        self.status: int = int(http.get("responseCode", 200))
        self.implemented = "name" in described

    def __repr__(self) -> str:
        return f"OperationModel({self.service.name}:{self.name})"

    @cached_property
    def input(self) -> Shape:
        """Shape of the input; an empty structure if there is none."""
        return self.service.resolve(self.described.get("input"))

    @cached_property
    def output(self) -> Shape:
        """Shape of the output; an empty structure if there is none."""
        return self.service.resolve(self.described.get("output"))

    @cached_property
    def codecs(self) -> dict[str, Any]:
        """Compiled closures by what they do; `wire/codec.py` fills it."""
        return {}


class ServiceModel:
    """One service: metadata, operations, shapes."""

    def __init__(self, name: str, description: dict[str, Any]) -> None:
        self.name = name
        self.metadata: dict[str, Any] = description["metadata"]
        self.shapes: dict[str, Shape] = description["shapes"]
        self.protocol: str = self.metadata["protocol"]
        self.operations = {n: OperationModel(self, n, o) for n, o in description["operations"].items()}

    @property
    def namespace(self) -> str:
        """XML namespace of replies."""
        return self.metadata.get("xmlNamespace", "")

    def resolve(self, reference: Reference | None) -> Shape:
        """The shape that a reference names, with the traits that the reference itself carries on top."""
        if reference is None:
            return {"type": "structure", "members": {}}
        shape = self.shapes[reference["shape"]]
        merged = {**shape, **{k: v for k, v in reference.items() if k != "shape"}}
        merged["name"] = reference["shape"]
        return merged


@cache  # bounded by the services that exist
def load(service: str) -> ServiceModel:
    """The model of a service that we have.

    Raises:
        FileNotFoundError: there is no slice of that name; run ``python -m tools gen``.
    """
    data = (Path(__file__).parent / "models" / f"{service}.json").read_bytes()
    return ServiceModel(service, orjson.loads(data))

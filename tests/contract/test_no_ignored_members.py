# SPDX-License-Identifier: Apache-2.0
"""Real or refused: every member of every request is read, or refused by its name, or listed here with the reason.

The code that an operation can reach inside its service is walked, from its `needs` and its function on; every string
that stands there, and every string of the constants that it uses, may be the name of a member.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache

import pytest

from cloudchamber import services
from cloudchamber.contract.operation import Operation
from cloudchamber.contract.service import discover
from cloudchamber.services.rds import asked
from cloudchamber.wire import model

SERVICES = discover(services)

ANYWHERE = {
    ("s3", "RequestPayer"): "the owner of a bucket pays; the header agrees to something that does not happen",
    ("s3", "ContentMD5"): "compared where documents are parsed: wire/s3.py, check_document",
    ("s3", "ChecksumAlgorithm"): "says which header has the checksum; compared in wire/s3.py, check_document",
    ("s3", "ContentLength"): "the length of the body that comes is counted",
    ("kms", "GrantTokens"): "there are no grants",
}
HARMLESS = {
    ("cloudformation", "CancelUpdateStack", "ClientRequestToken"): "a second cancel of one update is refused anyway",
    ("cloudformation", "CreateChangeSet", "ClientToken"): "a change set that exists is refused, with or without it",
    ("ecr", "DeleteRepository", "force"): "a repository is always empty",
    ("ecr", "ListImages", "filter"): "there are none",
    ("ecr", "ListImages", "maxResults"): "there are none",
    ("ecr", "ListImages", "nextToken"): "there are none",
    ("ecr", "SetRepositoryPolicy", "force"): "a policy that shuts its writer out is taken without it too",
    ("ec2", "ModifyLaunchTemplate", "ClientToken"): "asking twice changes nothing more",
    ("ec2", "DescribeAvailabilityZones", "AllAvailabilityZones"): "every zone is one of the region's own",
    ("ec2", "DescribeImages", "IncludeDeprecated"): "no image is deprecated",
    ("ec2", "DescribeImages", "IncludeDisabled"): "no image is disabled",
    ("ec2", "DescribeVolumes", "IncludeManagedResources"): "no volume is managed by a service",
    ("ec2", "DescribeVolumeStatus", "IncludeManagedResources"): "no volume is managed by a service",
    ("ec2", "DetachVolume", "Force"): "a volume is taken from its instance at once, whoever uses it",
    ("ec2", "RegisterImage", "EnaSupport"): "an instance's network is this machine's, whatever its image says",
    ("ec2", "GetConsoleScreenshot", "WakeUp"): "no instance has a screen: it is refused",
    ("ec2", "CopySnapshot", "PresignedUrl"): "the caller may do here what it may do in the source's region",
    ("ec2", "DescribeInstanceStatus", "IncludeManagedResources"): "no instance is managed by a service",
    ("ec2", "DescribeInstances", "IncludeManagedResources"): "no instance is managed by a service",
    ("ec2", "DescribeNetworkInterfaces", "IncludeManagedResources"): "no interface is managed by a service",
    ("ec2", "DescribeRegions", "AllRegions"): "every region is enabled",
    ("ec2", "GetConsoleOutput", "Latest"): "the output is always the latest",
    ("ec2", "StopInstances", "Force"): "who does not shut down in time is always ended",
    ("ec2", "TerminateInstances", "Force"): "who does not shut down in time is always ended",
    ("events", "DeleteRule", "Force"): "no rule is managed by a service",
    ("events", "RemoveTargets", "Force"): "no rule is managed by a service",
    ("lambda", "ListEventSourceMappings", "EventSourceArn"): "there are none",
    ("lambda", "ListEventSourceMappings", "FunctionName"): "there are none",
    ("lambda", "ListEventSourceMappings", "Marker"): "there are none",
    ("lambda", "ListEventSourceMappings", "MaxItems"): "there are none",
    ("iam", "ListAccountAliases", "Marker"): "an account has at most one alias",
    ("iam", "ListAccountAliases", "MaxItems"): "an account has at most one alias",
    ("logs", "FilterLogEvents", "interleaved"): "AWS ignores it: events are always interleaved",
    ("logs", "FilterLogEvents", "unmask"): "there are no data protection policies, so nothing is masked",
    ("logs", "GetLogEvents", "unmask"): "there are no data protection policies, so nothing is masked",
    ("logs", "PutLogEvents", "entity"): "links events to a topology that CloudWatch shows; the events stay the same",
    ("logs", "PutLogEvents", "sequenceToken"): "AWS ignores it since 2023",
    ("rds", "DeleteDBInstance", "DeleteAutomatedBackups"): "there are none",
    ("rds", "DescribeDBEngineVersions", "DefaultOnly"): "there is one version, the default",
    ("rds", "DescribeDBEngineVersions", "IncludeAll"): "there is one version, and it is available",
    ("rds", "DescribeDBEngineVersions", "ListSupportedCharacterSets"): "PostgreSQL's are not listed by RDS either",
    ("rds", "DescribeDBEngineVersions", "ListSupportedTimezones"): "PostgreSQL's are not listed by RDS either",
    ("s3", "CopyObject", "AnnotationDirective"): "objects have no annotations",
    ("s3", "PutBucketReplication", "Token"): "once let buckets with Object Lock be replicated; S3 asks for it no more",
    ("s3", "PutObjectLockConfiguration", "Token"): "AWS Support gave it out before buckets could be locked later on",
    ("s3", "PutBucketPolicy", "ConfirmRemoveSelfBucketAccess"): "the root user can always change the policy",
    ("ssm", "GetParameter", "WithDecryption"): "no parameter is encrypted",
    ("ssm", "GetParameters", "WithDecryption"): "no parameter is encrypted",
    ("ssm", "GetParametersByPath", "WithDecryption"): "no parameter is encrypted",
}
REFUSES_OTHERS: Mapping[tuple[str, str], frozenset[str]] = {
    ("rds", "CreateDBInstance"): asked._READ | asked._ONLY.keys(),
    ("rds", "ModifyDBInstance"): asked._READ | asked._ONLY.keys(),
}
"""Operations that refuse whatever they do not know, and what they know (EC2's say it themselves, by `takes`)."""


@cache
def definitions(module: types.ModuleType) -> dict[str, ast.stmt]:
    body = ast.parse(inspect.getsource(module)).body
    return {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def strings(value: object, depth: int = 0):
    """Every string of a constant: of tuples, sets, mappings and our own frozen rows."""
    if isinstance(value, str):
        yield value
    elif depth < 5 and isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from strings(one, depth + 1)
    elif depth < 5 and isinstance(value, Mapping):
        for pair in value.items():
            yield from strings(pair, depth + 1)
    elif depth < 5 and is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from strings(getattr(value, one.name, None), depth + 1)


def unspoken(node: ast.stmt) -> set[int]:
    """Docstrings and decorators: they name members without reading them."""
    found: set[int] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found |= {id(inner) for decorator in one.decorator_list for inner in ast.walk(decorator)}
            if isinstance(one.body[0], ast.Expr):
                found.add(id(one.body[0].value))
    return found


def pattern(node: ast.JoinedStr) -> str:
    """What an f-string can say, if enough of it stands there: ``f"{title}Name"``."""
    fixed = [v.value for v in node.values if isinstance(v, ast.Constant)]
    if sum(map(len, fixed)) < 4:
        return ""
    return "".join(re.escape(v.value) if isinstance(v, ast.Constant) else r"\w+" for v in node.values)


class Said:
    """The strings and the patterns of f-strings that are reached from some functions."""

    def __init__(self, *starts: object) -> None:
        self.strings: set[str] = set()
        self.patterns: set[str] = set()
        self._seen: set[int] = set()
        self._todo: list[object] = list(starts)
        while self._todo:
            self._take(self._todo.pop())

    def __contains__(self, member: str) -> bool:
        return member in self.strings or any(re.fullmatch(p, member) for p in self.patterns)

    def _take(self, thing: object) -> None:
        if id(thing) in self._seen or isinstance(thing, types.ModuleType):
            return
        self._seen.add(id(thing))
        if isinstance(thing, Operation):
            self._todo += [thing.run, thing.needs]
        elif isinstance(thing, types.MethodType):
            self._todo.append(type(thing.__self__))
        elif isinstance(thing, types.FunctionType | type):
            self._read(inspect.unwrap(thing))
        else:
            self.strings |= set(strings(thing))
            if isinstance(thing, Mapping):
                self._todo += [value for value in thing.values() if callable(value)]

    def _read(self, thing: Callable[..., object]) -> None:
        module = sys.modules[thing.__module__]
        if not module.__name__.startswith("cloudchamber.services."):
            return
        node = definitions(module).get(thing.__qualname__.split(".")[0])
        if node is None:
            return
        skipped = unspoken(node)
        for one in ast.walk(node):
            if id(one) in skipped:
                continue
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                self.strings.add(one.value)
            elif isinstance(one, ast.JoinedStr):
                self.patterns |= {pattern(one)} - {""}
            elif isinstance(one, ast.Name):
                self._todo.append(vars(module).get(one.id))
            elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
                self._todo.append(getattr(vars(module).get(one.value.id), one.attr, None))


def known(service: str, operation: Operation) -> frozenset[str] | None:
    """What an operation knows, if it refuses everything else by its name."""
    taken = inspect.getclosurevars(operation.run).nonlocals.get("known") if service == "ec2" else None
    return taken if taken is not None else REFUSES_OTHERS.get((service, operation.name))


def ignored(service: str, operation: Operation) -> set[str]:
    members = set(model.load(service).operations[operation.name].input.get("members", {}))
    if (takes := known(service, operation)) is not None:
        members &= takes
    if service == "ec2":
        members.discard("DryRun")  # answered by `takes` itself
    said = Said(operation)
    return {m for m in members if m not in said and (service, m) not in ANYWHERE}


@pytest.mark.parametrize("name", SERVICES)
def test_no_member_is_ignored(name):
    found = {(name, one.name, member) for one in SERVICES[name].operations.values() for member in ignored(name, one)}
    listed = {one for one in HARMLESS if one[0] == name}
    assert sorted(found - listed) == [], "accepted, and then ignored: read them, or refuse them by their names"
    assert sorted(listed - found) == [], "no longer ignored: take them off the list"


def test_every_operation_of_ec2_says_what_it_takes():
    unsaid = [o.name for o in SERVICES["ec2"].operations.values() if known("ec2", o) is None]
    assert unsaid == []


def test_a_member_that_nobody_reads_is_found():
    async def run(call, request):
        """Reads `Bucket`, and not `Key`."""
        return request["Bucket"]

    run.__module__ = "cloudchamber.services.s3.objects"  # whose text has no such function: nothing is read
    assert ignored("s3", Operation("DeleteObject", lambda call, request: (), run)) >= {"Bucket", "Key"}

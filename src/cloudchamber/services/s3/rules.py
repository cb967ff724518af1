# SPDX-License-Identifier: Apache-2.0
"""Rules of a lifecycle configuration: what is a valid one, what it is about, and when it takes effect. Pure.

Source: Amazon S3 User Guide, "Lifecycle configuration elements" and "Lifecycle rules: based on an object's age";
Amazon S3 API Reference, PutBucketLifecycleConfiguration.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.services.s3.errors import InvalidArgument, InvalidRequest, MalformedXML
from cloudchamber.services.s3.storage import ARCHIVED, DOWNWARDS
from cloudchamber.wire.scalars import http_date

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Given = Mapping[str, Any]

RULES_MAX = 1000
ID_MAX = 255
NEWER_MAX = 100
INFREQUENT_DAYS = 30
"""How long objects must have been stored before they may be moved to infrequent access, and stay there."""
SMALL_OCTETS = 128 * 1024
ALL_SMALL, VARYING = "all_storage_classes_128K", "varies_by_storage_class"
"""Which objects are too small to be moved, unless a rule names sizes: all below 128 KiB, or not those that go into an
archive."""
_INFREQUENT = ("STANDARD_IA", "ONEZONE_IA")
_TARGETS = DOWNWARDS[2:]
_DAY = timedelta(days=1)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_PREDICATES = ("Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And")
_TRANSITIONS = ("Transitions", "NoncurrentVersionTransitions")
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", *_TRANSITIONS)


def checked(given: Sequence[Given], new_id: Callable[[], str]) -> list[dict[str, Any]]:
    """The rules as they are kept (dates in ISO 8601), each with an id.

    Raises:
        MalformedXML, InvalidRequest, InvalidArgument: they break the rules for rules.
    """
    if not 1 <= len(given) <= RULES_MAX:
        raise MalformedXML()
    made = [_rule(one, new_id) for one in given]
    names = [one["ID"] for one in made]
    if len(set(names)) != len(names):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule", ArgumentName="ID")
    return made


def _rule(given: Given, new_id: Callable[[], str]) -> dict[str, Any]:
    name = given.get("ID") or new_id()
    if len(name) > ID_MAX:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {ID_MAX}", ArgumentName="ID")
    if given.get("Status") not in ("Enabled", "Disabled") or ("Prefix" in given) == ("Filter" in given):
        raise MalformedXML()
    if not any(action in given for action in _ACTIONS):
        raise InvalidRequest("At least one action needs to be specified in a rule")
    rule: dict[str, Any] = {"ID": name, "Status": given["Status"]}
    if "Prefix" in given:
        rule["Prefix"] = given["Prefix"]
    else:
        rule["Filter"] = _filter(given["Filter"] or {})
    _expiration(given, rule)
    _noncurrent(given, rule)
    _abort(given, rule)
    _transitions(given, rule)
    _noncurrent_transitions(given, rule)
    return rule


def _filter(given: Given) -> dict[str, Any]:
    said = [name for name in _PREDICATES if name in given]
    if len(said) > 1:
        raise MalformedXML()
    if said != ["And"]:
        return {name: given[name] for name in said}
    joined: Given = given["And"] or {}
    tags: list[Given] = joined.get("Tags") or []
    if len({tag["Key"] for tag in tags}) != len(tags):
        raise InvalidRequest("Duplicate Tag Keys are not allowed.")
    more, less = joined.get("ObjectSizeGreaterThan"), joined.get("ObjectSizeLessThan")
    if more is not None and less is not None and less <= more + 1:
        raise InvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
    if len(tags) + sum(name in joined for name in _PREDICATES) < 2:
        raise MalformedXML()
    return {"And": dict(joined)}


def _expiration(given: Given, rule: dict[str, Any]) -> None:
    if "Expiration" not in given:
        return
    wanted: Given = given["Expiration"] or {}
    if len([name for name in ("Days", "Date", "ExpiredObjectDeleteMarker") if name in wanted]) != 1:
        raise MalformedXML()
    kept = dict(wanted)
    if "Days" in wanted:
        _positive(wanted["Days"], "'Days' for Expiration action must be a positive integer", "Days")
    if "Date" in wanted:
        kept["Date"] = _date(wanted["Date"]).isoformat()
    if "ExpiredObjectDeleteMarker" in wanted and by_tags(rule):
        raise InvalidRequest("ExpiredObjectDeleteMarker cannot be specified with tags.")
    rule["Expiration"] = kept


def _date(given: datetime) -> datetime:
    """A day, which begins at midnight."""
    date = given.astimezone(UTC)
    if date != _midnight(date):
        raise InvalidArgument(
            "'Date' must be at midnight GMT",
            ArgumentName="Date",
            ArgumentValue=date.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        )
    return date


def _noncurrent(given: Given, rule: dict[str, Any]) -> None:
    if "NoncurrentVersionExpiration" not in given:
        return
    wanted: Given = given["NoncurrentVersionExpiration"] or {}
    if "NoncurrentDays" not in wanted:
        raise MalformedXML()
    text = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"
    _positive(wanted["NoncurrentDays"], text, "NoncurrentDays")
    _newer(int(wanted.get("NewerNoncurrentVersions", 1)))
    rule["NoncurrentVersionExpiration"] = dict(wanted)


def _newer(count: int) -> None:
    if not 1 <= count <= NEWER_MAX:
        raise InvalidArgument(
            f"'NewerNoncurrentVersions' must be a positive integer not greater than {NEWER_MAX}",
            ArgumentName="NewerNoncurrentVersions",
            ArgumentValue=str(count),
        )


def _abort(given: Given, rule: dict[str, Any]) -> None:
    if "AbortIncompleteMultipartUpload" not in given:
        return
    wanted: Given = given["AbortIncompleteMultipartUpload"] or {}
    if "DaysAfterInitiation" not in wanted:
        raise MalformedXML()
    text = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer"
    _positive(wanted["DaysAfterInitiation"], text, "DaysAfterInitiation")
    if by_tags(rule):
        raise InvalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.")
    rule["AbortIncompleteMultipartUpload"] = dict(wanted)


def _transitions(given: Given, rule: dict[str, Any]) -> None:
    """Source: Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle"."""
    wanted: list[Given] = given.get("Transitions") or []
    if not wanted:
        return
    kept: list[dict[str, Any]] = []
    for one in wanted:
        if one.get("StorageClass") not in _TARGETS or ("Days" in one) == ("Date" in one):
            raise MalformedXML()
        if "Date" in one:
            kept.append({**one, "Date": _date(one["Date"]).isoformat()})
            continue
        _days(int(one["Days"]), "Days", "Transition", one["StorageClass"])
        kept.append(dict(one))
    _check_order(kept, "Days", "Transition", rule)
    expiration: Given = rule.get("Expiration", {})
    kinds = {name for one in (*kept, expiration) for name in ("Days", "Date") if name in one}
    if len(kinds) > 1:
        raise InvalidRequest(
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for "
            f"{_filter_told(rule)}"
        )
    for kind in kinds.intersection(expiration):
        if any(_later(one[kind], expiration[kind]) for one in kept):
            raise InvalidArgument(
                f"'{kind}' in the Expiration action for {_filter_told(rule)} must be greater than '{kind}' in the "
                "Transition action",
                ArgumentName=kind,
                ArgumentValue=str(expiration[kind]),
            )
    rule["Transitions"] = kept


def _later(move: Any, end: Any) -> bool:
    return move >= end if isinstance(move, int) else datetime.fromisoformat(move) >= datetime.fromisoformat(end)


def _noncurrent_transitions(given: Given, rule: dict[str, Any]) -> None:
    wanted: list[Given] = given.get("NoncurrentVersionTransitions") or []
    if not wanted:
        return
    for one in wanted:
        if one.get("StorageClass") not in _TARGETS or "NoncurrentDays" not in one:
            raise MalformedXML()
        _days(int(one["NoncurrentDays"]), "NoncurrentDays", "NoncurrentVersionTransition", one["StorageClass"])
        _newer(int(one.get("NewerNoncurrentVersions", 1)))
    _check_order(wanted, "NoncurrentDays", "NoncurrentVersionTransition", rule)
    end: Given = rule.get("NoncurrentVersionExpiration", {})
    if end and any(int(one["NoncurrentDays"]) >= int(end["NoncurrentDays"]) for one in wanted):
        raise InvalidArgument(
            f"'NoncurrentDays' in the NoncurrentVersionExpiration action for {_filter_told(rule)} must be greater than "
            "'NoncurrentDays' in the NoncurrentVersionTransition action",
            ArgumentName="NoncurrentDays",
            ArgumentValue=str(end["NoncurrentDays"]),
        )
    rule["NoncurrentVersionTransitions"] = [dict(one) for one in wanted]


def _days(days: int, name: str, action: str, target: str) -> None:
    if days < 0:
        raise InvalidArgument(
            f"'{name}' for {action} action must be nonnegative", ArgumentName=name, ArgumentValue=str(days)
        )
    if target in _INFREQUENT and days < INFREQUENT_DAYS:
        raise InvalidArgument(
            f"'{name}' in {action} action must be greater than or equal to {INFREQUENT_DAYS} for storageClass "
            f"'{target}'",
            ArgumentName=name,
            ArgumentValue=str(days),
        )


def _check_order(wanted: Sequence[Given], name: str, action: str, rule: Given) -> None:
    """One transition for each class; the further down it is, the later, and a month after one to infrequent access."""
    if len({one["StorageClass"] for one in wanted}) != len(wanted):
        raise InvalidRequest(
            f"'StorageClass' must be different for '{action}' actions in same 'Rule' with {_filter_told(rule)}"
        )
    dated = [one for one in wanted if name in one]
    dated = sorted(dated, key=lambda one: DOWNWARDS.index(one["StorageClass"]))
    for first, second in pairwise(dated):
        gap = INFREQUENT_DAYS if first["StorageClass"] in _INFREQUENT else 1
        if int(second[name]) < int(first[name]) + gap:
            raise InvalidArgument(
                f"'{name}' in the '{action}' action for StorageClass '{second['StorageClass']}' for "
                f"{_filter_told(rule)} must be {gap} days more than '{name}' in the '{action}' action for "
                f"StorageClass '{first['StorageClass']}'",
                ArgumentName=name,
                ArgumentValue=str(second[name]),
            )


def _filter_told(rule: Given) -> str:
    prefix = prefix_of(rule)
    return f"prefix '{prefix}'" if "Prefix" in rule else f"filter '(prefix={prefix})'" if prefix else "filter ''"


def _positive(value: Any, text: str, name: str) -> None:
    if int(value) <= 0:
        raise InvalidArgument(text, ArgumentName=name, ArgumentValue=str(value))


def by_tags(rule: Given) -> bool:
    """Whether a rule is about objects with tags."""
    wanted: Given = rule.get("Filter", {})
    return "Tag" in wanted or bool(wanted.get("And", {}).get("Tags"))


# What is kept, and what it says --------------------------------------------------------------------------------------


@lru_cache(256)
def read(text: str) -> Given:
    """A configuration as it is kept: ``Rules``, and what transitions would want to know."""
    return json.loads(text)


def enabled(text: str | None) -> list[Given]:
    """Rules in force."""
    return [rule for rule in read(text)["Rules"] if rule["Status"] == "Enabled"] if text else []


def prefix_of(rule: Given) -> str:
    """Keys that a rule is about begin so."""
    wanted: Given = rule.get("Filter", {})
    return rule.get("Prefix") or wanted.get("Prefix") or wanted.get("And", {}).get("Prefix") or ""


def matches(rule: Given, key: str, size: int, tags: Mapping[str, str]) -> bool:
    """Whether a rule is about an object."""
    if not key.startswith(prefix_of(rule)):
        return False
    wanted: Given = rule.get("Filter", {})
    wanted = wanted.get("And", wanted)
    asked: list[Given] = [*wanted.get("Tags", ()), *([wanted["Tag"]] if "Tag" in wanted else ())]
    if any(tags.get(tag["Key"]) != tag["Value"] for tag in asked):
        return False
    return wanted.get("ObjectSizeGreaterThan", -1) < size < wanted.get("ObjectSizeLessThan", size + 1)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def after(since: float, days: int) -> datetime:
    """When so many days are over: at the next midnight UTC, or at the end of the calendar. `since`: POSIX seconds."""
    begun = datetime.fromtimestamp(since, UTC)
    if days > (_LAST - begun).days:  # Why: S3 takes any number of 32 bits
        return _LAST
    moment = begun + days * _DAY
    floor = _midnight(moment)
    return floor if floor == moment else floor + _DAY


def expires(rule: Given, modified: float) -> datetime | None:
    """When a rule ends a current version; None if it does not."""
    wanted: Given = rule.get("Expiration", {})
    if "Days" in wanted:
        return after(modified, int(wanted["Days"]))
    if "Date" in wanted:
        return datetime.fromisoformat(wanted["Date"])
    return None


def move(rule: Given, at: str, modified: float, now: datetime) -> str:
    """The class that a rule moves a current version to, which is `at` one now; empty: none."""
    found = [
        one["StorageClass"]
        for one in rule.get("Transitions", ())
        if (after(modified, int(one["Days"])) if "Days" in one else datetime.fromisoformat(one["Date"])) <= now
    ]
    return _lowest(found, at)


def noncurrent_move(rule: Given, at: str, newer: int, since: float, now: datetime) -> str:
    """The same of a version that is noncurrent `since` then, and has `newer` noncurrent ones above it."""
    found = [
        one["StorageClass"]
        for one in rule.get("NoncurrentVersionTransitions", ())
        if newer >= int(one.get("NewerNoncurrentVersions", 0)) and after(since, int(one["NoncurrentDays"])) <= now
    ]
    return _lowest(found, at)


def _lowest(found: list[str], at: str) -> str:
    below = [name for name in found if DOWNWARDS.index(name) > DOWNWARDS.index(at)]
    return max(below, key=DOWNWARDS.index, default="")


def large_enough(rule: Given, size: int, target: str, smallest: str) -> bool:
    """Whether an object of that size is moved: rules that name sizes are taken at their word.

    Source: Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle", "Constraints and considerations".
    """
    wanted: Given = rule.get("Filter", {})
    wanted = wanted.get("And", wanted)
    if "ObjectSizeGreaterThan" in wanted or "ObjectSizeLessThan" in wanted:
        return True
    return size >= SMALL_OCTETS or (smallest == VARYING and target in ARCHIVED)


def expiration(text: str | None, key: str, size: int, tags: Mapping[str, str], modified: float) -> str | None:
    """`x-amz-expiration` of a current version: the first rule that will end it."""
    found = [(expires(rule, modified), rule["ID"]) for rule in enabled(text) if matches(rule, key, size, tags)]
    dated = [(at, name) for at, name in found if at is not None]
    if not dated:
        return None
    at, name = min(dated, key=lambda one: one[0])
    return f'expiry-date="{http_date(at)}", rule-id="{quote(name, safe="")}"'


def abortion(text: str | None, key: str, initiated: float) -> tuple[datetime, str] | None:
    """When an upload will be aborted, and by which rule."""
    found = [
        (after(initiated, int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])), rule["ID"])
        for rule in enabled(text)
        if "AbortIncompleteMultipartUpload" in rule and key.startswith(prefix_of(rule))
    ]
    return min(found) if found else None

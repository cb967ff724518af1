# SPDX-License-Identifier: Apache-2.0
"""Template text to values: YAML with CloudFormation's short tags, or JSON. Pure.

Works on parser events with a stack of its own, so that neither depth nor aliases of an untrusted template can
hurt. CloudFormation takes YAML 1.1 without aliases, merges and timestamps.
Source: AWS CloudFormation User Guide, "CloudFormation template format".
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_list, is_map

DEPTH_MAX = 100
NODES_MAX = 200_000
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_FUNCTIONS = frozenset(
    (
        "And",
        "Base64",
        "Cidr",
        "Contains",
        "EachMemberEquals",
        "EachMemberIn",
        "Equals",
        "FindInMap",
        "ForEach",
        "GetAZs",
        "GetAtt",
        "If",
        "ImportValue",
        "Join",
        "Length",
        "Not",
        "Or",
        "RefAll",
        "Select",
        "Split",
        "Sub",
        "ToJsonString",
        "Transform",
        "ValueOf",
        "ValueOfAll",
    )
)


def read(text: str) -> dict[str, Any]:
    """The template as plain values; short tags become their long form.

    Raises:
        ValidationError: the text is no YAML or JSON mapping, has an alias, or a key twice in one mapping.
    """
    value = _read_json(text) if text.lstrip()[:1] == "{" else _read_yaml(text)
    if not is_map(value):
        raise ValidationError("Template format error: unsupported structure.")
    return value


def _read_json(text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValidationError(f"Template format error: JSON not well-formed. Duplicate key '{twice}'")
        return found

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError:
        # Why: a template may begin with a YAML flow mapping, and CloudFormation reads JSON as YAML too.
        return _read_yaml(text)
    except RecursionError:
        raise ValidationError("Template format error: JSON is nested too deeply") from None
    except ValueError:
        raise ValidationError("Template format error: JSON has a number with too many digits") from None
    _refuse_depth(value)
    return value


def _refuse_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        following: list[Any] = []
        for item in level:
            if is_map(item):
                following.extend(item.values())
            elif is_list(item):
                following.extend(item)
        if not following:
            return
        level = following
    raise ValidationError("Template format error: JSON is nested too deeply")


class _Builder:
    """Builds values from YAML events, without recursion."""

    def __init__(self) -> None:
        self.result: Any = None
        self._stack: list[tuple[Any, str]] = []
        self._keys: list[Any] = []
        self._nodes = 0

    def open(self, holder: Any, tag: str) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise ValidationError("Template format error: YAML is nested too deeply")
        self._stack.append((holder, tag))
        self._keys.append(_NO_KEY)

    def close(self, mark: Any) -> None:
        holder, tag = self._stack.pop()
        self._keys.pop()
        self.add(_tagged(tag, holder, mark), mark)

    def add(self, value: Any, mark: Any) -> None:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise ValidationError("Template format error: the template has too many values")
        if not self._stack:
            self.result = value
            return
        holder = self._stack[-1][0]
        if is_list(holder):
            holder.append(value)
        elif self._keys[-1] is _NO_KEY:
            self._keys[-1] = _key(value, holder, mark)
        else:
            holder[self._keys[-1]] = value
            self._keys[-1] = _NO_KEY


_NO_KEY = object()


def _key(value: Any, holder: dict[str, Any], mark: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        raise ValidationError(f"Template format error: YAML not well-formed.{_at(mark)}")
    key = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    if key in holder:
        raise ValidationError(f"Template format error: YAML not well-formed. Duplicate key '{key}'{_at(mark)}")
    return key


def _read_yaml(text: str) -> Any:
    yaml: Any = importlib.import_module("yaml")  # Why here: only those who send YAML pay for it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            _take(yaml, builder, event)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ValidationError(f"Template format error: YAML not well-formed.{_at(mark)}") from None
    return builder.result


def _take(yaml: Any, builder: _Builder, event: Any) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise ValidationError("Template error: YAML aliases are not allowed in CloudFormation templates")
    if isinstance(event, yaml.ScalarEvent):
        builder.add(_scalar(event), event.start_mark)
    elif isinstance(event, yaml.MappingStartEvent):
        builder.open({}, event.tag or "")
    elif isinstance(event, yaml.SequenceStartEvent):
        builder.open([], event.tag or "")
    elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
        builder.close(event.start_mark)
    elif isinstance(event, yaml.DocumentStartEvent) and builder.result is not None:
        raise ValidationError("Template format error: YAML not well-formed. Only one document is allowed")


def _scalar(event: Any) -> Any:
    tag, text = event.tag or "", event.value
    if tag in ("", "!") or not tag.startswith("!"):
        plain = event.implicit[0] and tag != "tag:yaml.org,2002:str"
        return _plain(text) if plain else text
    return _tagged(tag, text, event.start_mark)


def _plain(text: str) -> Any:
    """A plain scalar. Numbers that would not print as they were written stay text (``007``, ``1.10``)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text


def _tagged(tag: str, value: Any, mark: Any) -> Any:
    if not tag.startswith("!") or tag == "!":
        return value
    name = tag[1:]
    if name in ("Ref", "Condition"):
        return {name: value}
    if name not in _FUNCTIONS:
        raise ValidationError(f"Template format error: YAML not well-formed. Unknown tag {tag}{_at(mark)}")
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{name}": value}


def _at(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - templates and commands stand on one line
"""Templates, functions, parameters, graphs: the pure part."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.resource import Property, ResourceType
from cloudchamber.services.cloudformation import graph, names, parameters, patterns, template
from cloudchamber.services.cloudformation.dynamic import secret_parts
from cloudchamber.services.cloudformation.intrinsics import UNKNOWN, Scope, check_rules, holds, resolve
from cloudchamber.services.cloudformation.plan import compare
from cloudchamber.services.cloudformation.reading import read

PSEUDO = {"AWS::AccountId": "000000000000", "AWS::Region": "us-east-1", "AWS::StackName": "s", "AWS::Partition": "aws"}


def scope(**more: Any) -> Scope:
    values: dict[str, Any] = {
        "parameters": {"Stage": "prod", "List": ["a", "b"], "Size": 20},
        "pseudo": PSEUDO,
        "mappings": {"M": {"prod": {"Size": "large"}}},
        "conditions": {"Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}, "Not": {"Fn::Not": [{"Condition": "Prod"}]}},
        "resources": frozenset({"Web", "Db"}),
        "zones": ("us-east-1a", "us-east-1b"),
        "ref": lambda name: f"{name}-id",
        "attribute": lambda name, attribute: f"{name}:{attribute}",
    }
    return Scope(**{**values, **more})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Stage", "prod"),
        ("!Ref Web", "Web-id"),
        ("!GetAtt Db.Endpoint.Address", "Db:Endpoint.Address"),
        ("!GetAtt [Db, Endpoint.Address]", "Db:Endpoint.Address"),
        ('!Sub "${AWS::StackName}/${Web}/${Db.Endpoint.Address}/${!Lit}/${Size}"', "s/Web-id/Db:Endpoint.Address/${Lit}/20"),
        ('!Sub ["${x}-${Stage}", {x: !Select [1, !Ref List]}]', "b-prod"),
        ("!Sub 'python=${!python:-$(command -v python3)} $x'", "python=${python:-$(command -v python3)} $x"),
        ('!Join [":", [a, !Ref Stage, 1, true]]', "a:prod:1:true"),
        ('!Join [",", !Ref List]', "a,b"),
        ('!Split ["/", "a/b"]', ["a", "b"]),
        ("!FindInMap [M, !Ref Stage, Size]", "large"),
        ("!If [Prod, yes-it-is, no]", "yes-it-is"),
        ("{a: !If [Not, 1, !Ref AWS::NoValue], b: [!Ref AWS::NoValue, 2]}", {"b": [2]}),
        ("!Select [0, !GetAZs '']", "us-east-1a"),
        ("!Cidr [10.0.0.0/16, 2, 8]", ["10.0.0.0/24", "10.0.1.0/24"]),
        ("{Condition: {StringEquals: {a: b}}}", {"Condition": {"StringEquals": {"a": "b"}}}),
    ],
)  # fmt: skip
def test_functions(text: str, value: Any) -> None:
    assert resolve(read(f"v: {text}")["v"], scope()) == value


def test_base64_of_sub() -> None:
    value = read("v: {'Fn::Base64': !Sub 'x ${Stage}'}")["v"]
    assert base64.b64decode(resolve(value, scope())) == b"x prod"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!Ref Nope", r"Unresolved resource dependencies \[Nope\]"),
        ("!FindInMap [M, dev, Size]", "Unable to get mapping for M::dev::Size"),
        ("!Select [9, [a]]", "cannot select nonexistent value at index 9"),
        ("{'Fn::Transform': {Name: x}}", "Fn::Transform is not supported here"),
        ("{'Fn::Nope': 1}", "unknown intrinsic function Fn::Nope"),
        ("!If [Gone, 1, 2]", "unresolved condition dependency Gone"),
        ("!GetAZs eu-west-1", "not supported here"),
        ("{a: null}", "'null' values are not allowed"),
    ],
)
def test_functions_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        resolve(read(f"v: {text}")["v"], scope())


def test_what_is_unknown_stays_unknown() -> None:
    unknown = scope(ref=lambda name: UNKNOWN, attribute=lambda name, attribute: UNKNOWN)
    for text in ("!Select [0, !Split ['-', !Ref Web]]", "{'Fn::Base64': !Ref Web}", "!Sub 'x${Web}'"):
        assert UNKNOWN in resolve(read(f"v: {text}")["v"], unknown)


def test_rules() -> None:
    rules = read(
        "r: {R: {Assertions: [{Assert: !Not [!Contains [['1', '2'], !Ref Stage]], AssertDescription: too old}]}}"
    )["r"]
    check_rules(rules, scope())
    with pytest.raises(ValidationError, match="too old"):
        check_rules(rules, scope(parameters={"Stage": "2"}))
    assert holds({"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Condition": "Prod"}]}, scope())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "YAML aliases are not allowed"),
        ("a: 1\na: 2", "Duplicate key 'a'"),
        ('{"a": 1, "a": 2}', "Duplicate key 'a'"),
        ("a: !Nope x", "Unknown tag !Nope"),
        ("a: [", "YAML not well-formed"),
        ("- a", "unsupported structure"),
        ("a: " + "[" * 5000, "nested too deeply|not well-formed"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "nested too deeply"),
        ('{"a": ' + "1" * 5000 + "}", "a number with too many digits"),
        ("a: 1\n---\nb: 2", "Only one document|not well-formed"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(text)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 10**12) | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcXY", min_size=1, max_size=4), inner, max_size=3), max_leaves=12))  # fmt: skip
def test_json_and_yaml_read_alike(value: Any) -> None:
    import yaml

    body = {"v": value}
    assert read(json.dumps(body)) == body
    printed = yaml.safe_dump(body)
    if "&id" not in printed:
        assert read(printed) == body


def test_scalars_keep_what_they_say() -> None:
    assert read("{a: 2012-10-17, b: 007, c: 1.10, d: 1.5, e: yes, f: 'yes', g: 1e3}") == {
        "a": "2012-10-17", "b": "007", "c": "1.10", "d": 1.5, "e": True, "f": "yes", "g": "1e3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Resources: {}", "At least one Resources member must be defined"),
        ("Nope: 1\nResources: {A: {Type: T}}", r"Invalid template property or properties \[Nope\]"),
        ("Resources: {A: {}}", "Every Resources object must contain a Type member"),
        ("Resources: {A-b: {Type: T}}", "Resources name A-b is non alphanumeric"),
        ("Resources: {A: {Type: T, Odd: 1}}", "Invalid template resource property 'Odd'"),
        ("AWSTemplateFormatVersion: 2012\nResources: {A: {Type: T}}", "Invalid value for version"),
        ("Outputs: {O: {}}\nResources: {A: {Type: T}}", "must contain a Value"),
    ],
)
def test_templates_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        template.parse(text)


@pytest.mark.parametrize(
    ("declared", "text", "problem"),
    [
        ({"Type": "String", "AllowedValues": ["a", "b"]}, "c", "must be one of AllowedValues"),
        ({"Type": "String", "MinLength": "8"}, "short", "must contain at least 8 characters"),
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "A1", r"must match pattern \[a-z\]\+"),
        (
            {"Type": "String", "AllowedPattern": "[a-z]+", "ConstraintDescription": "letters"},
            "A",
            "constraint: letters",
        ),
        ({"Type": "Number", "MaxValue": 9}, "10", "must be a number not greater than 9"),
        ({"Type": "Number"}, "ten", "must be a number"),
    ],
)
async def test_constraints(declared: dict[str, Any], text: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        chosen = parameters.choose({"P": declared}, [{"ParameterKey": "P", "ParameterValue": text}], {})
        await parameters.check_patterns({"P": declared}, chosen)


async def test_a_hostile_pattern_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "TIMEOUT_S", 0.3)
    with pytest.raises(ValidationError, match="takes too long"):
        await patterns.matches([("(a+)+", "a" * 40 + "b")])
    assert await patterns.matches([("[a-z]+", "abc"), ("[a-z]+", "A")]) == [True, False]


def test_parameters() -> None:
    declared: dict[str, Any] = {"P": {"Type": "Number"}, "Q": {"Type": "CommaDelimitedList", "Default": "a, b"}}
    with pytest.raises(ValidationError, match=r"Parameters: \[P\] must have values"):
        parameters.choose(declared, [], {})
    with pytest.raises(ValidationError, match=r"Parameters: \[X\] do not exist"):
        parameters.choose(declared, [{"ParameterKey": "X", "ParameterValue": "1"}], {})
    chosen = parameters.choose(
        declared, [{"ParameterKey": "P", "UsePreviousValue": True}], {"P": parameters.Value("7")}
    )
    assert chosen == {"P": "7", "Q": "a, b"}
    assert parameters.meaning(declared["P"], parameters.Value("7")) == 7
    assert parameters.meaning(declared["P"], parameters.Value("007")) == "007"
    assert parameters.meaning(declared["Q"], parameters.Value("a, b")) == ["a", "b"]
    ssm = {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"}
    assert parameters.meaning(ssm, parameters.Value("/name", "ami-1")) == "ami-1"


@given(st.dictionaries(st.sampled_from("abcdef"), st.frozensets(st.sampled_from("abcdef")), min_size=1))
def test_everything_comes_after_what_it_needs(needs: dict[str, frozenset[str]]) -> None:
    needs = {name: frozenset(needed & set(needs)) for name, needed in needs.items()}
    try:
        placed = graph.order(needs)
    except ValidationError as error:
        assert "Circular dependency between resources" in error.message
        return
    assert sorted(placed) == sorted(needs)
    for name, needed in needs.items():
        assert all(placed.index(other) < placed.index(name) for other in needed)


def test_comparing() -> None:
    async def never(*arguments: Any) -> Any:
        raise AssertionError

    shape = {
        "Soft": Property(),
        "Hard": Property("replace"),
        "Deep": Property(shape={"A": Property(), "B": Property("replace")}),
    }
    kind = ResourceType("T", shape, never, never)
    assert compare(kind, {"Soft": "20", "X": True}, {"Soft": 20, "X": "true"}) == ()
    (found,) = compare(kind, {"Deep": {"A": 1, "B": 1}}, {"Deep": {"A": 2, "B": 1}})
    assert found.update == "in-place"
    (found,) = compare(kind, {"Deep": {"A": 1, "B": 1}}, {"Deep": {"A": 2, "B": 2}})
    assert found.update == "replace"
    (found,) = compare(kind, {"Hard": "a"}, {"Hard": UNKNOWN})
    assert found.update == "replace" and found.dynamic


def test_names() -> None:
    name = names.physical_name("a-long-stack-name" * 4, "LogicalId" * 6, "1A2B3C4D5E6F", 64)
    assert len(name) == 64 and name.endswith("-1A2B3C4D5E6F")
    assert names.physical_name("s", "L", "1A2B3C4D5E6F", 64) == "s-L-1A2B3C4D5E6F"
    arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:x-AbCdEf"
    assert secret_parts(f"{arn}:SecretString:password") == (arn, "password", "", "")
    assert secret_parts("x:SecretString:k:AWSCURRENT:v") == ("x", "k", "AWSCURRENT", "v")


@pytest.mark.parametrize(
    "text",
    [
        "Parameters: {P: {Type: String, MinLength: []}}",
        "Parameters: {P: {Type: Number, MaxValue: x}}",
        "Parameters: {P: {Type: String, AllowedValues: 1}}",
        "Parameters: {P: {Type: String, AllowedPattern: {}}}",
        "Parameters: {P: {Type: Odd}}",
    ],
)
def test_declarations_that_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="Template format error"):
        parameters.check_declarations(read(text)["Parameters"])


def test_conditions_that_need_themselves() -> None:
    text = "Conditions: {A: !Equals [!If [B, x, y], x], B: !Not [!Condition A]}\nResources: {R: {Type: T}}"
    with pytest.raises(ValidationError, match=r"Circular dependency between conditions: \[A, B\]"):
        graph.check_names(template.parse(text))

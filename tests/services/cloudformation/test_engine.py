# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - templates and commands stand on one line
from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from cloudchamber.base.errors import ServiceError

TWO = """
Parameters:
  Secret: {Type: String, NoEcho: true, Default: hush}
  Word: {Type: String, Default: one}
Resources:
  A: {Type: Test::Thing, Properties: {Value: !Ref Word, Tags: [!Ref Secret]}}
  B: {Type: Test::Thing, Properties: {Needs: !GetAtt A.Arn, Value: !Sub "${A}-${A.Endpoint.Address}"}}
Outputs:
  Address: {Value: !GetAtt A.Endpoint.Address, Description: where, Export: {Name: !Sub "${AWS::StackName}-a"}}
"""


async def test_create_update_delete(house: Any) -> None:
    made = await house.do("CreateStack", StackName="one", TemplateBody=TWO, Tags=[{"Key": "k", "Value": "v"}])
    stack = await house.settled("one")
    assert stack["StackStatus"] == "CREATE_COMPLETE", await house.told("one")
    assert await house.told("one") == [
        "one CREATE_IN_PROGRESS", "A CREATE_IN_PROGRESS", "A CREATE_COMPLETE", "B CREATE_IN_PROGRESS",
        "B CREATE_COMPLETE", "one CREATE_COMPLETE",
    ]  # fmt: skip
    assert stack["Outputs"][0]["ExportName"] == "one-a"
    assert {"ParameterKey": "Secret", "ParameterValue": "****"} in stack["Parameters"]
    events = json.dumps((await house.do("DescribeStackEvents", StackName="one"))["StackEvents"], default=str)
    assert "hush" not in events
    assert any("hush" in json.dumps(t) for t in house.world.things.values())
    with pytest.raises(ServiceError, match="No updates are to be performed"):
        await house.do("UpdateStack", StackName="one", UsePreviousTemplate=True, Parameters=[
            {"ParameterKey": "Word", "UsePreviousValue": True}])  # fmt: skip
    await house.do("UpdateStack", StackName="one", UsePreviousTemplate=True, Parameters=[
        {"ParameterKey": "Word", "ParameterValue": "two"}])  # fmt: skip
    assert (await house.settled("one"))["StackStatus"] == "UPDATE_COMPLETE"
    assert (await house.told("one"))[6:] == [
        "one UPDATE_IN_PROGRESS", "A UPDATE_IN_PROGRESS", "A UPDATE_COMPLETE",
        "one UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "one UPDATE_COMPLETE",
    ]  # fmt: skip
    await house.do("DeleteStack", StackName="one")
    stack = await house.settled(made["StackId"])
    assert stack["StackStatus"] == "DELETE_COMPLETE" and stack["DeletionTime"]
    assert house.world.things == {}
    assert house.world.log[-2:] == ["delete B", "delete A"]
    with pytest.raises(ServiceError, match="Stack with id one does not exist"):
        await house.do("DescribeStacks", StackName="one")


async def test_a_replacement_is_made_before_the_old_one_goes(house: Any) -> None:
    body = "Resources: {A: {Type: Test::Thing, Properties: {Fixed: %s}}, B: {Type: Test::Thing, Properties: {Value: !Ref A}}}"
    await house.do("CreateStack", StackName="s", TemplateBody=body % "x")
    await house.settled("s")
    first = set(house.world.things)
    await house.do("UpdateStack", StackName="s", TemplateBody=body % "y")
    assert (await house.settled("s"))["StackStatus"] == "UPDATE_COMPLETE"
    assert house.world.log[2:] == ["create A", "update B", "delete A"]
    assert len(house.world.things) == 2 and len(first & set(house.world.things)) == 1


async def test_a_failed_creation_is_rolled_back(house: Any) -> None:
    house.world.broken = {"create B"}
    await house.do("CreateStack", StackName="one", TemplateBody=TWO)
    stack = await house.settled("one")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE" and house.world.things == {}
    told = await house.told("one")
    assert "B CREATE_FAILED" in told and "A DELETE_COMPLETE" in told and "one ROLLBACK_IN_PROGRESS" in told
    events = (await house.do("DescribeStackEvents", StackName="one"))["StackEvents"]
    assert any("failed to create: [B]" in e.get("ResourceStatusReason", "") for e in events)
    assert any("B is broken" in e.get("ResourceStatusReason", "") for e in events)


async def test_without_rollback_the_next_update_goes_on(house: Any) -> None:
    house.world.broken = {"create B"}
    await house.do("CreateStack", StackName="one", TemplateBody=TWO, DisableRollback=True)
    assert (await house.settled("one"))["StackStatus"] == "CREATE_FAILED"
    house.world.broken = set()
    await house.do("UpdateStack", StackName="one", UsePreviousTemplate=True)
    assert (await house.settled("one"))["StackStatus"] == "UPDATE_COMPLETE"
    assert len(house.world.things) == 2


async def test_on_failure_delete(house: Any) -> None:
    house.world.broken = {"create B"}
    made = await house.do("CreateStack", StackName="one", TemplateBody=TWO, OnFailure="DELETE")
    assert (await house.settled(made["StackId"]))["StackStatus"] == "DELETE_COMPLETE"


async def test_a_failed_update_restores_everything(house: Any) -> None:
    old = "Resources: {A: {Type: Test::Thing, Properties: {Value: x}}, R: {Type: Test::Thing, Properties: {Fixed: x}}, Z: {Type: Test::Thing, DependsOn: [A, R], Properties: {Value: x}}}"
    new = (
        old.replace(": x}", ": y}")
        .replace("Resources: {", "Resources: {N: {Type: Test::Thing}, ")
        .replace("R]", "R, N]")
    )
    await house.do("CreateStack", StackName="s", TemplateBody=old)
    await house.settled("s")
    before = {name: dict(thing) for name, thing in house.world.things.items()}
    house.world.broken = {"update Z"}
    await house.do("UpdateStack", StackName="s", TemplateBody=new)

    async def heal() -> None:
        house.world.broken = set()

    house.world.gates["update Z"] = asyncio.Event()
    house.world.reached["update Z"] = asyncio.Event()
    await house.world.reached["update Z"].wait()
    house.world.gates["update Z"].set()
    await asyncio.sleep(0)
    stack = await house.settled("s")
    # the update of Z failed, and so did its way back
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    await heal()
    await house.do("ContinueUpdateRollback", StackName="s")
    stack = await house.settled("s")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", await house.told("s")
    assert house.world.things == before
    assert (await house.do("GetTemplate", StackName="s"))["TemplateBody"] == old
    resources = (await house.do("DescribeStackResources", StackName="s"))["StackResources"]
    assert {r["LogicalResourceId"] for r in resources} == {"A", "R", "Z"}
    assert {r["PhysicalResourceId"] for r in resources} == set(before)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Resources: {A: {Type: Test::Other}}", r"Unrecognized resource types: \[Test::Other\]"),
        ("Resources: {A: {Type: Test::Thing, Properties: {Nope: 1, Deep: {Odd: 1}}}}",
         r"(?s)resource A with message:\n#: extraneous key \[Nope\] is not permitted\n#/Deep: extraneous key \[Odd\]"),
        ("Resources: {A: {Type: Test::Thing, Properties: {Value: !Ref Nope}}}", r"Unresolved resource dependencies \[Nope\]"),
        ("Resources: {A: {Type: Test::Thing, Properties: {Value: !GetAtt A2.Arn}}, A2: {Type: Test::Thing, DependsOn: A}}",
         r"Circular dependency between resources: \[A, A2\]"),
        ("Resources: {A: {Type: Test::Thing, Properties: {Value: !GetAtt B.Nope}}, B: {Type: Test::Thing}}",
         "resource B does not support attribute type Nope in Fn::GetAtt"),
        ("Resources: {A: {Type: Test::Thing, CreationPolicy: {}}}", "CreationPolicy of resource A is not supported"),
        ("Resources: {A: {Type: Test::Thing}}\nTransform: AWS::LanguageExtensions", "No transform named AWS::LanguageExtensions"),
        ("Resources: {A: {Type: Test::Thing, Properties: {Value: !ImportValue none}}}", "No export named none found"),
        ("Parameters: {P: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /none}}\nResources: {A: {Type: Test::Thing}}",
         r"Unable to fetch parameters \[/none\]"),
    ],
)  # fmt: skip
async def test_refused_before_anything_is_created(house: Any, body: str, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        await house.do("CreateStack", StackName="s", TemplateBody=body)
    assert house.world.log == []
    assert (await house.do("ListStacks"))["StackSummaries"] == []


async def test_change_sets(house: Any) -> None:
    new = await house.do("CreateChangeSet", StackName="s", ChangeSetName="c1", ChangeSetType="CREATE", TemplateBody=TWO)
    found = await house.do("DescribeChangeSet", ChangeSetName=new["Id"])
    assert found["Status"] == "CREATE_COMPLETE" and found["ExecutionStatus"] == "AVAILABLE"
    assert [c["ResourceChange"]["Action"] for c in found["Changes"]] == ["Add", "Add"]
    assert (await house.do("DescribeStacks", StackName="s"))["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    await house.do("ExecuteChangeSet", ChangeSetName="c1", StackName="s", DisableRollback=False)
    assert (await house.settled("s"))["StackStatus"] == "CREATE_COMPLETE"
    await house.do("CreateChangeSet", StackName="s", ChangeSetName="c2", TemplateBody=TWO)
    found = await house.do("DescribeChangeSet", ChangeSetName="c2", StackName="s")
    assert found["Status"] == "FAILED" and "The submitted information didn't contain changes." in found["StatusReason"]
    with pytest.raises(ServiceError, match="cannot be executed in its current status"):
        await house.do("ExecuteChangeSet", ChangeSetName="c2", StackName="s")
    await house.do("CreateChangeSet", StackName="s", ChangeSetName="c3", TemplateBody=TWO, Parameters=[
        {"ParameterKey": "Word", "ParameterValue": "two"}, {"ParameterKey": "Secret", "ParameterValue": "new"}])  # fmt: skip
    found = await house.do("DescribeChangeSet", ChangeSetName="c3", StackName="s", IncludePropertyValues=True)
    (change,) = [c["ResourceChange"] for c in found["Changes"]]
    assert (change["LogicalResourceId"], change["Replacement"], change["Scope"]) == ("A", "False", ["Properties"])
    value = next(d for d in change["Details"] if d["Target"]["Name"] == "Value")
    assert value["Target"]["BeforeValue"] == "one" and value["Target"]["AfterValue"] == "two"
    assert value["ChangeSource"] == "ParameterReference" and value["CausingEntity"] == "Word"
    assert "hush" not in json.dumps(found, default=str) and "new" not in json.dumps(change)
    await house.do("ExecuteChangeSet", ChangeSetName="c3", StackName="s")
    assert (await house.settled("s"))["StackStatus"] == "UPDATE_COMPLETE"


async def test_dynamic_references_are_never_stored(house: Any) -> None:
    body = "Resources: {A: {Type: Test::Thing, Properties: {Value: 'x{{resolve:secretsmanager:db:SecretString:password}}'}}}"
    await house.do("CreateStack", StackName="s", TemplateBody=body)
    await house.settled("s")
    assert [t["Value"] for t in house.world.things.values()] == ["xs3cret"]
    dump = house.doors.database.read(lambda db: [tuple(r) for t in ("stacks", "resources", "events") for r in db.execute(f"SELECT * FROM cloudformation_{t}")])  # fmt: skip
    assert "s3cret" not in str(dump)


async def test_exports_in_use_stay(house: Any) -> None:
    await house.do("CreateStack", StackName="one", TemplateBody=TWO)
    await house.settled("one")
    body = "Resources: {A: {Type: Test::Thing, Properties: {Value: !ImportValue one-a}}}"
    await house.do("CreateStack", StackName="two", TemplateBody=body)
    assert (await house.settled("two"))["StackStatus"] == "CREATE_COMPLETE"
    assert (await house.do("ListImports", ExportName="one-a"))["Imports"] == ["two"]
    with pytest.raises(ServiceError, match="Export one-a cannot be deleted as it is in use by two"):
        await house.do("DeleteStack", StackName="one")
    await house.do("UpdateStack", StackName="one", TemplateBody=TWO.partition("Outputs")[0])
    assert (await house.settled("one"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    await house.do("DeleteStack", StackName="two")
    await house.settled((await house.do("ListStacks"))["StackSummaries"][0]["StackId"])
    await house.do("DeleteStack", StackName="one")


async def test_retained_and_protected(house: Any) -> None:
    body = "Resources: {A: {Type: Test::Thing, DeletionPolicy: Retain}, B: {Type: Test::Thing}}"
    made = await house.do("CreateStack", StackName="s", TemplateBody=body, EnableTerminationProtection=True)
    await house.settled("s")
    with pytest.raises(ServiceError, match="TerminationProtection is enabled"):
        await house.do("DeleteStack", StackName="s")
    await house.do("UpdateTerminationProtection", StackName="s", EnableTerminationProtection=False)
    house.world.broken = {"delete B"}
    await house.do("DeleteStack", StackName="s")
    assert (await house.settled("s"))["StackStatus"] == "DELETE_FAILED"
    await house.do("DeleteStack", StackName="s", RetainResources=["B"])
    assert (await house.settled(made["StackId"]))["StackStatus"] == "DELETE_COMPLETE"
    assert len(house.world.things) == 2


async def ended_at(house: Any, step: str, start: Any) -> None:
    """Run until `step` is reached, and end there: what is in memory is lost, what is written stays."""
    house.world.gates[step], house.world.reached[step] = asyncio.Event(), asyncio.Event()
    await start
    await house.world.reached[step].wait()
    await house.engine.stop()
    house.world.gates.clear()


async def test_an_interrupted_creation_is_rolled_back_by_the_next_chamber(house: Any, next_house: Any) -> None:
    await ended_at(house, "create B", house.do("CreateStack", StackName="s", TemplateBody=TWO))
    assert len(house.world.things) == 2
    later = await next_house(house)
    stack = await later.settled("s")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", await later.told("s")
    assert later.world.things == {}
    events = (await later.do("DescribeStackEvents", StackName="s"))["StackEvents"]
    assert any("the chamber stopped" in e.get("ResourceStatusReason", "") for e in events)


async def test_an_interrupted_update_is_rolled_back_by_the_next_chamber(house: Any, next_house: Any) -> None:
    old = "Resources: {A: {Type: Test::Thing, Properties: {Value: x}}, R: {Type: Test::Thing, DependsOn: A, Properties: {Fixed: x}}}"
    await house.do("CreateStack", StackName="s", TemplateBody=old)
    await house.settled("s")
    before = {name: dict(thing) for name, thing in house.world.things.items()}
    new = old.replace(": x}", ": y}")
    await ended_at(house, "create R", house.do("UpdateStack", StackName="s", TemplateBody=new))
    assert len(house.world.things) == 3
    later = await next_house(house)
    assert (await later.settled("s"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", await later.told("s")
    assert later.world.things == before


async def test_an_interrupted_deletion_goes_on(house: Any, next_house: Any) -> None:
    made = await house.do("CreateStack", StackName="s", TemplateBody=TWO)
    await house.settled("s")
    await ended_at(house, "delete A", house.do("DeleteStack", StackName="s"))
    later = await next_house(house)
    assert (await later.settled(made["StackId"]))["StackStatus"] == "DELETE_COMPLETE"
    assert later.world.things == {}


async def test_a_creation_that_takes_too_long_is_rolled_back(house: Any, monkeypatch: Any) -> None:
    house.world.gates["create B"] = asyncio.Event()
    real = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda s: real(0.05 if s else None))
    await house.do("CreateStack", StackName="s", TemplateBody=TWO, TimeoutInMinutes=1)
    stack = await house.settled("s")
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE" and house.world.things == {}


async def test_a_stack_that_is_being_created_can_be_deleted(house: Any) -> None:
    house.world.gates["create B"], house.world.reached["create B"] = asyncio.Event(), asyncio.Event()
    made = await house.do("CreateStack", StackName="s", TemplateBody=TWO)
    await house.world.reached["create B"].wait()
    await house.do("DeleteStack", StackName="s")
    assert (await house.settled(made["StackId"]))["StackStatus"] == "DELETE_COMPLETE"
    assert house.world.things == {}


async def test_an_update_can_be_cancelled(house: Any) -> None:
    await house.do("CreateStack", StackName="one", TemplateBody=TWO)
    await house.settled("one")
    before = {name: dict(thing) for name, thing in house.world.things.items()}
    with pytest.raises(ServiceError, match="cannot be called from current stack status"):
        await house.do("CancelUpdateStack", StackName="one")
    house.world.gates["update A"], house.world.reached["update A"] = asyncio.Event(), asyncio.Event()
    await house.do("UpdateStack", StackName="one", UsePreviousTemplate=True, Parameters=[
        {"ParameterKey": "Word", "ParameterValue": "two"}])  # fmt: skip
    await house.world.reached["update A"].wait()
    del house.world.gates["update A"]
    await house.do("CancelUpdateStack", StackName="one")
    assert (await house.settled("one"))["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert house.world.things == before


async def test_template_from_our_own_s3(house: Any) -> None:
    house.world.secrets["folder/t.yaml"] = TWO
    for url in (
        "https://s3.amazonaws.com/bucket/folder/t.yaml", "http://127.0.0.1:4566/bucket/folder/t.yaml",
        "https://bucket.s3.us-east-1.amazonaws.com/folder/t.yaml", "http://bucket.localhost:4566/folder/t.yaml",
        "https://bucket.s3.amazonaws.com/folder/t.yaml", "http://s3.localhost.localstack.cloud:4566/bucket/folder/t.yaml",
        "https://s3.eu-west-1.amazonaws.com/bucket/folder/t.yaml",
    ):  # fmt: skip
        answer = await house.do("ValidateTemplate", TemplateURL=url)
        assert [p["ParameterKey"] for p in answer["Parameters"]] == ["Secret", "Word"]
        assert house.world.asked[-1][2] == {"Bucket": "bucket", "Key": "folder/t.yaml"}
    for url in ("https://example.com/bucket/t.yaml", "file:///etc/passwd", "http://169.254.169.254/latest/x"):
        with pytest.raises(ServiceError, match="TemplateURL"):
            await house.do("ValidateTemplate", TemplateURL=url)


async def test_capabilities(house: Any) -> None:
    body = "Resources: {R: {Type: AWS::IAM::Role, Properties: {RoleName: x}}}"
    answer = await house.do("ValidateTemplate", TemplateBody=body)
    assert answer["Capabilities"] == ["CAPABILITY_NAMED_IAM"]
